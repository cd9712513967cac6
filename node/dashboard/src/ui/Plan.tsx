import type { Plan, Rollout, Wave } from '../api/types';
import { GaugeBar } from './Bar';
import { count } from './format';
import { Status } from './Status';
import { Table } from './Table';

export const waveText = (w: Wave) => (w.percent ? `${w.percent}%` : count(w.agents ?? 0));

/** parseWaves reads "10, 25%": what has been released, in all, once each wave is open. */
export function parseWaves(text: string): Wave[] | undefined {
  const waves: Wave[] = [];
  for (const part of text.split(/[\s,]+/).filter((t) => t !== '')) {
    const n = /^(\d+)(%?)$/.exec(part);
    const value = Number(n?.[1] ?? 0);
    if (value < 1 || (n?.[2] === '%' && value > 100)) return undefined;
    waves.push(n?.[2] === '%' ? { percent: value } : { agents: value });
  }
  return waves;
}

const released = (w: Wave, total: number) => Math.min(total, w.percent ? Math.ceil((total * w.percent) / 100) : (w.agents ?? 0));

export interface WaveRow { n: number; text: string; agents: number; upTo: number }

/** waveRows is how a plan releases agents: by its waves, or by its regions, and then the rest. */
export function waveRows(plan: Plan, total: number, inRegion: (region: string) => number): WaveRow[] {
  const rows: WaveRow[] = [];
  const add = (text: string, upTo: number) => {
    const before = rows.at(-1)?.upTo ?? 0;
    if (upTo > before) rows.push({ n: rows.length + 1, text, agents: upTo - before, upTo });
  };
  for (const w of plan.waves ?? []) add(waveText(w), released(w, total));
  if (rows.length === 0) {
    let sum = 0;
    for (const region of plan.region_order ?? []) add(region, Math.min(total, sum += inRegion(region)));
  }
  add('the rest', total);
  return rows;
}

/** thresholds says in one sentence when a plan goes on and when it halts. */
export function thresholds(p: Plan): string {
  const on = `goes on when ${p.success_percent || 100} % of a wave have succeeded`;
  return p.max_failure_percent ? `${on}, halts when more than ${p.max_failure_percent} % have failed` : `${on}, never halts by itself`;
}

/** WaveTable shows which agents are released, wave by wave. */
export function WaveTable({ rollout: r }: { rollout: Rollout }) {
  const there = (region: string) => Object.values(r.regions?.find((g) => g.region === region)?.counts ?? {}).reduce((sum, n) => sum + n, 0);
  const rows = waveRows(r.plan, r.agents, there);
  const { wave: at, open_wave: open } = r;
  return (
    <Table
      label="Waves" rows={rows} rowKey={(w) => String(w.n)} faded={(w) => w.n > at}
      columns={[
        { name: 'Wave', cell: (w) => <b>{w.n}</b> },
        { name: 'State', cell: (w) => (w.n < at || r.state === 'done' ? <Status state="done" label="passed" /> : w.n === at ? <Status state={r.state} label={r.state === 'running' ? 'open' : undefined} /> : <Status state="pending" label="waits" />) },
        {
          name: 'Progress', width: '30%', cell: (w) => w.n === at && (
            <GaugeBar good={open.succeeded} bad={open.failed} whole={open.agents} goesOn={r.plan.success_percent || 100} halts={r.plan.max_failure_percent ?? 0} />
          ),
        },
        { name: 'Reaches', cell: (w) => w.text },
        { name: 'Agents', right: true, cell: (w) => count(w.agents) },
        { name: 'In all', right: true, cell: (w) => count(w.upTo) },
      ]}
    />
  );
}
