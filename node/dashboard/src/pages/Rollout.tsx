import { Alert, Group, Select, SimpleGrid, Stack, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useQueries, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { Command, Rollout } from '../api/types';
import { rolloutRoute } from '../router';
import { Ago } from '../ui/Ago';
import { countText, CountsBar, PartBar } from '../ui/Bar';
import { Card, Facts, Stat } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { CommandTable } from '../ui/CommandTable';
import { ConfirmButton } from '../ui/Confirm';
import { Correlation } from '../ui/Correlation';
import { Empty } from '../ui/Empty';
import { bytes, count, isTime, percent, plural, sentence, words } from '../ui/format';
import { Page } from '../ui/Page';
import { Pager } from '../ui/Pager';
import { thresholds, WaveTable } from '../ui/Plan';
import { failures, finished, goesOn, rolloutName } from '../ui/RolloutTable';
import { Target } from '../ui/Selectors';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';
import { windowText } from '../ui/window';

const states = ['pending', 'leased', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'rolled_back'];

export function RolloutPage() {
  const { id } = rolloutRoute.useParams();
  const { state, after } = rolloutRoute.useSearch();
  const navigate = useNavigate({ from: '/rollouts/$id' });
  const rollout = useQuery(queries.rollout(id));
  const commands = useQuery(queries.commands({ rollout: id, state, after, limit: 50 }));
  const name = rollout.data ? rolloutName(rollout.data) : id;
  return (
    <Page
      name={name}
      title={<Group gap="sm">{name}{rollout.data && <Text span size="sm"><Status state={rollout.data.state} /></Text>}</Group>}
      actions={<><CopyCli command={`redflag rollout show ${id} --watch`} />{rollout.data && <Actions rollout={rollout.data} />}</>}
    >
      <Settled query={rollout} what="this rollout">{(r) => <Progress rollout={r} />}</Settled>
      {failures(rollout.data ?? { counts: {} }) > 0 && <Failures id={id} />}
      <Card
        title="Agents" flush
        actions={(
          <Select
            data-filter aria-label="State" placeholder="Every state" clearable w={150} value={state ?? null} clearButtonProps={{ 'aria-label': 'Every state' }}
            data={states.map((s) => ({ value: s, label: words(s) }))}
            onChange={(v) => void navigate({ search: { state: v ?? undefined } })}
          />
        )}
      >
        <Settled query={commands} what="commands">
          {(page) => (
            <>
              {page.items.length === 0
                ? <Empty title={state === undefined ? 'No agent is in this rollout' : `No agent is ${words(state)}`} />
                : <CommandTable label="Agents of this rollout" commands={page.items} without={['What']} />}
              <Pager shown={page.items.length} next={page.next} after={after} go={(a) => void navigate({ search: (s) => ({ ...s, after: a }) })} />
            </>
          )}
        </Settled>
      </Card>
    </Page>
  );
}

function Progress({ rollout: r }: { rollout: Rollout }) {
  const t = r.transfer;
  const got = t.from_peers + t.from_nodes;
  return (
    <Stack gap="md">
      {(r.state === 'paused' || r.state === 'halted') && (
        <Alert color={r.state === 'halted' ? 'red' : 'yellow'} variant="outline" icon={<IconAlertTriangle size={18} />} title={r.state === 'halted' ? 'It has halted itself' : 'It is paused'} role="alert">
          <Text size="sm">{r.reason !== undefined && `${sentence(r.reason)} `}{r.state === 'halted' ? 'Look at what failed, then resume or abort it.' : 'Nothing new is handed out until it is resumed.'}</Text>
        </Alert>
      )}
      <Card label="Progress">
        <Group justify="space-between" mb={6} gap="xs">
          <Text size="sm" fw={600}>{count(finished(r))} of {plural(r.agents, 'agent')} ended</Text>
          <Text size="sm" c="dimmed">{countText(r.counts)}</Text>
        </Group>
        <CountsBar counts={r.counts} total={r.agents} />
      </Card>
      <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
        <Stat label="Succeeded" value={count(r.counts.succeeded ?? 0)} note={percent(r.counts.succeeded ?? 0, r.agents)} />
        <Stat label="Failed" value={<span className={failures(r) > 0 ? 'rf-bad' : undefined}>{count(failures(r))}</span>} note={percent(failures(r), r.agents)} />
        <Stat label="Fetched" value={bytes(got)} note={`${percent(t.from_peers, got)} from peers`} />
        <Stat label="Across regions" value={bytes(t.from_other_regions)} note="by agents" />
      </SimpleGrid>
      {r.waves > 1 && <Card title={`Wave ${r.wave} of ${r.waves}`} flush actions={<Text size="xs" c="dimmed">{count(r.released)} of {plural(r.agents, 'agent')} released</Text>}><WaveTable rollout={r} /></Card>}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Card title="Regions" flush>
          <Table
            label="Regions" rows={r.regions ?? []} rowKey={(g) => g.region}
            columns={[
              { name: 'Region', cell: (g) => <b>{g.region}</b> },
              { name: 'Commands', width: '30%', cell: (g) => <CountsBar counts={g.counts} total={Object.values(g.counts).reduce((a, b) => a + b, 0)} /> },
              { name: 'Bytes', width: '25%', cell: (g) => <PartBar part={g.transfer.done} whole={g.transfer.total} label={`${bytes(g.transfer.done)} of ${bytes(g.transfer.total)}`} /> },
              { name: 'From peers', right: true, cell: (g) => percent(g.transfer.from_peers, g.transfer.from_peers + g.transfer.from_nodes) },
            ]}
          />
        </Card>
        <Card title="What and why">
          <Facts rows={[
            ['Rollout', <span key="i" className="rf-mono">{r.id}</span>],
            ['Kind', words(r.kind)],
            ['To', <Target key="t" selector={r.selector} />],
            ['Created', <span key="c"><Ago at={r.created_at} />{r.created_by ? ` by ${r.created_by}` : ''}</span>],
            ...(r.rollback_of ? [['Undoes', <Link key="u" to="/rollouts/$id" params={{ id: r.rollback_of }} className="rf-link rf-mono">{r.rollback_of}</Link>] as [string, ReactNode]] : []),
            ...(r.retry_of ? [['Repeats', <Link key="y" to="/commands/$id" params={{ id: r.retry_of }} className="rf-link rf-mono">{r.retry_of}</Link>] as [string, ReactNode]] : []),
            ['Plan', thresholds(r.plan)],
            ...(r.plan.region_order?.length ? [['Regions first', `${r.plan.region_order.join(', then ')}, then the rest`] as [string, ReactNode]] : []),
            ...(r.plan.windows?.length ? [['Windows', r.plan.windows.map(windowText).join('; ')] as [string, ReactNode]] : []),
            ...(r.plan.dynamic ? [['Joins', 'agents that match later get it too'] as [string, ReactNode]] : []),
            ...(isTime(r.expires_at) ? [['Expires', <Ago key="x" at={r.expires_at} />] as [string, ReactNode]] : []),
            ['Correlation', <Correlation key="o" id={r.correlation_id} />],
          ]}
          />
        </Card>
      </SimpleGrid>
    </Stack>
  );
}

/** useFailed lists the commands of a rollout that ended without the change. */
function useFailed(rollout: string): Command[] {
  return useQueries({
    queries: ['failed', 'timed_out', 'rolled_back'].map((state) => queries.ended(rollout, state)),
    combine: (all) => all.flatMap((q) => q.data ?? []),
  });
}

/** Failures groups what went wrong, most frequent first. */
function Failures({ id }: { id: string }) {
  const failed = useFailed(id);
  const groups = new Map<string, Command[]>();
  for (const c of failed) {
    const key = c.failure?.class ?? 'unknown';
    groups.set(key, [...(groups.get(key) ?? []), c]);
  }
  const rows = [...groups].toSorted((a, b) => b[1].length - a[1].length);
  if (rows.length === 0) return null;
  return (
    <Card title="Why agents failed" flush>
      <Table
        label="Failures by class" rows={rows} rowKey={([k]) => k}
        columns={[
          { name: 'Class', cell: ([k]) => <b className="rf-nowrap">{words(k)}</b> },
          { name: 'Agents', right: true, cell: ([k, list]) => <Link to="/commands" search={{ rollout: id, class: k }} className="rf-link">{count(list.length)}</Link> },
          { name: 'For example', cell: ([, list]) => list[0] && <Link to="/commands/$id" params={{ id: list[0].id }} className="rf-link rf-break">{list[0].failure?.message ?? list[0].id}</Link> },
        ]}
      />
    </Card>
  );
}

function Actions({ rollout: r }: { rollout: Rollout }) {
  const navigate = useNavigate();
  const regions = (r.regions ?? []).map((g) => g.region).join(', ');
  const open = r.counts.pending ?? 0;
  const busy = (r.counts.leased ?? 0) + (r.counts.running ?? 0);
  const change = (action: string) => call('POST', `/v1/rollouts/${r.id}/${action}`, action === 'cancel' ? undefined : {});
  const rollBack = async (id: string) => {
    await call('POST', `/v1/rollouts/${r.id}/rollback`, { id, plan: {} });
    await navigate({ to: '/rollouts/$id', params: { id }, search: {} });
  };
  return (
    <>
      {r.state === 'running' && (
        <ConfirmButton
          title={`Pause ${rolloutName(r)}?`} action="Pause" cli={`redflag rollout pause ${r.id}`} onConfirm={() => change('pause')}
          body={<Fates fates={[[open, 'waiting: get nothing until it is resumed'], [busy, 'at it now: go on to the end'], [finished(r), 'that ended: stay as they are']]} />}
        >
          Pause…
        </ConfirmButton>
      )}
      {(r.state === 'paused' || r.state === 'halted') && (
        <ConfirmButton
          variant="filled" title={`Resume ${rolloutName(r)}?`} action="Resume" cli={`redflag rollout resume ${r.id}`} onConfirm={() => change('resume')}
          body={<Fates fates={[[open, `waiting in ${regions}: get it, wave by wave`], [failures(r), 'that failed: stay failed']]} />}
        >
          Resume…
        </ConfirmButton>
      )}
      {goesOn(r) && (
        <ConfirmButton
          bounded title={`Abort ${rolloutName(r)}?`} action={`Abort for ${plural(open + busy, 'agent')}`} danger cli={`redflag rollout cancel ${r.id}`} onConfirm={() => change('cancel')}
          body={<Fates fates={[[open, `that took nothing up yet in ${regions}: will not get it`], [busy, 'at it now: are asked to stop, and may still finish'], [finished(r), 'that ended: stay as they are']]} />}
        >
          Abort…
        </ConfirmButton>
      )}
      {failures(r) > 0 && !goesOn(r) && <RetryFailed rollout={r} />}
      {r.kind === 'install' && (r.counts.succeeded ?? 0) > 0 && (
        <ConfirmButton
          title={`Roll ${rolloutName(r)} back?`} action={`Roll back ${plural(r.counts.succeeded ?? 0, 'agent')}`} danger
          cli={`redflag rollout rollback ${r.id}`} onConfirm={rollBack}
          body={<Text size="sm">{goesOn(r) && 'It is aborted first. '}What it changed on <b>{plural(r.counts.succeeded ?? 0, 'agent')}</b> in {regions} goes back to the version each had before {r.version}. An agent with no version before it fails, and keeps what it runs.</Text>}
        >
          Roll back…
        </ConfirmButton>
      )}
    </>
  );
}

/** Fates says what becomes of the agents in each state. */
function Fates({ fates }: { fates: [number, string][] }) {
  return (
    <Text size="sm" component="ul" my={0} pl="md">
      {fates.map(([n, what]) => <li key={what}>{plural(n, 'agent')} {what}.</li>)}
    </Text>
  );
}

/** The failed agents of one rollout, as a rollout of their own. */
function RetryFailed({ rollout: r }: { rollout: Rollout }) {
  const navigate = useNavigate();
  const agents = useFailed(r.id).map((c) => c.agent_id);
  // Windows, gates and time-outs are those of before; it has no waves, and nobody joins.
  const { waves: _w, region_order: _o, success_percent: _s, max_failure_percent: _m, dynamic: _d, ...plan } = r.plan;
  const retry = async (id: string) => {
    await call('POST', '/v1/rollouts', { id, artifact: r.artifact, kind: r.kind, ...(r.version && { version: r.version }), selector: { agents }, plan });
    await navigate({ to: '/rollouts/$id', params: { id }, search: {} });
  };
  const some = `${agents.slice(0, 3).join(',')}${agents.length > 3 ? ',…' : ''}`;
  return (
    <ConfirmButton
      bounded disabled={agents.length === 0} title="Retry the agents that failed?" action={`Retry ${plural(agents.length, 'agent')}`} onConfirm={retry}
      cli={`redflag rollout create ${r.artifact ?? `--kind ${r.kind}`}${r.version ? ` --version ${r.version}` : ''}${r.kind === 'rollback' ? ' --rollback' : ''} --to agent:${some}`}
      body={<Fates fates={[[agents.length, 'that failed: get the same once more, as a new rollout'], [r.counts.succeeded ?? 0, 'that succeeded: are left alone']]} />}
    >
      Retry failed…
    </ConfirmButton>
  );
}
