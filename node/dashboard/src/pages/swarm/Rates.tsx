import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { queries } from '../../api/queries';
import type { SwarmMember } from '../../api/types';
import { Card } from '../../ui/Card';
import { exactSpan } from '../../ui/format';

const units: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** bits reads a rate of the API, such as "2mbit", in bit/s; unlimited is undefined. */
function bits(rate: string): number | undefined {
  const r = /^(\d+(?:\.\d+)?)([kmg]?)bit$/.exec(rate);
  return r ? Number(r[1]) * (units[r[2] ?? ''] ?? 1) : undefined;
}

/** rate renders bit/s as the API does. */
function rate(n: number): string {
  if (n === 0) return '0';
  const [unit, size] = n >= 1e9 ? ['Gbit/s', 1e9] : n >= 1e6 ? ['Mbit/s', 1e6] : ['kbit/s', 1e3];
  return `${(n / size).toFixed(n / size < 10 ? 1 : 0)} ${unit}`;
}

/** Sample is the traffic of a swarm at one moment, in bit/s; a cap is undefined where one machine has none. */
interface Sample { at: number; agents: number; cap: number | undefined; nodes: number }

// What this browser has seen of each swarm; the cluster keeps no rates.
const seen = new Map<string, Sample[]>();
const most = 300;

const sum = (all: SwarmMember[], of: (m: SwarmMember) => number) => all.reduce((n, m) => n + of(m), 0);

function sampled(rollout: string, at: number, members: SwarmMember[]): Sample[] {
  const list = seen.get(rollout) ?? [];
  if (at <= (list.at(-1)?.at ?? 0)) return list;
  const agents = members.filter((m) => !m.node);
  const fetching = agents.filter((m) => m.transfer.done < m.transfer.total);
  const caps = fetching.map((m) => bits(m.download.cap));
  const next = [...list, {
    at, agents: sum(agents, (m) => bits(m.download.now) ?? 0), nodes: sum(members.filter((m) => m.node), (m) => bits(m.upload.now) ?? 0),
    cap: caps.length === 0 || caps.includes(undefined) ? undefined : caps.reduce<number>((n, c) => n + (c ?? 0), 0),
  }].slice(-most);
  seen.set(rollout, next);
  return next;
}

const width = 960;
const height = 150;
const left = 76;
const foot = 18;

/** Rates draws how fast a swarm fetched, against its caps, while this browser looked on. */
export function Rates({ rollout }: { rollout: string }) {
  const swarm = useQuery(queries.swarm(rollout));
  if (swarm.data === undefined) return null;
  const samples = sampled(rollout, swarm.dataUpdatedAt, swarm.data.members ?? []);
  const first = samples[0]?.at ?? 0;
  const last = samples.at(-1)?.at ?? 0;
  const top = Math.max(1e5, ...samples.flatMap((s) => [s.agents, s.nodes, s.cap ?? 0]));
  const x = (at: number) => left + ((width - left) * (at - first)) / Math.max(1, last - first);
  const y = (n: number) => 6 + (height - foot - 6) * (1 - n / top);
  const line = (of: (s: Sample) => number | undefined) => samples.filter((s) => of(s) !== undefined).map((s) => `${x(s.at).toFixed(1)},${y(of(s) ?? 0).toFixed(1)}`).join(' ');
  const now = samples.at(-1);
  const words = now && `agents fetch ${rate(now.agents)}${now.cap === undefined ? '' : ` of ${rate(now.cap)} that their caps allow`}, nodes give ${rate(now.nodes)}`;
  return (
    <Card title="Use of the caps over time" actions={<Text size="xs" c="dimmed">{last > first ? `the last ${exactSpan(last - first)}, as seen by this browser` : 'from now on'}</Text>}>
      <section className="rf-table rf-newest" aria-label="Use of the caps over time">
        <svg viewBox={`0 0 ${width} ${height}`} style={{ width: '100%', minWidth: 640, display: 'block' }} role="img" aria-label={words}>
          {[0, top / 2, top].map((n) => (
            <g key={n}>
              <line x1={left} x2={width} y1={y(n)} y2={y(n)} className="rf-chart-line" />
              <text x={left - 6} y={y(n) + 4} textAnchor="end" className="rf-chart-axis">{rate(n)}</text>
            </g>
          ))}
          <polyline points={line((s) => s.cap)} fill="none" stroke="var(--rf-bad)" strokeWidth={1.5} strokeDasharray="6 4" />
          <polyline points={line((s) => s.nodes)} fill="none" stroke="var(--rf-warn)" strokeWidth={2} />
          <polyline points={line((s) => s.agents)} fill="none" stroke="var(--rf-busy)" strokeWidth={2} />
        </svg>
      </section>
      <Text size="xs" c="dimmed"><b className="rf-busy">—</b> agents fetch <b className="rf-warn">—</b> nodes give <b className="rf-bad">- -</b> the sum of the caps of those that fetch. Now: {words}.</Text>
    </Card>
  );
}
