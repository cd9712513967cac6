import { Alert, Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { IconHourglass } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { Command, ExecutionLog } from '../api/types';
import { commandRoute } from '../router';
import { Ago } from '../ui/Ago';
import { PartBar } from '../ui/Bar';
import { Card, Facts } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { took } from '../ui/CommandTable';
import { ConfirmButton } from '../ui/Confirm';
import { Correlation } from '../ui/Correlation';
import { bytes, exactSpan, isTime, percent, plural, sentence, words } from '../ui/format';
import { Page } from '../ui/Page';
import { Retry } from '../ui/Retry';
import { rolloutName } from '../ui/RolloutTable';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';

export function CommandPage() {
  const { id } = commandRoute.useParams();
  const command = useQuery(queries.command(id));
  const c = command.data;
  const name = c ? `${rolloutName(c)} on ${c.agent_id}` : id;
  return (
    <Page
      name={name} title={<Group gap="sm">{name}{c && <Text span size="sm"><Status state={c.state} label={c.state === 'running' && c.phase ? c.phase : undefined} /></Text>}</Group>}
      actions={<><CopyCli command={`redflag commands ${id}`} />{c && !isTime(c.ended_at) && <Cancel command={c} />}{c && <Retry command={c} />}</>}
    >
      <Settled query={command} what="this command">{(got) => <Detail command={got} />}</Settled>
    </Page>
  );
}

function Detail({ command: c }: { command: Command }) {
  return (
    <Stack gap="md">
      {c.failure && (
        <Card title={<span className="rf-bad">Why it failed: {words(c.failure.class)}</span>} label="Why it failed">
          <pre className="rf-code">{c.failure.message}</pre>
        </Card>
      )}
      {c.waiting !== undefined && <Alert color="gray" variant="outline" icon={<IconHourglass size={18} />} title="Why it waits"><Text size="sm">{sentence(c.waiting)}</Text></Alert>}
      {c.cancel_refused !== undefined && <Alert color="yellow" variant="outline" title="The agent did not stop"><Text size="sm">{sentence(c.cancel_refused)}</Text></Alert>}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Card title="Timeline"><Timeline command={c} /></Card>
        <Card title="Command">
          <Facts rows={[
            ['Agent', <Link key="a" to="/agents/$id" params={{ id: c.agent_id }} className="rf-link">{c.agent_id}</Link>],
            ['Region', c.region ?? ''],
            ['Rollout', <Link key="r" to="/rollouts/$id" params={{ id: c.rollout_id }} className="rf-link rf-mono">{c.rollout_id}</Link>],
            ['Kind', words(c.kind)],
            ['Artifact', c.artifact === undefined ? 'none' : `${c.artifact} ${c.version ?? ''}`],
            ['Handed out', plural(c.attempt ?? 0, 'time')],
            ['Took', took(c) || 'has not ended'],
            ...(c.retry_of ? [['Repeats', <Link key="y" to="/commands/$id" params={{ id: c.retry_of }} className="rf-link rf-mono">{c.retry_of}</Link>] as [string, ReactNode]] : []),
            ...(isTime(c.not_before) && !isTime(c.ended_at) ? [['Again', <Ago key="n" at={c.not_before} />] as [string, ReactNode]] : []),
            ...(isTime(c.deadline) && !isTime(c.ended_at) ? [['Deadline', <Ago key="d" at={c.deadline} />] as [string, ReactNode]] : []),
            ...(c.archived ? [['Kept', 'in the archive'] as [string, ReactNode]] : []),
            ['Correlation', <Correlation key="c" id={c.correlation_id} />],
          ]}
          />
        </Card>
      </SimpleGrid>
      {c.log && <ExecutionLogCard log={c.log} />}
      {c.transfer && c.transfer.total > 0 && (
        <Card title="Bytes">
          <Stack gap={8}>
            <PartBar part={c.transfer.done} whole={c.transfer.total} label="Verified on disk" />
            <Text size="sm">
              {bytes(c.transfer.done)} of {bytes(c.transfer.total)} verified on disk. {bytes(c.transfer.from_peers)} came from peers
              {' '}({percent(c.transfer.from_peers, c.transfer.from_peers + c.transfer.from_nodes)}), {bytes(c.transfer.from_nodes)} from nodes,
              {' '}{bytes(c.transfer.from_other_regions)} of it from other regions. It gave {bytes(c.transfer.to_peers)} to peers.
            </Text>
          </Stack>
        </Card>
      )}
    </Stack>
  );
}

/** ExecutionLogCard is what the agent kept of the programs that it ran. */
function ExecutionLogCard({ log }: { log: ExecutionLog }) {
  return (
    <Card title="Execution log" actions={log.exit_code !== undefined && <Text size="xs">exit code <b>{log.exit_code}</b></Text>}>
      <Stack gap="sm">
        {(log.steps ?? []).length > 0 && (
          <Table
            label="Steps" rows={log.steps ?? []} rowKey={(s) => s.name}
            columns={[{ name: 'Step', cell: (s) => words(s.name) }, { name: 'Took', right: true, cell: (s) => exactSpan(s.millis) }]}
          />
        )}
        {log.stdout && <div><Text size="xs" c="dimmed">Output{log.cut ? ', its end' : ''}</Text><pre className="rf-code">{log.stdout}</pre></div>}
        {log.stderr && <div><Text size="xs" c="dimmed">Errors{log.cut ? ', their end' : ''}</Text><pre className="rf-code">{log.stderr}</pre></div>}
      </Stack>
    </Card>
  );
}

function Timeline({ command: c }: { command: Command }) {
  const steps: [string, string, string | undefined][] = [
    ['pending', 'created', c.created_at], ['leased', 'handed out', c.leased_at], ['running', 'taken up', c.started_at], [c.state, words(c.state), c.ended_at],
  ];
  if (isTime(c.cancel_at)) steps.splice(3, 0, ['cancel_requested', 'cancel requested', c.cancel_at]);
  const taken = steps.filter((s): s is [string, string, string] => isTime(s[2]));
  return (
    <ol className="rf-timeline">
      {taken.map(([state, label, at], i) => {
        const before = taken[i - 1]?.[2];
        return (
          <li key={label}>
            <Status state={state} label="" />
            <Text size="sm">{label} <Ago at={at} /></Text>
            <Text size="xs" c="dimmed">{before ? `+${exactSpan(new Date(at).getTime() - new Date(before).getTime())}` : ''}</Text>
          </li>
        );
      })}
    </ol>
  );
}

function Cancel({ command: c }: { command: Command }) {
  return (
    <ConfirmButton
      title={`Cancel this on ${c.agent_id}?`} action="Cancel on 1 agent" danger cli={`redflag commands cancel ${c.id}`}
      onConfirm={() => call('POST', `/v1/commands/${encodeURIComponent(c.id)}/cancel`)}
      body={<Text size="sm">{c.state === 'pending' ? `${c.agent_id} has not taken it up: it is cancelled at once.` : `${c.agent_id} is at it: it is asked to stop, and says whether it could.`}</Text>}
    >
      Cancel…
    </ConfirmButton>
  );
}
