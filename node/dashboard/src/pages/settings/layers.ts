import type { Settings, SettingSpec } from '../../api/types';
import { shellQuote } from '../../ui/format';

/** A layer is where a value is set: "cluster", "region:eu", "label:site=berlin", "agent:kiosk-17" or "node:eu1". */
export const cluster = 'cluster';

/** values is what a layer itself sets. */
export function valuesOf(s: Settings, layer: string): Record<string, string> {
  if (layer === cluster || s.layers === undefined) return s.values ?? {};
  return Object.fromEntries(s.layers.filter((v) => v.layer === layer).map((v) => [v.key, v.value]));
}

/** holds tells whether a setting can differ on a layer. */
export function holds(spec: SettingSpec, layer: string): boolean {
  const scope = spec.scope ?? 'cluster';
  if (layer === cluster) return true;
  if (layer.startsWith('region:')) return scope !== 'cluster';
  if (layer.startsWith('node:')) return scope === 'node' || scope === 'every';
  return scope === 'agent' || scope === 'every';
}

/** elsewhere lists the other layers that set a key. */
export const elsewhere = (s: Settings, key: string, layer: string) =>
  (s.layers ?? []).filter((v) => v.key === key && v.layer !== layer).map((v) => v.layer);

/** layerFlags renders a layer as the flags of redflag settings. */
export function layerFlags(layer: string): string {
  if (layer === cluster) return '';
  const kind = layer.slice(0, layer.indexOf(':'));
  return layer.slice(kind.length + 1).split(',').map((name) => ` --${kind} ${shellQuote(name)}`).join('');
}

/** reach says in words who a layer is about. */
export function reach(layer: string): string {
  const name = layer.slice(layer.indexOf(':') + 1);
  if (layer.startsWith('region:')) return `the nodes and agents of ${name}`;
  if (layer.startsWith('label:')) return `the agents with ${name}`;
  if (layer.startsWith('agent:')) return `the one agent ${name}`;
  if (layer.startsWith('node:')) return `the one node ${name}`;
  return 'every node at once, and every agent with its next poll';
}
