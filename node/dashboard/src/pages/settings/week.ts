import { daysOf } from '../../ui/window';

// A schedule of caps as people paint it: whole hours of a week in one zone.

/** Week holds for each hour, from Monday 00:00, the caps as they are written, such as "down=2mbit up=1mbit"; nothing is uncapped. */
export interface Week { zone: string; hours: string[] }

export const hoursOfWeek = 7 * 24;
/** maxParts is how many parts a schedule may have, as the cluster checks. */
export const maxParts = 16;

const names = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];

export const localZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
export const emptyWeek = (zone = localZone()): Week => ({ zone, hours: Array.from({ length: hoursOfWeek }, () => '') });

/** caps renders rates as a schedule writes them. */
export const caps = (down: string, up: string) =>
  [down.trim() && `down=${down.trim()}`, up.trim() && `up=${up.trim()}`].filter(Boolean).join(' ');

export const rateOf = (text: string, way: 'down' | 'up') => new RegExp(`(?:^| )${way}=(\\S+)`).exec(text)?.[1] ?? '';

/** isRate tells what the cluster takes for a rate. */
export const isRate = (text: string) => /^(?:unlimited|\d+(?:\.\d+)?(?:k|m|g)?bit)$/.test(text.trim());

/** parseWeek reads a schedule, and gives up on one that whole hours in one zone cannot show. */
export function parseWeek(text: string): Week | undefined {
  const week = emptyWeek('');
  for (const part of text.split(';').filter((p) => p.trim() !== '')) {
    const fields = part.trim().split(/\s+/);
    const [days = '', clock = '', zone = 'UTC', ...rest] = fields.filter((f) => !f.includes('='));
    const rates = fields.filter((f) => f.includes('=')).join(' ');
    const on = daysOf(days)?.map((d) => (d + 6) % 7); // from Monday
    const at = /^(\d{1,2}):00-(\d{1,2}):00$/.exec(clock);
    if (!on || !at || rest.length > 0 || (week.zone !== '' && week.zone !== zone)) return undefined;
    week.zone = zone;
    const from = Number(at[1]);
    const to = Number(at[2]);
    const length = from < to ? to - from : 24 - from + to; // past midnight
    for (const d of on) {
      for (let i = 0; i < length; i++) {
        const hour = (24 * d + from + i) % hoursOfWeek;
        week.hours[hour] ||= caps(rateOf(rates, 'down'), rateOf(rates, 'up')); // what is named first counts
      }
    }
  }
  return { ...week, zone: week.zone || localZone() };
}

function dayNames(days: number[]): string {
  if (days.length === 7) return 'daily';
  const runs: number[][] = [];
  for (const d of days) {
    const run = runs.at(-1);
    if (run?.at(-1) === d - 1) run.push(d);
    else runs.push([d]);
  }
  return runs.map((r) => (r.length > 2 ? `${names[r[0] ?? 0]}-${names[r.at(-1) ?? 0]}` : r.map((d) => names[d]).join(','))).join(',');
}

const clock = (hour: number) => `${String(hour).padStart(2, '0')}:00`;

/** parts writes the week as the parts of a schedule: equal hours of several days are one. */
export function parts({ zone, hours }: Week): string[] {
  const spans = new Map<string, { days: number[]; clock: string; caps: string }>();
  for (let day = 0; day < 7; day++) {
    for (let from = 0; from < 24;) {
      const here = hours[24 * day + from] ?? '';
      let to = from + 1;
      while (to < 24 && hours[24 * day + to] === here) to++;
      if (here !== '') {
        const at = `${clock(from)}-${clock(to)}`;
        const span = spans.get(`${at} ${here}`) ?? { days: [], clock: at, caps: here };
        span.days.push(day);
        spans.set(`${at} ${here}`, span);
      }
      from = to;
    }
  }
  return [...spans.values()].map((s) => `${dayNames(s.days)} ${s.clock} ${zone} ${s.caps}`);
}

const between = (n: number, a: number, b: number) => n >= Math.min(a, b) && n <= Math.max(a, b);
const day = (hour: number) => Math.floor(hour / 24);

/** paint gives the hours of a rectangle, from one corner to the other, the same caps. */
export function paint(week: Week, from: number, to: number, text: string): Week {
  return {
    ...week,
    hours: week.hours.map((old, h) => (between(day(h), day(from), day(to)) && between(h % 24, from % 24, to % 24) ? text : old)),
  };
}
