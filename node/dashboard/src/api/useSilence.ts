import { useQuery } from '@tanstack/react-query';
import { silentAfter } from '../ui/agents';
import { queries } from './queries';
import type { Agent, Settings } from './types';

const ranks: Record<string, number> = { cluster: 0, region: 1, label: 2, agent: 3 };
const rank = (layer: string) => ranks[layer.split(':')[0] ?? ''] ?? 0;

function covers(layer: string, a: Agent): boolean {
  const name = layer.slice(layer.indexOf(':') + 1);
  if (layer.startsWith('region:')) return name === a.region;
  if (layer.startsWith('agent:')) return name === a.id;
  if (layer.startsWith('label:')) return name.split(',').every((t) => a.labels?.[t.slice(0, t.indexOf('='))] === t.slice(t.indexOf('=') + 1));
  return layer === 'cluster';
}

/** pollIdle is how often a machine polls that has nothing to do: the narrowest layer says. */
function pollIdle(s: Settings | undefined, a: Agent): string {
  const set = (s?.layers ?? []).filter((v) => v.key === 'poll.idle' && covers(v.layer, a)).toSorted((x, y) => rank(x.layer) - rank(y.layer)).at(-1);
  return set?.value ?? s?.values?.['poll.idle'] ?? s?.specs.find((spec) => spec.key === 'poll.idle')?.default ?? '60s';
}

/** useSilence is how long a machine may be quiet, in ms, by the settings that hold for it. */
export function useSilence(): (a: Agent) => number {
  const { data } = useQuery(queries.settings());
  return (a) => silentAfter(pollIdle(data, a));
}
