import { Link } from '@tanstack/react-router';
import type { Rollout } from '../api/types';
import { Ago } from './Ago';
import { CountsBar } from './Bar';
import { count, shortID, words } from './format';
import { Target } from './Selectors';
import { Status } from './Status';
import { Table } from './Table';

/** rolloutName says what a rollout or a command does: "app 1.4.0", "app back", or its kind where that is about no artifact. */
export function rolloutName(r: Pick<Rollout, 'kind' | 'artifact' | 'version'>): string {
  if (r.artifact === undefined) return words(r.kind);
  return r.kind === 'rollback' ? `${r.artifact} back` : `${r.artifact} ${r.version ?? ''}`.trim();
}

export const finished = (r: Rollout) =>
  (r.counts.succeeded ?? 0) + (r.counts.failed ?? 0) + (r.counts.cancelled ?? 0) + (r.counts.rolled_back ?? 0) + (r.counts.timed_out ?? 0);

/** The states in which a rollout is not over. */
export const goesOn = (r: Pick<Rollout, 'state'>) => ['running', 'paused', 'halted'].includes(r.state);

export const failures = (r: Pick<Rollout, 'counts'>) => (r.counts.failed ?? 0) + (r.counts.timed_out ?? 0) + (r.counts.rolled_back ?? 0);

export function RolloutTable({ label, rollouts }: { label: string; rollouts: Rollout[] }) {
  return (
    <Table
      label={label} rows={rollouts} rowKey={(r) => r.id}
      columns={[
        { name: 'Rollout', cell: (r) => <Link to="/rollouts/$id" params={{ id: r.id }} className="rf-link rf-nowrap" title={r.id}><b>{rolloutName(r)}</b></Link> },
        { name: 'State', cell: (r) => <Status state={r.state} /> },
        { name: 'Progress', width: '26%', cell: (r) => <CountsBar counts={r.counts} total={r.agents} /> },
        { name: 'Ended', right: true, cell: (r) => <span className="rf-nowrap">{count(finished(r))} of {count(r.agents)}</span> },
        { name: 'Failed', right: true, cell: (r) => (failures(r) > 0 ? <span className="rf-bad">{count(failures(r))}</span> : <span className="rf-calm">0</span>) },
        { name: 'To', wide: true, cell: (r) => <Target selector={r.selector} /> },
        { name: 'Id', wide: true, cell: (r) => <span className="rf-mono" title={r.id}>{shortID(r.id)}</span> },
        { name: 'Created', right: true, cell: (r) => <Ago at={r.created_at} /> },
      ]}
    />
  );
}
