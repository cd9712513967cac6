import { Problem, problemOf } from '../api/problem';

// For a node of a version that has no sessions: the token lives as long as the
// tab, never in a URL and never on disk.
const storageKey = 'redflag.token';

export const bearer = {
  get token() { return window.sessionStorage.getItem(storageKey) ?? ''; },
  async check(token: string) {
    const res = await fetch('/v1/nodes', { headers: { Authorization: `Bearer ${token}` }, cache: 'no-store' });
    if (!res.ok) throw problemOf(res.status, await res.text(), '');
    window.sessionStorage.setItem(storageKey, token);
  },
  forget() { window.sessionStorage.removeItem(storageKey); },
};

export const isMissing = (err: unknown) => err instanceof Problem && err.missing;
