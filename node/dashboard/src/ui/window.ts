import type { Window } from '../api/types';

// Maintenance windows, read and written as the command line does: "mon-fri 22:00-04:00 Europe/Berlin".

const names = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const minute = 60_000;
const day = 1440 * minute;

/** maxWindows is how many windows a rollout may have, as the cluster checks. */
export const maxWindows = 16;

/** daysOf reads days of the week, such as mon-fri,sun: 0 is Sunday. */
export function daysOf(text: string): number[] | undefined {
  if (text === 'daily') return names.map((_, d) => d);
  const days = new Set<number>();
  for (const part of text.toLowerCase().split(',')) {
    const [first = '', last = first] = part.split('-');
    const from = names.indexOf(first);
    const to = names.indexOf(last);
    if (from < 0 || to < 0) return undefined;
    for (let d = from; ; d = (d + 1) % 7) {
      days.add(d);
      if (d === to) break;
    }
  }
  return [...days].toSorted((a, b) => a - b);
}

function minutesOf(text: string): number | undefined {
  const at = /^(\d{1,2}):(\d\d)$/.exec(text);
  const minutes = Number(at?.[1]) * 60 + Number(at?.[2]);
  return at && Number(at[2]) < 60 && minutes <= 1440 ? minutes : undefined;
}

const clocks = new Map<string, Intl.DateTimeFormat | null>();

/** clockOf tells the wall-clock time of a zone, and nothing where there is no such zone. */
function clockOf(zone: string): Intl.DateTimeFormat | null {
  let clock = clocks.get(zone);
  if (clock === undefined) {
    try {
      clock = new Intl.DateTimeFormat('en-CA', { timeZone: zone, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' });
    } catch {
      clock = null;
    }
    clocks.set(zone, clock);
  }
  return clock;
}

/** parseWindow reads days, times and a zone, which is UTC if none is named. */
export function parseWindow(text: string): Window | undefined {
  const [days = '', clock = '', zone = 'UTC', ...rest] = text.trim().split(/\s+/);
  const [from = '', to = '', ...more] = clock.split('-');
  const w = { days: daysOf(days), from: minutesOf(from), to: minutesOf(to), zone };
  if (w.days === undefined || w.from === undefined || w.from >= 1440 || w.to === undefined || rest.length + more.length > 0 || clockOf(zone) === null) return undefined;
  return { days: w.days, from: w.from, to: w.to, zone };
}

const clock = (m: number) => `${String(Math.floor(m / 60)).padStart(2, '0')}:${String(m % 60).padStart(2, '0')}`;

const name = (d: number | undefined) => names[d ?? 0];

/** windowText writes a window as parseWindow reads it. */
export function windowText(w: Window): string {
  const runs: number[][] = [];
  for (const d of [1, 2, 3, 4, 5, 6, 0].filter((one) => w.days.includes(one))) {
    const run = runs.at(-1);
    if (run !== undefined && ((run.at(-1) ?? 0) + 1) % 7 === d) run.push(d);
    else runs.push([d]);
  }
  const days = w.days.length === 7 ? 'daily' : runs.map((r) => (r.length > 2 ? `${name(r[0])}-${name(r.at(-1))}` : r.map(name).join(','))).join(',');
  return `${days} ${clock(w.from)}-${clock(w.to)} ${w.zone}`;
}

/** wall is what the clocks of a zone show at t, as if they showed UTC. */
function wall(t: number, in_: Intl.DateTimeFormat): number {
  const part = Object.fromEntries(in_.formatToParts(t).map((p) => [p.type, Number(p.value)]));
  return Date.UTC(part.year ?? 0, (part.month ?? 1) - 1, part.day, part.hour, part.minute, part.second);
}

/** instant is when the clocks of a zone show that. */
function instant(shown: number, in_: Intl.DateTimeFormat): number {
  let t = shown;
  for (let i = 0; i < 2; i++) t += shown - wall(t, in_);
  return t;
}

/** opens is when the first of some windows is open from, which is now if one is; undefined where there is none. */
export function opens(windows: Window[], now: number): number | undefined {
  let first: number | undefined;
  for (const w of windows) {
    const clockThere = clockOf(w.zone);
    if (clockThere === null) continue;
    const today = Math.floor(wall(now, clockThere) / day) * day;
    for (let at = today - day; at <= today + 8 * day; at += day) {
      if (!w.days.includes(new Date(at).getUTCDay())) continue;
      const end = instant(at + (w.to > w.from ? w.to : w.to + 1440) * minute, clockThere);
      if (end <= now) continue;
      const start = Math.max(now, instant(at + w.from * minute, clockThere));
      first = Math.min(first ?? start, start);
      break;
    }
  }
  return first;
}
