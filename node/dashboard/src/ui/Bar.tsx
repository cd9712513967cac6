import { Tooltip } from '@mantine/core';
import type { CommandState, Counts } from '../api/types';
import { count, percent, words } from './format';
import { toneOf } from './Status';

const order: CommandState[] = [
  'succeeded', 'rolled_back', 'failed', 'timed_out', 'running', 'leased', 'cancelled', 'pending',
];
const fills = { ok: 'rf-fill-ok', warn: 'rf-fill-bad', bad: 'rf-fill-bad', busy: 'rf-fill-busy', calm: 'rf-fill-calm' };

export const countText = (counts: Counts) =>
  order.filter((s) => (counts[s] ?? 0) > 0).map((s) => `${count(counts[s] ?? 0)} ${words(s)}`).join(', ');

/** CountsBar draws how the commands of a rollout, or a part of it, stand. */
export function CountsBar({ counts, total }: { counts: Counts; total: number }) {
  const text = countText(counts) || 'no agents';
  return (
    <Tooltip label={text}>
      <div className="rf-bar" role="img" aria-label={text}>
        {order.filter((s) => s !== 'pending' && (counts[s] ?? 0) > 0).map((s) => (
          <span key={s} className={fills[toneOf(s)]} style={{ width: `${(100 * (counts[s] ?? 0)) / Math.max(1, total)}%` }} />
        ))}
      </div>
    </Tooltip>
  );
}

/** PartBar draws one share of a whole. */
export function PartBar({ part, whole, label }: { part: number; whole: number; label: string }) {
  return (
    <Tooltip label={`${label}: ${percent(part, whole)}`}>
      <div className="rf-bar" role="img" aria-label={`${label}: ${percent(part, whole)}`}>
        <span className="rf-fill-busy" style={{ width: `${whole > 0 ? Math.min(100, (100 * part) / whole) : 0}%` }} />
      </div>
    </Tooltip>
  );
}

/** GaugeBar draws successes from the left and failures from the right, each towards the mark at which something happens. */
export function GaugeBar({ good, bad, whole, goesOn, halts }: { good: number; bad: number; whole: number; goesOn: number; halts: number }) {
  const share = (n: number) => `${whole > 0 ? Math.min(100, (100 * n) / whole) : 0}%`;
  const text = `${count(good)} succeeded and ${count(bad)} failed of ${count(whole)}; goes on at ${goesOn} % succeeded${halts > 0 ? `, halts beyond ${halts} % failed` : ''}`;
  return (
    <Tooltip label={text}>
      <div className="rf-bar rf-gauge" role="img" aria-label={text}>
        <span className="rf-fill-ok" style={{ width: share(good) }} />
        <span className="rf-fill-bad" style={{ width: share(bad) }} />
        {goesOn < 100 && <i className="rf-mark" style={{ left: `${goesOn}%` }} />}
        {halts > 0 && halts < 100 && <i className="rf-mark" style={{ right: `${halts}%` }} />}
      </div>
    </Tooltip>
  );
}
