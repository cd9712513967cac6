import { useSyncExternalStore } from 'react';
import { Problem, problemOf } from '../api/problem';

export type Role = 'viewer' | 'operator' | 'admin';
const ranks: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export interface Operator { id: string; role: Role; expires_at?: string }
interface Opened { operator: Operator; csrf: string; expires_at: string }

/** Undefined while it is not known yet, null when nobody is signed in. */
let opened: Opened | null | undefined;
let notice = '';
const listeners = new Set<() => void>();

function become(next: Opened | null, why = '') {
  opened = next;
  notice = why;
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
  async close() {
    await ask('DELETE').catch(() => undefined);
    become(null);
  },
  /** The node does not accept the session any more. */
  refused(problem: Problem) {
    if (opened) become(null, problem.message);
  },
};

const subscribe = (l: () => void) => {
  listeners.add(l);
  return () => listeners.delete(l);
};

/** useOperator is who is signed in: undefined while that is not known, null for nobody. */
export const useOperator = () => useSyncExternalStore(subscribe, () => (opened ? opened.operator : opened));
export const useNotice = () => useSyncExternalStore(subscribe, () => notice);

/** useMay tells whether the operator may do what a role may: what would be refused is not offered. */
export function useMay(role: Role): boolean {
  const operator = useOperator();
  return operator !== undefined && operator !== null && ranks[operator.role] >= ranks[role];
}
