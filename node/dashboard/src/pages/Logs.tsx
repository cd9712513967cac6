import { ActionIcon, Alert, Button, Group, Select, Text, TextInput } from '@mantine/core';
import { IconChevronDown, IconChevronRight, IconSearch, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { queries } from '../api/queries';
import type { LogLine, LogPage } from '../api/types';
import { logsRoute } from '../router';
import { Card, Facts } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { Correlation } from '../ui/Correlation';
import { Empty } from '../ui/Empty';
import { shellQuote, utc } from '../ui/format';
import { Page } from '../ui/Page';
import { Pager } from '../ui/Pager';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';

const spans = [
  { value: '15m', label: 'Last 15 minutes' }, { value: '1h', label: 'Last hour' }, { value: '24h', label: 'Last day' }, { value: '168h', label: 'Last 7 days' },
];

export function Logs() {
  const given = logsRoute.useSearch();
  const { after, ...filter } = given;
  const navigate = useNavigate({ from: '/logs' });
  const since = given.since ?? (given.correlation ? '' : '15m');
  const logs = useQuery(queries.logs({ ...given, since }));
  const set = (change: typeof filter) => void navigate({ search: (s) => ({ ...s, ...change, after: undefined }) });
  const field = (key: 'grep' | 'correlation' | 'agent', label: string, width: number) => (
    <TextInput
      key={`${key}-${given[key] ?? ''}`} aria-label={label} placeholder={label} defaultValue={given[key] ?? ''} spellCheck={false} w={width} maw="100%"
      data-filter={key === 'grep' ? '' : undefined} leftSection={key === 'grep' ? <IconSearch size={14} aria-hidden /> : undefined}
      onBlur={(e) => e.currentTarget.value.trim() !== (given[key] ?? '') && set({ [key]: e.currentTarget.value.trim() || undefined })}
      onKeyDown={(e) => e.key === 'Enter' && e.currentTarget.blur()}
    />
  );
  const cli = `redflag logs${Object.entries({ ...filter, since }).map(([k, v]) => (v ? ` --${k} ${shellQuote(v)}` : '')).join('')}`;
  return (
    <Page title="Logs" name="Logs" actions={<CopyCli command={cli} />}>
      <Group gap={8}>
        {field('grep', 'Words', 220)}
        {field('correlation', 'Correlation id', 290)}
        {field('agent', 'Agent or node', 160)}
        <Select
          aria-label="Level" placeholder="Every level" clearable w={130} value={given.level ?? null} clearButtonProps={{ 'aria-label': 'Every level' }}
          data={[{ value: 'error', label: 'errors' }, { value: 'warn', label: 'warnings up' }, { value: 'info', label: 'info up' }]} onChange={(v) => set({ level: v ?? undefined })}
        />
        <Select aria-label="Time" w={150} placeholder="All time" clearable clearButtonProps={{ 'aria-label': 'All time' }} data={spans} value={since || null} onChange={(v) => set({ since: v ?? undefined })} />
        {Object.values(filter).some((v) => v !== undefined) && <Button variant="subtle" color="gray" leftSection={<IconX size={14} aria-hidden />} onClick={() => void navigate({ search: {} })}>Clear</Button>}
      </Group>
      <Settled query={logs} what="logs">
        {(page) => <Found page={page} after={after} go={(a) => void navigate({ search: (s) => ({ ...s, after: a }) })} />}
      </Settled>
    </Page>
  );
}

function Found({ page, after, go }: { page: LogPage; after: string | undefined; go: (after: string | undefined) => void }) {
  const silent = page.silent ?? [];
  return (
    <>
      {silent.length > 0 && <Alert color="yellow" variant="outline" title={`${silent.join(', ')} did not answer`}><Text size="sm">Lines that only they hold are missing here.</Text></Alert>}
      <Card flush label="Log lines">
        {page.items.length === 0 ? <Empty title="No line matches">Agents send theirs with their polls: the newest come within one poll.</Empty> : (
          <section className="rf-table rf-stack rf-log" aria-label="Log lines">
            <table>
              <thead><tr><th scope="col">Time (UTC)</th><th scope="col">Level</th><th scope="col">From</th><th scope="col">Message</th></tr></thead>
              <tbody>{page.items.map((l) => <Line key={`${l.source}-${l.spool}-${l.seq}`} line={l} />)}</tbody>
            </table>
          </section>
        )}
        <Pager shown={page.items.length} next={page.next} after={after === undefined ? undefined : 'the page before'} go={go} />
      </Card>
    </>
  );
}

const states: Record<string, string> = { error: 'critical', warn: 'warn', info: 'unknown', debug: 'unknown', trace: 'unknown' };
const apart = new Set(['@timestamp', '@level', '@message', '@module', 'node', 'region', 'agent', 'correlation_id']);

function Line({ line: l }: { line: LogLine }) {
  const [open, setOpen] = useState(false);
  const text = (key: string) => (l.line[key] === undefined ? '' : String(l.line[key]));
  const rest = Object.entries(l.line).filter(([k]) => !apart.has(k));
  const level = text('@level');
  return (
    <>
      <tr>
        <td className="rf-nowrap">
          <ActionIcon variant="subtle" color="gray" size="xs" mr={4} aria-expanded={open} aria-label={open ? 'Less of this line' : 'All of this line'} onClick={() => setOpen(!open)}>
            {open ? <IconChevronDown size={13} /> : <IconChevronRight size={13} />}
          </ActionIcon>
          <span title={utc(l.at)}>{new Date(l.at).toISOString().slice(11, 23)}</span>
        </td>
        <td data-name="Level"><Status state={states[level] ?? 'unknown'} label={level} /></td>
        <td className="rf-nowrap" data-name="From">{l.source}</td>
        <td className="rf-break" data-name="Message"><b>{text('@message')}</b> <span className="rf-calm">{rest.map(([k, v]) => `${k}=${typeof v === 'string' ? v : JSON.stringify(v)}`).join(' ')}</span></td>
      </tr>
      {open && (
        <tr>
          <td colSpan={4}>
            <Facts rows={Object.entries(l.line).map(([k, v]) => [k, k === 'correlation_id' ? <Correlation key={k} id={String(v)} /> : <span key={k} className="rf-mono rf-break">{typeof v === 'string' ? v : JSON.stringify(v)}</span>])} />
          </td>
        </tr>
      )}
    </>
  );
}
