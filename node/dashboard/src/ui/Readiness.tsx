import type { Readiness } from '../api/types';
import { conditions } from './agents';
import { Status } from './Status';

/** Ready says in a few words whether a machine can be worked on. */
export function Ready({ readiness: r }: { readiness: Readiness | undefined }) {
  if (r === undefined) return <span className="rf-calm">not reported</span>;
  const blocked = (r.blocked ?? []).map((b) => b.gate);
  const all = [...blocked, ...conditions(r)];
  if (all.length === 0) return <Status state="ok" label="ready" />;
  const state = r.degraded ? 'critical' : 'warn';
  return <span title={all.join(', ')}><Status state={state} label={all.length > 2 ? `${all.slice(0, 2).join(', ')} and ${all.length - 2} more` : all.join(', ')} /></span>;
}
