import { SimpleGrid, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { queries } from '../api/queries';
import type { Command, Rollout } from '../api/types';
import { CountsBar } from '../ui/Bar';
import { Card, Stat } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { Empty } from '../ui/Empty';
import { bytes, count, exactSpan, isTime, percent, words } from '../ui/format';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';
import { Table } from '../ui/Table';

/** sample is how many of the latest commands times and classes are taken from. */
const sample = 1000;

interface Sums { name: string; agents: number; succeeded: number; failed: number; counts: Record<string, number>; peers: number; nodes: number; wan: number; times: number[] }

const zero = (name: string): Sums => ({ name, agents: 0, succeeded: 0, failed: 0, counts: {}, peers: 0, nodes: 0, wan: 0, times: [] });

/** percentile of sorted times, by nearest rank. */
function percentile(times: number[], p: number): string {
  if (times.length === 0) return '';
  return exactSpan(times[Math.min(times.length - 1, Math.ceil((p / 100) * times.length) - 1)] ?? 0);
}

function add(into: Sums, part: Pick<Rollout, 'counts' | 'transfer'>) {
  for (const [state, n] of Object.entries(part.counts)) {
    into.counts[state] = (into.counts[state] ?? 0) + n;
    into.agents += n;
  }
  into.succeeded += part.counts.succeeded ?? 0;
  into.failed += (part.counts.failed ?? 0) + (part.counts.timed_out ?? 0) + (part.counts.rolled_back ?? 0);
  into.peers += part.transfer.from_peers;
  into.nodes += part.transfer.from_nodes;
  into.wan += part.transfer.from_other_regions;
}

const timeOf = (c: Command) => (isTime(c.leased_at) && isTime(c.ended_at) && c.state === 'succeeded' ? new Date(c.ended_at).getTime() - new Date(c.leased_at).getTime() : undefined);

const nameOf = (one: { kind: string; artifact: string; version?: string }) => (one.kind === 'rollback' ? `${one.artifact} (rolled back)` : `${one.artifact} ${one.version ?? ''}`);

function group(rollouts: Rollout[], commands: Command[], by: 'artifact' | 'region'): Sums[] {
  const all = new Map<string, Sums>();
  const at = (name: string) => {
    const s = all.get(name) ?? zero(name);
    all.set(name, s);
    return s;
  };
  for (const r of rollouts) {
    if (by === 'artifact') add(at(nameOf(r)), r);
    else for (const g of r.regions ?? []) add(at(g.region), g);
  }
  for (const c of commands) {
    const ms = timeOf(c);
    if (ms !== undefined) at(by === 'artifact' ? nameOf(c) : (c.region ?? '')).times.push(ms);
  }
  for (const s of all.values()) s.times.sort((a, b) => a - b);
  return [...all.values()].filter((s) => s.agents > 0);
}

export function Metrics() {
  const rollouts = useQuery(queries.rollouts());
  const latest = useQuery(queries.commands({ limit: sample }));
  return (
    <Page title="Metrics" name="Metrics" actions={<CopyCli command="redflag rollout list --json" />}>
      <Settled query={rollouts} what="rollouts">
        {(list) => ((list ?? []).length === 0
          ? <Card><Empty title="There is nothing to count yet" command="redflag rollout create app --version 1.0.0 --to all">Rates and times come with the first rollout.</Empty></Card>
          : <Counted rollouts={list ?? []} commands={latest.data?.items ?? []} />)}
      </Settled>
    </Page>
  );
}

function Counted({ rollouts, commands }: { rollouts: Rollout[]; commands: Command[] }) {
  const all = zero('all');
  for (const r of rollouts) add(all, r);
  const times = commands.map(timeOf).filter((t) => t !== undefined).toSorted((a, b) => a - b);
  const got = all.peers + all.nodes;
  return (
    <>
      <Text size="sm" c="dimmed">Counts and bytes are of every rollout that the cluster keeps; times and classes of failure are of the latest {count(commands.length)} commands.</Text>
      <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
        <Stat label="Succeeded" value={percent(all.succeeded, all.succeeded + all.failed)} note={`${count(all.succeeded)} of ${count(all.succeeded + all.failed)} that ended`} />
        <Stat label="Time to done, median" value={percentile(times, 50) || '…'} note={times.length > 0 && `99 % within ${percentile(times, 99)}`} />
        <Stat label="Fetched" value={bytes(got)} note={`${percent(all.peers, got)} from peers`} />
        <Stat label="Across regions" value={bytes(all.wan)} note="fetched by agents" />
      </SimpleGrid>
      <Card title="By artifact" flush><Sum rows={group(rollouts, commands, 'artifact')} name="Artifact" /></Card>
      <Card title="By region" flush><Sum rows={group(rollouts, commands, 'region')} name="Region" /></Card>
      <Failures commands={commands.filter((c) => c.failure !== undefined)} />
    </>
  );
}

function Sum({ rows, name }: { rows: Sums[]; name: string }) {
  return (
    <Table
      label={`By ${name.toLowerCase()}`} rows={rows} rowKey={(s) => s.name}
      columns={[
        { name, cell: (s) => <b className="rf-nowrap">{s.name}</b> },
        { name: 'Commands', width: '20%', cell: (s) => <CountsBar counts={s.counts} total={s.agents} /> },
        { name: 'Succeeded', right: true, cell: (s) => percent(s.succeeded, s.succeeded + s.failed) },
        { name: 'Failed', right: true, cell: (s) => (s.failed > 0 ? <span className="rf-bad">{count(s.failed)}</span> : 0) },
        { name: 'Median', right: true, cell: (s) => percentile(s.times, 50) },
        { name: '90 %', wide: true, right: true, cell: (s) => percentile(s.times, 90) },
        { name: '99 %', wide: true, right: true, cell: (s) => percentile(s.times, 99) },
        { name: 'From peers', wide: true, right: true, cell: (s) => bytes(s.peers) },
        { name: 'From nodes', wide: true, right: true, cell: (s) => bytes(s.nodes) },
        { name: 'Other regions', wide: true, right: true, cell: (s) => bytes(s.wan) },
      ]}
    />
  );
}

function Failures({ commands }: { commands: Command[] }) {
  if (commands.length === 0) return null;
  const classes = new Map<string, Command[]>();
  for (const c of commands) classes.set(c.failure?.class ?? '', [...(classes.get(c.failure?.class ?? '') ?? []), c]);
  return (
    <Card title="Failures by class" flush>
      <Table
        label="Failures by class" rows={[...classes].toSorted((a, b) => b[1].length - a[1].length)} rowKey={([k]) => k}
        columns={[
          { name: 'Class', cell: ([k]) => <b>{words(k)}</b> },
          { name: 'Commands', right: true, cell: ([, list]) => count(list.length) },
          { name: 'Agents', right: true, cell: ([, list]) => count(new Set(list.map((c) => c.agent_id)).size) },
          { name: 'For example', cell: ([, list]) => list[0] && <Link to="/commands/$id" params={{ id: list[0].id }} className="rf-link rf-break">{list[0].failure?.message}</Link> },
        ]}
      />
    </Card>
  );
}
