import { Link } from '@tanstack/react-router';
import type { Command } from '../api/types';
import { Ago } from './Ago';
import { exactSpan, isTime, words } from './format';
import { Retry } from './Retry';
import { rolloutName } from './RolloutTable';
import { Status } from './Status';
import { Table } from './Table';

/** took is how long a command ran, from hand-out to end. */
export function took(c: Command): string {
  if (!isTime(c.leased_at) || !isTime(c.ended_at)) return '';
  return exactSpan(new Date(c.ended_at).getTime() - new Date(c.leased_at).getTime());
}

export function CommandTable({ label, commands, without = [], retry = false }: { label: string; commands: Command[]; without?: string[]; retry?: boolean }) {
  return (
    <Table
      label={label} rows={commands} rowKey={(c) => c.id}
      columns={[
        { name: 'Agent', cell: (c: Command) => without.includes('What')
          ? <Link to="/commands/$id" params={{ id: c.id }} className="rf-link" title={c.id}>{c.agent_id}</Link>
          : <Link to="/agents/$id" params={{ id: c.agent_id }} className="rf-link">{c.agent_id}</Link> },
        { name: 'What', cell: (c: Command) => <Link to="/commands/$id" params={{ id: c.id }} className="rf-link rf-nowrap">{rolloutName(c)}</Link> },
        { name: 'State', cell: (c: Command) => <Status state={c.state} label={c.state === 'running' && c.phase ? c.phase : undefined} /> },
        { name: 'Why', cell: (c: Command) => c.failure && <span className="rf-clip" style={{ maxWidth: '24rem' }} title={c.failure.message}><b>{words(c.failure.class)}</b>: {c.failure.message}</span> },
        { name: 'Region', wide: true, cell: (c: Command) => c.region },
        { name: 'Tries', wide: true, right: true, cell: (c: Command) => c.attempt ?? 0 },
        { name: 'Took', wide: true, right: true, cell: (c: Command) => <span className="rf-nowrap">{took(c)}</span> },
        { name: 'Last change', right: true, cell: (c: Command) => <Ago at={[c.ended_at, c.started_at, c.leased_at].find(isTime) ?? c.created_at} /> },
        ...(retry ? [{ name: 'Action', right: true, cell: (c: Command) => <Retry command={c} compact /> }] : []),
      ].filter((c) => !without.includes(c.name))}
    />
  );
}
