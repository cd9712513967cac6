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

/** settingOf is what the narrowest layer that covers a machine says. */
function settingOf(s: Settings | undefined, key: string, a: Agent): string | undefined {
  const set = (s?.layers ?? []).filter((v) => v.key === key && covers(v.layer, a)).toSorted((x, y) => rank(x.layer) - rank(y.layer)).at(-1);
  return set?.value ?? s?.values?.[key] ?? s?.specs.find((spec) => spec.key === key)?.default;
}

/** useSettingOf reads a setting as it holds for a machine. */
export function useSettingOf(): (key: string, a: Agent) => string | undefined {
  const { data } = useQuery(queries.settings());
  return (key, a) => settingOf(data, key, a);
}

/** useSilence is how long a machine may be quiet, in ms, by the settings that hold for it. */
export function useSilence(): (a: Agent) => number {
  const of = useSettingOf();
  return (a) => silentAfter(of('poll.idle', a) ?? '60s');
}
