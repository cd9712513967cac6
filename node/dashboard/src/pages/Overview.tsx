import { SimpleGrid, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { queries } from '../api/queries';
import type { Activity, AgentSummary, Health, Node, Rollout } from '../api/types';
import { useMay } from '../auth/session';
import { Card, Stat } from '../ui/Card';
import { Command } from '../ui/Cli';
import { Empty } from '../ui/Empty';
import { count, plural } from '../ui/format';
import { Page } from '../ui/Page';
import { failures, goesOn, rolloutName, RolloutTable } from '../ui/RolloutTable';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';

export function Overview() {
  const health = useQuery(queries.health());
  const nodes = useQuery(queries.nodes());
  const agents = useQuery(queries.agentSummary([]));
  const rollouts = useQuery(queries.rollouts());
  const artifacts = useQuery(queries.artifacts());
  const trust = useQuery({ ...queries.trust(), enabled: useMay('admin') });
  const all = rollouts.data ?? [];
  const running = all.filter(goesOn);
  const fresh = agents.data?.agents === 0 || artifacts.data === null || artifacts.data?.length === 0;
  return (
    <Page title="Overview" name="Overview">
      <Figures health={health.data} nodes={nodes.data} agents={agents.data} rollouts={rollouts.data === undefined ? undefined : all} />
      {fresh && <FirstSteps signed={trust.data?.versions?.root !== undefined} agents={agents.data?.agents ?? 0} published={(artifacts.data ?? []).length} />}
      <Attention health={health.data} nodes={nodes.data} agents={agents.data} rollouts={all} />
      <Card title="Rollouts under way" flush actions={<Link to="/rollouts" className="rf-link"><Text size="xs">All rollouts</Text></Link>}>
        <Settled query={rollouts} what="rollouts">
          {() => (running.length > 0
            ? <RolloutTable label="Rollouts under way" rollouts={running} />
            : <Empty title="Nothing is rolling out">{all[0] && <>The last one was <Link to="/rollouts/$id" params={{ id: all[0].id }} className="rf-link">{rolloutName(all[0])}</Link>.</>}</Empty>)}
        </Settled>
      </Card>
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Card title="Regions" flush>
          <Settled query={agents} what="counts of agents">{(s) => <Regions summary={s} nodes={nodes.data ?? []} />}</Settled>
        </Card>
        <Card title="Nodes" flush actions={<Link to="/nodes" className="rf-link"><Text size="xs">Health of each</Text></Link>}>
          <Settled query={nodes} what="nodes">{(list) => <Nodes nodes={list} health={health.data ?? []} />}</Settled>
        </Card>
      </SimpleGrid>
    </Page>
  );
}

function Figures({ health, nodes, agents, rollouts }: {
  health: Health[] | undefined; nodes: Node[] | undefined; agents: AgentSummary | undefined; rollouts: Rollout[] | undefined;
}) {
  const well = nodes?.filter((n) => n.alive).length ?? 0;
  const worst = health?.some((h) => h.status === 'critical') ? 'critical' : health?.some((h) => h.status === 'warn') ? 'warn' : 'ok';
  const failed = rollouts?.reduce((sum, r) => sum + failures(r), 0) ?? 0;
  const leader = nodes?.find((n) => n.leader)?.id;
  return (
    <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
      <Stat label="Nodes alive" value={nodes ? `${well} of ${nodes.length}` : '…'} note={health && <><Status state={worst} label={worst === 'ok' ? 'all checks pass' : worst === 'warn' ? 'warnings' : 'critical'} />{leader ? `, leader ${leader}` : ', no leader'}</>} />
      <Stat label="Agents" value={agents ? count(agents.agents) : '…'} note={agents && `${count(agents.online)} heard lately`} />
      <Stat label="Rollouts under way" value={rollouts ? count(rollouts.filter(goesOn).length) : '…'} note={rollouts && `${count(rollouts.length)} in all`} />
      <Stat label="Failed commands" value={rollouts ? <span className={failed > 0 ? 'rf-bad' : undefined}>{count(failed)}</span> : '…'} note={<Link to="/commands" search={{ state: 'failed' }} className="rf-link">History</Link>} />
    </SimpleGrid>
  );
}

/** FirstSteps leads from nothing to the first rollout, one command at a time. */
function FirstSteps({ signed, agents, published }: { signed: boolean; agents: number; published: number }) {
  const steps: [string, boolean, string][] = [
    ['Make your signing keys, on your own machine', signed, 'redflag keys init'],
    ['Publish a version: it is signed before it leaves your machine', published > 0, 'redflag publish ./app.bin --name app --version 1.0.0'],
    ['Make a token that machines enrol with', agents > 0, 'redflag token create --seats 10 --ttl 72h'],
    ['Start an agent on a machine', agents > 0, 'REDFLAG_TOKEN=rf1.… redflag agent --region REGION --data-dir /var/lib/redflag-agent --node NODE:7420'],
    ['Roll it out', false, 'redflag rollout create app --version 1.0.0 --to all --watch'],
  ];
  const next = steps.findIndex(([, done]) => !done);
  return (
    <Card title="First steps">
      <Stack gap="sm">
        {steps.map(([what, done, command], i) => (
          <div key={what} className={i > next ? 'rf-dimmed' : undefined}>
            <Text size="sm" mb={i === next ? 6 : 0} fw={i === next ? 600 : 400}><Status state={done ? 'ok' : 'pending'} label="" /> {what}{done ? ' (done)' : ''}</Text>
            {i === next && <Command>{command}</Command>}
          </div>
        ))}
      </Stack>
    </Card>
  );
}

interface Concern { key: string; state: string; what: ReactNode; next: ReactNode }

function concerns(health: Health[], nodes: Node[], agents: AgentSummary | undefined, rollouts: Rollout[]): Concern[] {
  const out: Concern[] = [];
  const seen = new Set<string>();
  for (const h of health) {
    for (const c of h.checks.filter((check) => check.status !== 'ok')) {
      if (seen.has(c.detail)) continue; // each node says the same of a silent one
      seen.add(c.detail);
      out.push({ key: `${h.node}-${c.name}`, state: c.status, what: <><b>{h.node}</b>, {c.name}: {c.detail}</>, next: c.advice ?? '' });
    }
  }
  if (nodes.length > 0 && !nodes.some((n) => n.leader)) {
    out.push({ key: 'leader', state: 'critical', what: 'The cluster has no leader: nothing can be changed', next: 'a majority of the voters must run and reach each other' });
  }
  for (const r of rollouts.filter((one) => one.state === 'halted' || (failures(one) > 0 && one.state === 'running')).slice(0, 5)) {
    out.push({
      key: r.id, state: 'failed', what: <><Link to="/rollouts/$id" params={{ id: r.id }} className="rf-link">{rolloutName(r)}</Link> {r.state === 'halted' ? 'has halted itself' : 'goes on'}: {plural(failures(r), 'agent')} failed of {count(r.agents)}</>,
      next: <Link to="/rollouts/$id" params={{ id: r.id }} search={{ state: 'failed' }} className="rf-link">see why</Link>,
    });
  }
  for (const g of agents?.regions ?? []) {
    const silent = g.agents - g.online;
    if (silent > 0) {
      out.push({
        key: `silent-${g.region}`, state: silent === g.agents ? 'critical' : 'warn', what: <><b>{g.region}</b>: {plural(silent, 'agent')} of {count(g.agents)} not heard lately</>,
        next: <Link to="/agents" search={{ select: `region:${g.region}` }} className="rf-link">see which</Link>,
      });
    }
  }
  return out;
}

function Attention({ health, nodes, agents, rollouts }: {
  health: Health[] | undefined; nodes: Node[] | undefined; agents: AgentSummary | undefined; rollouts: Rollout[];
}) {
  if (health === undefined || nodes === undefined) return null;
  const list = concerns(health, nodes, agents, rollouts);
  return (
    <Card title="Needs attention" flush>
      {list.length === 0 ? <Text size="sm" p="sm"><Status state="ok" label="Nothing: every check passes" /></Text> : (
        <Table
          label="Needs attention" rows={list} rowKey={(c) => c.key}
          columns={[
            { name: 'State', width: 110, cell: (c) => <Status state={c.state} /> },
            { name: 'What', cell: (c) => c.what },
            { name: 'Next step', cell: (c) => <span className="rf-break">{c.next}</span> },
          ]}
        />
      )}
    </Card>
  );
}

const activities: Activity[] = ['idle', 'downloading', 'installing', 'failing', 'degraded'];

function Regions({ summary, nodes }: { summary: AgentSummary; nodes: Node[] }) {
  const names = [...new Set([...summary.regions.map((r) => r.region), ...nodes.map((n) => n.region)])].toSorted();
  if (names.length === 0) return <Empty title="No region yet" />;
  return (
    <Table
      label="Regions" rows={names} rowKey={(r) => r}
      columns={[
        { name: 'Region', cell: (r) => <Link to="/agents" search={{ select: `region:${r}` }} className="rf-link"><b>{r}</b></Link> },
        { name: 'Nodes', right: true, cell: (r) => count(nodes.filter((n) => n.region === r && n.alive).length) },
        { name: 'Agents', right: true, cell: (r) => count(summary.regions.find((g) => g.region === r)?.agents ?? 0) },
        {
          name: 'At', cell: (r) => {
            const g = summary.regions.find((one) => one.region === r);
            if (!g || g.agents === 0) return <span className="rf-calm">no agent</span>;
            const parts = activities.filter((a) => (g.activities?.[a] ?? 0) > 0);
            return (
              <Text span size="sm" style={{ display: 'flex', gap: 12, flexWrap: 'wrap' }}>
                {parts.map((a) => <Status key={a} state={a} label={`${count(g.activities?.[a] ?? 0)} ${a}`} />)}
                {g.agents > g.online && <Status state="silent" label={`${count(g.agents - g.online)} silent`} />}
              </Text>
            );
          },
        },
      ]}
    />
  );
}

function Nodes({ nodes, health }: { nodes: Node[]; health: Health[] }) {
  return (
    <Table
      label="Nodes" rows={nodes} rowKey={(n) => n.id}
      columns={[
        { name: 'Node', cell: (n) => <b>{n.id}</b> },
        { name: 'Health', cell: (n) => <Status state={n.alive ? (health.find((h) => h.node === n.id)?.status ?? 'unknown') : 'silent'} /> },
        { name: 'Region', cell: (n) => n.region },
        { name: 'Role', cell: (n) => (n.leader ? <b>leader</b> : n.voter ? 'voter' : 'reader') },
        { name: 'Version', wide: true, cell: (n) => <span className="rf-mono">{n.version ?? ''}</span> },
      ]}
    />
  );
}
