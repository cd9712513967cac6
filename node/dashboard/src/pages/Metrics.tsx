import { Group, SegmentedControl, SimpleGrid, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { queries } from '../api/queries';
import type { Command, Counts, UpdateMetrics, UpdatePoint } from '../api/types';
import { metricsRoute } from '../router';
import { CountsBar } from '../ui/Bar';
import { Card, Stat } from '../ui/Card';
import { Columns, type Column } from '../ui/Chart';
import { CopyCli } from '../ui/Cli';
import { Empty } from '../ui/Empty';
import { bytes, count, exactSpan, isTime, percent, words } from '../ui/format';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';
import { Table } from '../ui/Table';

const minute = 60_000;
const hour = 60 * minute;

interface Span { name: string; columns: number; each: number; step: string }

/** The spans that can be looked at: what the cluster keeps reaches back 30 days. */
const spans: Record<string, Span> = {
  '6h': { name: '6 hours', columns: 24, each: 15 * minute, step: '5m' },
  '24h': { name: '1 day', columns: 24, each: hour, step: '1h' },
  '168h': { name: '7 days', columns: 28, each: 6 * hour, step: '1h' },
  '720h': { name: '30 days', columns: 30, each: 24 * hour, step: '1h' },
};

/** sample is how many of the latest commands percentiles are taken from. */
const sample = 1000;

interface Sums { name: string; counts: Counts; ended: number; good: number; bad: number; seconds: number; peers: number; nodes: number; other: number; times: number[] }

const badOf = (c: Counts) => (c.failed ?? 0) + (c.timed_out ?? 0) + (c.rolled_back ?? 0);
const endedOf = (c: Counts) => Object.values(c).reduce((a, b) => a + b, 0);

function sum(name: string, points: UpdatePoint[], times: number[]): Sums {
  const all: Sums = { name, counts: {}, ended: 0, good: 0, bad: 0, seconds: 0, peers: 0, nodes: 0, other: 0, times: times.toSorted((a, b) => a - b) };
  for (const p of points) {
    for (const [state, n] of Object.entries(p.counts) as [keyof Counts, number][]) all.counts[state] = (all.counts[state] ?? 0) + n;
    all.seconds += p.mean_seconds * endedOf(p.counts);
    all.peers += p.from_peers;
    all.nodes += p.from_nodes;
    all.other += p.from_other_regions;
  }
  return { ...all, ended: endedOf(all.counts), good: all.counts.succeeded ?? 0, bad: badOf(all.counts) };
}

const pointsOf = (m: UpdateMetrics | undefined) => (m?.series ?? []).flatMap((s) => s.points ?? []);

/** columnsOf puts points of short steps into the columns of a span that ends now. */
function columnsOf(points: UpdatePoint[], { columns, each }: Span): Column[] {
  const last = Math.floor(Date.now() / each) * each;
  const out = Array.from({ length: columns }, (_, i) => ({ at: last - (columns - 1 - i) * each, good: 0, bad: 0 }));
  for (const p of points) {
    const c = out[columns - 1 - Math.round((last - Math.floor(new Date(p.at).getTime() / each) * each) / each)];
    if (c) {
      c.good += p.counts.succeeded ?? 0;
      c.bad += badOf(p.counts);
    }
  }
  return out;
}

/** percentile of sorted times, by nearest rank. */
function percentile(times: number[], p: number): string {
  if (times.length === 0) return '';
  return exactSpan(times[Math.min(times.length - 1, Math.ceil((p / 100) * times.length) - 1)] ?? 0);
}

const nameOf = (c: Command) => (c.artifact === undefined ? c.kind : `${c.artifact} ${c.version ?? ''}`.trim());

/** timesOf is how long those took that succeeded, by what key says. */
function timesOf(commands: Command[], key: (c: Command) => string): Map<string, number[]> {
  const out = new Map<string, number[]>();
  for (const c of commands) {
    if (c.state !== 'succeeded' || !isTime(c.leased_at) || !isTime(c.ended_at)) continue;
    const took = new Date(c.ended_at).getTime() - new Date(c.leased_at).getTime();
    out.set(key(c), [...(out.get(key(c)) ?? []), took]);
  }
  return out;
}

export function Metrics() {
  const { span = '24h' } = metricsRoute.useSearch();
  const navigate = useNavigate({ from: '/trends' });
  const shown = spans[span] ?? { name: '1 day', columns: 24, each: hour, step: '1h' };
  const all = useQuery(queries.updates('', span, shown.step));
  return (
    <Page title="Metrics" name="Metrics" actions={<CopyCli command={`redflag metrics updates --from ${span} --step ${shown.step} --by artifact`} />}>
      <Group gap={8}>
        <SegmentedControl
          aria-label="Span" value={span} onChange={(v) => void navigate({ search: { span: v } })}
          data={Object.entries(spans).map(([value, s]) => ({ value, label: s.name }))}
        />
      </Group>
      <Settled query={all} what="what the cluster has counted">
        {(m) => (pointsOf(m).length === 0
          ? <Card><Empty title={`No command has ended in the last ${shown.name.replace(/^1 /, '')}`} command="redflag rollout create app --version 1.0.0 --to all">Rates and times come with the first rollout.</Empty></Card>
          : <Counted metrics={m} span={span} shown={shown} />)}
      </Settled>
    </Page>
  );
}

function Counted({ metrics, span, shown }: { metrics: UpdateMetrics; span: string; shown: Span }) {
  const artifacts = useQuery(queries.updates('artifact', span, shown.step));
  const regions = useQuery(queries.updates('region', span, shown.step));
  const classes = useQuery(queries.updates('class', span, shown.step));
  const latest = useQuery(queries.commands({ limit: sample }));
  const commands = latest.data?.items ?? [];
  const total = sum('all', pointsOf(metrics), [...timesOf(commands, () => 'all').values()].flat());
  const rows = (m: UpdateMetrics | undefined, times: Map<string, number[]>) => (m?.series ?? []).map((s) => sum(s.name, s.points ?? [], times.get(s.name) ?? []));
  const got = total.peers + total.nodes;
  const failed = rows(classes.data, new Map()).filter((s) => s.name !== 'none').toSorted((a, b) => b.ended - a.ended);
  return (
    <>
      <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
        <Stat label="Succeeded" value={percent(total.good, total.good + total.bad)} note={`${count(total.good)} of ${count(total.good + total.bad)} that ended`} />
        <Stat label="Time to done, mean" value={total.ended > 0 ? exactSpan((1000 * total.seconds) / total.ended) : '…'} note={total.times.length > 0 && `99 % within ${percentile(total.times, 99)}`} />
        <Stat label="Fetched" value={bytes(got)} note={`${percent(total.peers, got)} from peers`} />
        <Stat label="Across regions" value={bytes(total.other)} note="fetched by agents" />
      </SimpleGrid>
      <Card title={`Commands that ended in the last ${shown.name.replace(/^1 /, '')}`}>
        <Columns columns={columnsOf(pointsOf(metrics), shown)} step={shown.each} label="Commands over time" />
      </Card>
      <Card title="By artifact" flush><ByName rows={rows(artifacts.data, timesOf(commands, nameOf))} name="Artifact" /></Card>
      <Card title="By region" flush><ByName rows={rows(regions.data, timesOf(commands, (c) => c.region ?? ''))} name="Region" /></Card>
      {failed.length > 0 && (
        <Card title="Failures by class" flush>
          <Table
            label="Failures by class" rows={failed} rowKey={(s) => s.name}
            columns={[
              { name: 'Class', cell: (s) => <Link to="/commands" search={{ class: s.name }} className="rf-link rf-nowrap"><b>{words(s.name)}</b></Link> },
              { name: 'Commands', right: true, cell: (s) => count(s.ended) },
              { name: 'For example', cell: (s) => <Example command={commands.find((c) => c.failure?.class === s.name)} /> },
            ]}
          />
        </Card>
      )}
      <Text size="xs" c="dimmed">The cluster itself keeps these counts for 30 days. Percentiles are of the latest {count(commands.length)} commands.</Text>
    </>
  );
}

function Example({ command: c }: { command: Command | undefined }) {
  if (!c) return <span className="rf-calm">none of the latest commands</span>;
  return <Link to="/commands/$id" params={{ id: c.id }} className="rf-link rf-break">{c.failure?.message}</Link>;
}

function ByName({ rows, name }: { rows: Sums[]; name: string }) {
  return (
    <Table
      label={`By ${name.toLowerCase()}`} rows={rows} rowKey={(s) => s.name}
      columns={[
        { name, cell: (s) => <b className="rf-nowrap">{s.name}</b> },
        { name: 'Commands', width: '20%', cell: (s) => <CountsBar counts={s.counts} total={s.ended} /> },
        { name: 'Succeeded', right: true, cell: (s) => percent(s.good, s.good + s.bad) },
        { name: 'Failed', right: true, cell: (s) => (s.bad > 0 ? <span className="rf-bad">{count(s.bad)}</span> : 0) },
        { name: 'Median', right: true, cell: (s) => percentile(s.times, 50) },
        { name: '90 %', wide: true, right: true, cell: (s) => percentile(s.times, 90) },
        { name: '99 %', wide: true, right: true, cell: (s) => percentile(s.times, 99) },
        { name: 'From peers', wide: true, right: true, cell: (s) => bytes(s.peers) },
        { name: 'From nodes', wide: true, right: true, cell: (s) => bytes(s.nodes) },
        { name: 'Other regions', wide: true, right: true, cell: (s) => bytes(s.other) },
      ]}
    />
  );
}
