const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** bytes renders a size in binary units, as the command line does. */
export function bytes(n: number): string {
  let v = Math.abs(n);
  let u = 0;
  while (v >= 1024 && u < units.length - 1) {
    v /= 1024;
    u++;
  }
  const text = u === 0 || v >= 100 ? Math.round(v).toString() : v.toFixed(1);
  return `${n < 0 ? '-' : ''}${text} ${units[u]}`;
}

export const count = (n: number) => n.toLocaleString('en-US');

/** plural renders "1 agent" and "3 agents". */
export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function percent(part: number, whole: number): string {
  if (whole <= 0) return '0 %';
  const p = (100 * part) / whole;
  return `${p > 0 && p < 1 ? '<1' : p < 100 && p > 99 ? '>99' : Math.round(p)} %`;
}

const steps: [number, string][] = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1000, 's']];

/** span renders a length of time in its largest unit: "12 s", "3 min", "2 d". */
export function span(ms: number): string {
  for (const [size, unit] of steps) if (ms >= size) return `${Math.floor(ms / size)} ${unit}`;
  return '0 s';
}

/** exactSpan renders a length of time with what stands behind the seconds. */
export function exactSpan(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const min = Math.floor(ms / 60_000);
  return min < 60 ? `${min} min ${Math.floor((ms % 60_000) / 1000)} s` : `${Math.floor(min / 60)} h ${min % 60} min`;
}

/** utc renders a time as it stands in the logs: "2026-11-24 22:08:56 UTC". */
export const utc = (t: string | number) => `${new Date(t).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/** isTime tells a real time from the zero time. */
export const isTime = (t: string | undefined): t is string => t !== undefined && t !== '' && !t.startsWith('0001-');

/** shellQuote makes a word safe to paste into a shell. */
export const shellQuote = (s: string) => (/^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", `'\\''`)}'`);

export const words = (s: string) => s.replaceAll('_', ' ');

/** shortID keeps what tells a generated id from its neighbours. */
export const shortID = (id: string) => (/^r-[0-9A-Z]{26}$/.test(id) ? `r-…${id.slice(-8)}` : id);

/** sentence gives what a server says a capital letter and a full stop. */
export function sentence(s: string): string {
  const t = s.charAt(0).toUpperCase() + s.slice(1);
  return /[.:!?…]$/.test(t) || t === '' ? t : `${t}.`;
}
