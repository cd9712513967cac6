import { useSyncExternalStore } from 'react';
import { Problem, problemOf } from '../api/problem';
import type { Selector } from '../api/types';

export type Role = 'viewer' | 'operator' | 'admin';
const ranks: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export interface Operator { id: string; role: Role; scope?: Selector; expires_at?: string }
interface Opened { operator: Operator; csrf: string; expires_at: string }

/** Undefined while it is not known yet, null when nobody is signed in. */
let opened: Opened | null | undefined;
let notice = '';
/** Ended says that nobody signed out: what was typed is kept. */
let ended = false;
const listeners = new Set<() => void>();

function become(next: Opened | null, why = '', byItself = false) {
  opened = next;
  notice = why;
  ended = byItself;
  for (const l of listeners) l();
}

async function ask(method: string, body?: unknown): Promise<Opened> {
  const headers: Record<string, string> = { ...session.headers(method), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) };
  const res = await fetch('/v1/session', { method, headers, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body) })
    .catch(() => { throw new Problem('unavailable', 'The node does not answer.', `Is the node at ${window.location.host} running?`, 0, ''); });
  const text = await res.text();
  if (!res.ok) throw problemOf(res.status, text, '');
  return JSON.parse(text) as Opened;
}

// The session itself is in a cookie that no script can read.
export const session = {
  /** What proves that a change was meant by this page. */
  headers(method: string): Record<string, string> {
    return method === 'GET' || !opened ? {} : { 'X-CSRF-Token': opened.csrf };
  },
  /** Finds out whether a session is open in this browser. */
  async resume() {
    try {
      become(await ask('GET'));
    } catch (err) {
      become(null, err instanceof Problem && err.status === 0 ? err.message : '');
    }
  },
  async signIn(token: string) {
    become(await ask('POST', { token }));
  },
  isOpen: () => Boolean(opened),
  /** What a change is sent with, to be compared when it was refused. */
  sent: () => opened ?? undefined,
  /** Another tab may have opened the session anew, for the same operator: what proves a change is another then. */
  async renew(sent: Opened | undefined): Promise<boolean> {
    try {
      const next = await ask('GET');
      if (opened && next.csrf !== opened.csrf) become(next);
    } catch (err) {
      if (err instanceof Problem && err.status === 401) session.refused(err);
      return false;
    }
    return sent !== undefined && opened?.operator.id === sent.operator.id && opened.csrf !== sent.csrf;
  },
  async close() {
    let problem: unknown;
    for (let tries = 0; tries < 2; tries++) {
      const sent = session.sent();
      try {
        await ask('DELETE');
        return become(null);
      } catch (err) {
        problem = err;
        if (!(err instanceof Problem) || err.status !== 403 || !(await session.renew(sent))) break;
      }
    }
    const gone = problem instanceof Problem && problem.status === 401;
    return become(null, gone ? '' : 'The node did not hear of it: until the session ends by itself, whoever uses this browser can go on with it.');
  },
  /** The node does not accept the session any more. */
  refused(problem: Problem) {
    if (opened) become(null, problem.message, true);
  },
};

const subscribe = (l: () => void) => {
  listeners.add(l);
  return () => listeners.delete(l);
};

/** useOperator is who is signed in: undefined while that is not known, null for nobody. */
export const useOperator = () => useSyncExternalStore(subscribe, () => (opened ? opened.operator : opened));
export const useEnded = () => useSyncExternalStore(subscribe, () => ended);
export const useNotice = () => useSyncExternalStore(subscribe, () => notice);

/**
 * useMay tells whether the operator may do what a role may: what would be refused is not offered.
 * An operator with a scope may change only what bounds itself to it.
 */
export function useMay(role: Role, bounded = false): boolean {
  const operator = useOperator();
  if (!operator || ranks[operator.role] < ranks[role]) return false;
  return bounded || role === 'viewer' || operator.scope === undefined;
}
