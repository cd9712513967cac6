import { session } from '../auth/session';
import { Problem, problemOf } from './problem';

const patience = 20_000; // ms, for one request

export const get = <T>(path: string, signal?: AbortSignal) => call<T>('GET', path, undefined, signal);

/** call does one exchange with the node that served this page. With a key, a repeat of it makes nothing twice. */
export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, key?: string): Promise<T> {
  const sent = session.sent();
  const headers = new Headers(session.headers(method));
  if (key !== undefined) headers.set('Idempotency-Key', key);
  if (body !== undefined) headers.set('Content-Type', 'application/json');
  let res: Response;
  try {
    res = await fetch(path, {
      method, headers, credentials: 'same-origin', cache: 'no-store',
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.any([AbortSignal.timeout(patience), ...(signal ? [signal] : [])]),
    });
  } catch (err) {
    if (signal?.aborted) throw err;
    const change = method !== 'GET';
    throw new Problem(
      change ? 'indeterminate' : 'unavailable',
      change ? 'The answer was lost: the change may have been made.' : 'The node does not answer.',
      change ? 'Look before you repeat it.' : `Is the node at ${window.location.host} running?`,
      0, '',
    );
  }
  const correlation = res.headers.get('traceparent')?.split('-')[1] ?? '';
  const text = await res.text();
  if (!res.ok) {
    const problem = problemOf(res.status, text, correlation);
    if (problem.status === 401) session.refused(problem);
    if (problem.status === 403 && problem.message.includes('CSRF') && await session.renew(sent)) return call<T>(method, path, body, signal, key);
    throw problem;
  }
  return (text === '' ? {} : JSON.parse(text)) as T;
}
