import { Button, SimpleGrid, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { Agent, Command, Installed } from '../api/types';
import { useSilence } from '../api/useSettingOf';
import { useMay } from '../auth/session';
import { agentRoute } from '../router';
import { agentState } from '../ui/agents';
import { Ago } from '../ui/Ago';
import { PartBar } from '../ui/Bar';
import { Card, Facts } from '../ui/Card';
import { CopyCli, CopyIcon } from '../ui/Cli';
import { useNow } from '../ui/clock';
import { CommandTable } from '../ui/CommandTable';
import { ConfirmButton } from '../ui/Confirm';
import { Empty } from '../ui/Empty';
import { bytes, isTime, utc, words } from '../ui/format';
import { Page } from '../ui/Page';
import { Ready } from '../ui/Readiness';
import { rolloutName } from '../ui/RolloutTable';
import { Labels } from '../ui/Selectors';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';

export function AgentPage() {
  const { id } = agentRoute.useParams();
  const agent = useQuery(queries.agent(id));
  const commands = useQuery(queries.commands({ agent: id, limit: 50 }));
  return (
    <Page title={id} name={id} actions={<AgentActions id={id} />}>
      <Settled query={agent} what="this agent">
        {(a) => (
          <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
            <Identity agent={a} />
            <Card title="Installed" flush>
              {(a.presence?.installed ?? []).length === 0
                ? <Empty title="Nothing is installed through RedFlag yet" />
                : <InstalledTable agent={a} />}
            </Card>
          </SimpleGrid>
        )}
      </Settled>
      {agent.data && <InFlight agent={agent.data} />}
      {agent.data && (
        <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
          <Card title="Readiness"><ReadinessFacts agent={agent.data} /></Card>
          <Card title="Timeline"><Timeline agent={agent.data} commands={commands.data?.items ?? []} /></Card>
        </SimpleGrid>
      )}
      <Card title="Commands" flush actions={<Link to="/commands" search={{ agent: id }} className="rf-link"><Text size="xs">All</Text></Link>}>
        <Settled query={commands} what="commands">
          {(page) => (page.items.length === 0
            ? <Empty title="No command has been addressed to this agent" />
            : <CommandTable label={`Commands of ${id}`} commands={page.items} without={['Agent', 'Region']} retry />)}
        </Settled>
      </Card>
      <AgentSettings id={id} />
      <LatestLogs id={id} />
    </Page>
  );
}

function AgentActions({ id }: { id: string }) {
  const may = useMay('operator', true);
  return (
    <>
      <CopyCli command={`redflag agents ${id}`} />
      <Button variant="default" component={Link} to={`/logs?agent=${encodeURIComponent(id)}`}>Logs</Button>
      {may && <Button component={Link} data-changes to={`/rollouts/new?select=${encodeURIComponent(`agent:${id}`)}`}>Roll out…</Button>}
    </>
  );
}

function Identity({ agent: a }: { agent: Agent }) {
  const now = useNow();
  const silence = useSilence();
  const state = agentState(a, now, silence(a));
  return (
    <Card title="Machine">
      <Facts rows={[
        ['State', <Status key="s" state={state} />],
        ['Last poll', <Ago key="l" at={a.presence?.last_poll} never="not since its node started" />],
        ['Polls', a.presence?.node ? <Link key="n" to="/nodes" className="rf-link">{a.presence.node}</Link> : 'no node'],
        ['Region', <Link key="r" to="/agents" search={{ select: `region:${a.region}` }} className="rf-link">{a.region}</Link>],
        ['Labels', <Labels key="b" labels={a.labels} />],
        ['Own labels, for what is signed', a.presence ? <Labels key="o" labels={a.presence.machine?.labels} /> : 'not known'],
        ['Agent version', a.presence?.version ?? 'not known'],
        ['Enrolled', <Ago key="e" at={a.enrolled_at} />],
        ['Key', <span key="k" className="rf-mono">{a.key_id.slice(0, 16)}… <CopyIcon value={a.key_id} what="key id" /></span>],
      ]}
      />
    </Card>
  );
}

function InstalledTable({ agent }: { agent: Agent }) {
  return (
    <Table
      label="Installed" rows={agent.presence?.installed ?? []} rowKey={(i) => i.name}
      columns={[
        { name: 'Artifact', cell: (i) => <b>{i.name}</b> },
        { name: 'Version', cell: (i) => i.version },
        { name: 'Before', cell: (i) => i.previous ?? <span className="rf-calm">none</span> },
        { name: 'SHA-256', wide: true, cell: (i) => <span className="rf-mono">{i.sha256.slice(0, 12)}…</span> },
        { name: 'Action', right: true, cell: (i) => i.previous !== undefined && <RollBack agent={agent} installed={i} /> },
      ]}
    />
  );
}

function RollBack({ agent, installed: i }: { agent: Agent; installed: Installed }) {
  const navigate = useNavigate();
  return (
    <ConfirmButton
      bounded size="compact-xs" title={`Roll back ${i.name} on ${agent.id}?`} action="Roll back 1 agent" danger
      cli={`redflag rollout create ${i.name} --rollback --to agent:${agent.id}`}
      body={<Text size="sm">One machine is hit: {agent.id} in {agent.region} goes from {i.version} back to {i.previous} with its next poll.</Text>}
      onConfirm={async (id) => {
        await call('POST', '/v1/rollouts', { id, kind: 'rollback', artifact: i.name, selector: { agents: [agent.id] } });
        await navigate({ to: '/rollouts/$id', params: { id } });
      }}
    >
      Roll back
    </ConfirmButton>
  );
}

function InFlight({ agent }: { agent: Agent }) {
  const progress = agent.presence?.progress ?? [];
  if (progress.length === 0) return null;
  return (
    <Card title="Under way">
      <Stack gap="sm">
        {progress.map((p) => (
          <div key={p.command_id}>
            <Text size="sm" mb={4}>
              <Status state={p.phase} /> <Link to="/commands/$id" params={{ id: p.command_id }} className="rf-link rf-mono">{p.command_id}</Link>
              {' '}{bytes(p.transfer.done)} of {bytes(p.transfer.total)}; {bytes(p.transfer.from_peers)} from peers, {bytes(p.transfer.from_nodes)} from nodes
            </Text>
            <PartBar part={p.transfer.done} whole={p.transfer.total} label="Verified on disk" />
          </div>
        ))}
      </Stack>
    </Card>
  );
}

const yesNo = (v: boolean | undefined, yes: string, no: string) => (v === undefined ? <span className="rf-calm">not reported</span> : v ? yes : no);

/** ReadinessFacts is what a machine says of itself with each poll, and what waits for that to change. */
function ReadinessFacts({ agent: a }: { agent: Agent }) {
  const r = a.presence?.readiness;
  if (a.presence === undefined || r === undefined) return <Text size="sm" c="dimmed">The machine has not said how it is.</Text>;
  const rows: [string, ReactNode][] = [
    ['In all', <Ready key="a" readiness={r} />],
    ...(r.blocked ?? []).map((b): [string, ReactNode] => [`Own ${b.gate}`, b.reason]),
    ...(r.degraded ? [['Degraded', <span key="d" className="rf-bad">{r.degraded}</span>] as [string, ReactNode]] : []),
    ['Disk', r.disk_free === undefined || r.disk_total === undefined
      ? 'not reported'
      : <div key="k"><Text size="xs" mb={2}>{bytes(r.disk_free)} free of {bytes(r.disk_total)}</Text><PartBar part={r.disk_total - r.disk_free} whole={r.disk_total} label="Disk used" /></div>],
    ['Load', r.load_percent === undefined ? 'not reported' : `${r.load_percent} % of each CPU, over a minute`],
    ['Power', <span key="p">{yesNo(r.on_battery, 'battery', 'mains')}{r.battery !== undefined && `, ${r.battery} % charged`}</span>],
    ['Link', yesNo(r.metered, 'metered', 'not metered')],
    ['Package manager', yesNo(r.package_lock, 'locked by another program', 'free')],
    ['Restart', yesNo(r.reboot_pending, 'pending', 'not needed')],
    ...(r.window_open !== undefined ? [['Own window', r.window_open ? 'open' : 'shut'] as [string, ReactNode]] : []),
    ...(a.presence.waiting ?? []).map((w): [string, ReactNode] => ['Waits', <span key={w.command_id}><Link to="/commands/$id" params={{ id: w.command_id }} className="rf-link rf-mono">{w.command_id}</Link>: {w.reason}</span>]),
  ];
  return <Facts rows={rows} />;
}

/** events is how many steps a timeline shows. */
const events = 12;

/** Timeline is what happened to a machine, the newest first. */
function Timeline({ agent: a, commands }: { agent: Agent; commands: Command[] }) {
  const all = commands.flatMap((c) => {
    const what = <><Link to="/commands/$id" params={{ id: c.id }} className="rf-link">{rolloutName(c)}</Link> </>;
    const steps: [string, string, string | undefined][] = [['leased', 'handed out', c.leased_at], [c.state, words(c.state), c.ended_at]];
    return steps.filter((s): s is [string, string, string] => isTime(s[2])).map(([state, label, at]) => ({ key: `${c.id}-${label}`, state, at, text: <>{what}{label}</> }));
  });
  const told = [...all.toSorted((x, y) => y.at.localeCompare(x.at)), { key: 'enrolled', state: 'active', at: a.enrolled_at, text: <>enrolled</> }];
  return (
    <ol className="rf-timeline">
      {told.slice(0, events).map((e) => (
        <li key={e.key}><Status state={e.state} label="" /><Text size="sm">{e.text}</Text><Text size="xs"><Ago at={e.at} /></Text></li>
      ))}
    </ol>
  );
}

/** lines is how much of a log a page shows beside the rest. */
const lines = 10;

/** LatestLogs is the end of what the agent logged, the newest line first. */
function LatestLogs({ id }: { id: string }) {
  const logs = useQuery(queries.logs({ agent: id, since: '15m' }, 500));
  return (
    <Card title="Latest log lines" flush actions={<Link to="/logs" search={{ agent: id }} className="rf-link"><Text size="xs">All</Text></Link>}>
      <Settled query={logs} what="log lines">
        {({ items }) => (items.length === 0 ? <Empty title="No line of this agent in the last 15 minutes">Agents send theirs with their polls.</Empty> : (
          <Table
            label="Latest log lines" rows={items.slice(-lines).toReversed()} rowKey={(l) => `${l.spool}-${l.seq}`}
            columns={[
              { name: 'Time (UTC)', cell: (l) => <span className="rf-nowrap" title={utc(l.at)}>{new Date(l.at).toISOString().slice(11, 19)}</span> },
              { name: 'Level', cell: (l) => String(l.line['@level'] ?? '') },
              { name: 'Message', cell: (l) => <span className="rf-break">{String(l.line['@message'] ?? '')}</span> },
            ]}
          />
        ))}
      </Settled>
    </Card>
  );
}

/** AgentSettings says what holds for this machine, and which layer decided it. */
function AgentSettings({ id }: { id: string }) {
  const explained = useQuery(queries.explain('agent', id));
  const layer = `agent:${id}`;
  return (
    <Card title="Settings that differ from the default" flush actions={<Link to="/settings" search={{ layer }} className="rf-link"><Text size="xs">Set for this agent</Text></Link>}>
      <Settled query={explained} what="which layer won">
        {(list) => {
          const set = list.filter((e) => !e.default);
          if (set.length === 0) return <Empty title="Every setting has its default" />;
          return (
            <Table
              label="Settings of this agent" rows={set} rowKey={(e) => e.key}
              columns={[
                { name: 'Setting', cell: (e) => <span className="rf-mono">{e.key}</span> },
                { name: 'Value', cell: (e) => <b className="rf-mono">{e.value}</b> },
                { name: 'Layer that won', cell: (e) => <span className="rf-mono">{e.layers.at(-1)?.layer}</span> },
                { name: 'Over', wide: true, cell: (e) => e.layers.slice(0, -1).map((l) => `${l.layer} (${l.value})`).join(', ') },
                { name: 'Until', right: true, cell: (e) => <Ago at={e.layers.at(-1)?.expires} never="for good" /> },
              ]}
            />
          );
        }}
      </Settled>
    </Card>
  );
}
