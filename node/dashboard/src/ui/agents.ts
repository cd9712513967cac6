import type { Agent, Readiness } from '../api/types';

/** milliseconds reads a duration of the API, such as "1m30s" or "300ms". */
export function milliseconds(text: string): number {
  const sizes: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 0.001, 'µs': 0.001, ns: 1e-6 };
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/([\d.]+)(h|ms|m|s|us|µs|ns)/g)) sum += Number(n) * (sizes[unit ?? ''] ?? 0);
  return sum;
}

/** A machine that missed three polls and some patience is silent. */
export const silentAfter = (pollIdle: string) => 3 * milliseconds(pollIdle) + 10_000;

/** agentState is what a machine is at, or that it has not been heard. */
export function agentState(a: Agent, now: number, silence: number): string {
  if (a.presence === undefined) return 'unknown';
  if (now - new Date(a.presence.last_poll).getTime() > silence) return 'silent';
  return a.presence.activity;
}

/** conditions names what keeps a machine from being worked on, or may, as the cluster counts it. */
export function conditions(r: Readiness): string[] {
  return Object.entries({
    degraded: (r.degraded ?? '') !== '',
    'low disk': r.disk_free !== undefined && r.disk_total !== undefined && r.disk_free < r.disk_total / 20,
    'window shut': r.window_open === false,
    'on battery': r.on_battery,
    metered: r.metered,
    'reboot pending': r.reboot_pending,
    'package lock held': r.package_lock,
    busy: (r.load_percent ?? 0) > 100,
  }).filter(([, is]) => is === true).map(([name]) => name);
}
