import { Button, Group, Select, Text, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { IconFilter, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { queries } from '../api/queries';
import type { Agent } from '../api/types';
import { useSettingOf, useSilence } from '../api/useSettingOf';
import { useMay } from '../auth/session';
import { agentsRoute } from '../router';
import { agentState } from '../ui/agents';
import { Ago } from '../ui/Ago';
import { Card } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { useNow } from '../ui/clock';
import { Empty } from '../ui/Empty';
import { count, plural } from '../ui/format';
import { Page } from '../ui/Page';
import { Pager } from '../ui/Pager';
import { Ready } from '../ui/Readiness';
import { flags, Labels, parseTerms } from '../ui/Selectors';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';

export function Agents() {
  const { select = '', after } = agentsRoute.useSearch();
  const navigate = useNavigate({ from: '/agents' });
  const terms = parseTerms(select);
  const agents = useQuery(queries.agents(terms, after));
  const summary = useQuery(queries.agentSummary(terms));
  const may = useMay('operator', true);
  const everywhere = useQuery(queries.agentSummary([]));
  const [text, setText] = useState(select);
  const [seen, setSeen] = useState(select);
  if (seen !== select) { // a link or the back button changed the filter, not the field
    setSeen(select);
    if (text.trim() !== select) setText(select);
  }
  const apply = (value: string) => void navigate({ search: { select: value.trim() || undefined } });
  const later = useDebouncedCallback(apply, 350);
  const region = terms.find((t) => t.startsWith('region:'))?.slice('region:'.length) ?? null;

  return (
    <Page
      title="Agents" name="Agents"
      actions={(
        <>
          <CopyCli command={`redflag agents${flags('select', terms)}`} />
          {may && <Button component={Link} data-changes to={`/rollouts/new${select === '' ? '' : `?select=${encodeURIComponent(select)}`}`}>Roll out to these</Button>}
        </>
      )}
    >
      <Group gap={8}>
        <TextInput
          data-filter aria-label="Filter agents" placeholder="region:eu-west label:role=kiosk agent-id" style={{ flex: '1 1 16rem' }} maw={520}
          leftSection={<IconFilter size={14} aria-hidden />} value={text} spellCheck={false}
          onChange={(e) => { setText(e.currentTarget.value); later(e.currentTarget.value); }}
          onKeyDown={(e) => e.key === 'Enter' && apply(text)}
        />
        <Select
          aria-label="Region" placeholder="Every region" clearable w={170} clearButtonProps={{ 'aria-label': 'Every region' }}
          data={everywhere.data?.regions.map((r) => r.region) ?? []} value={region}
          onChange={(v) => apply([...terms.filter((t) => !t.startsWith('region:')), ...(v ? [`region:${v}`] : [])].join(' '))}
        />
        {select !== '' && <Button variant="subtle" color="gray" leftSection={<IconX size={14} aria-hidden />} onClick={() => apply('')}>Clear</Button>}
        <Text size="sm" c="dimmed" ml="auto">
          {summary.data && `${plural(summary.data.agents, 'agent')} match, ${count(summary.data.online)} heard lately`}
        </Text>
      </Group>
      <Card flush label="Agents">
        <Settled query={agents} what="agents">
          {(page) => (page.items.length === 0 ? <Nothing filtered={select !== ''} /> : (
            <>
              <AgentTable agents={page.items} />
              <Pager shown={page.items.length} next={page.next} after={after} go={(a) => void navigate({ search: (s) => ({ ...s, after: a }) })} />
            </>
          ))}
        </Settled>
      </Card>
    </Page>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  return filtered
    ? <Empty title="No agent matches this filter">Terms narrow each other: <span className="rf-mono">region:NAME</span>, <span className="rf-mono">label:KEY=VALUE</span>, or an agent&apos;s whole id.</Empty>
    : <Empty title="No agent has enrolled yet" command="redflag token create --seats 10 --ttl 72h">Make a token, then start an agent with it on a machine.</Empty>;
}

function AgentTable({ agents }: { agents: Agent[] }) {
  const now = useNow();
  const silence = useSilence();
  return (
    <Table
      label="Agents" rows={agents} rowKey={(a) => a.id}
      columns={[
        { name: 'Agent', cell: (a) => <Link to="/agents/$id" params={{ id: a.id }} className="rf-link"><b>{a.id}</b></Link> },
        { name: 'State', cell: (a) => <Status state={agentState(a, now, silence(a))} /> },
        { name: 'Region', cell: (a) => a.region },
        { name: 'Runs', cell: (a) => <Runs agent={a} /> },
        { name: 'Ready', wide: true, cell: (a) => a.presence && <Ready readiness={a.presence.readiness} /> },
        { name: 'Labels', wide: true, cell: (a) => <Labels labels={a.labels} /> },
        { name: 'Cap', wide: true, cell: (a) => <Cap agent={a} /> },
        { name: 'Agent version', wide: true, cell: (a) => a.presence && <span className="rf-mono rf-clip" style={{ maxWidth: '9rem' }} title={a.presence.version}>{a.presence.version}</span> },
        { name: 'Polls', wide: true, cell: (a) => a.presence && <span className="rf-mono">{a.presence.node}</span> },
        { name: 'Last poll', right: true, cell: (a) => <Ago at={a.presence?.last_poll} /> },
      ]}
    />
  );
}

/** Cap is how fast the cluster lets a machine fetch and give; its own cap may be stricter. */
function Cap({ agent }: { agent: Agent }) {
  const of = useSettingOf();
  const [down, up, schedule] = ['agent.download_limit', 'agent.upload_limit', 'agent.schedule'].map((key) => of(key, agent) ?? '');
  const rates = down === 'unlimited' && up === 'unlimited' ? '' : `${down} down, ${up} up`;
  const text = [rates, schedule && 'by the hour'].filter(Boolean).join(', ');
  return text ? <span title={schedule || undefined}>{text}</span> : <span className="rf-calm">none</span>;
}

function Runs({ agent }: { agent: Agent }) {
  const installed = agent.presence?.installed ?? [];
  if (installed.length === 0) return <span className="rf-calm">nothing</span>;
  const text = installed.map((i) => `${i.name} ${i.version}`).join(', ');
  return <span className="rf-clip" style={{ maxWidth: '16rem' }} title={text}>{text}</span>;
}
