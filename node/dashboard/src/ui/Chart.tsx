import { count, plural, utc } from './format';

/** Column is what ended within one step of time. */
export interface Column { at: number; good: number; bad: number }

const width = 960;
const height = 190;
const left = 40;
const foot = 22;

/** tidy is the least round number that is not below n, so that half of it is whole. */
function tidy(n: number): number {
  const unit = 10 ** Math.floor(Math.log10(Math.max(2, n)));
  return ([2, 4, 6, 8, 10].map((m) => m * unit).find((v) => v >= n)) ?? n;
}

/** Columns draws successes and, on top of them, failures over time; label says what it is a picture of. */
export function Columns({ columns, step, label }: { columns: Column[]; step: number; label: string }) {
  const most = tidy(Math.max(2, ...columns.map((c) => c.good + c.bad)));
  const each = (width - left) / Math.max(1, columns.length);
  const y = (n: number) => (height - foot) * (1 - n / most) + 6 * (n / most);
  const every = Math.ceil(columns.length / 6);
  const good = columns.reduce((sum, c) => sum + c.good, 0);
  const bad = columns.reduce((sum, c) => sum + c.bad, 0);
  const axis = (t: number) => (step < 86_400_000 / 2 ? utc(t).slice(step < 3 * 3_600_000 ? 11 : 5, 16) : utc(t).slice(5, 10));
  return (
    <section className="rf-table rf-newest" aria-label={label}>
      <svg viewBox={`0 0 ${width} ${height}`} style={{ width: '100%', minWidth: 760, display: 'block' }} role="img" aria-label={`${label}: ${count(good)} succeeded, ${count(bad)} failed`}>
        <defs>
          <pattern id="chart-bad" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="5" height="5" className="rf-chart-bad" /><rect width="2" height="5" fill="rgb(255 255 255 / 45%)" />
          </pattern>
        </defs>
        {[0, most / 2, most].map((n) => (
          <g key={n}>
            <line x1={left} x2={width} y1={y(n)} y2={y(n)} className="rf-chart-line" />
            <text x={left - 6} y={y(n) + 4} textAnchor="end" className="rf-chart-axis">{count(n)}</text>
          </g>
        ))}
        {columns.map((c, i) => (
          <g key={c.at}>
            <title>{`${utc(c.at).slice(0, 16)} UTC: ${plural(c.good, 'command')} succeeded, ${count(c.bad)} failed`}</title>
            <rect x={left + i * each} y={0} width={each} height={height - foot} fill="transparent" />
            {c.good > 0 && <rect x={left + i * each + 1} y={y(c.good)} width={Math.max(1, each - 2)} height={y(0) - y(c.good)} className="rf-chart-ok" />}
            {c.bad > 0 && <rect x={left + i * each + 1} y={y(c.good + c.bad)} width={Math.max(1, each - 2)} height={y(c.good) - y(c.good + c.bad)} fill="url(#chart-bad)" />}
            {i % every === 0 && <text x={left + (i + 0.5) * each} y={height - 5} textAnchor="middle" className="rf-chart-axis">{axis(c.at)}</text>}
          </g>
        ))}
      </svg>
    </section>
  );
}
