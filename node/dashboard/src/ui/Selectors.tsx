import { Badge, Group } from '@mantine/core';
import type { Selector } from '../api/types';
import { shellQuote } from './format';

/** terms renders a selector as the command line reads it. */
export function terms(s: Selector): string[] {
  const out: string[] = [];
  if (s.all) out.push('all');
  if (s.regions?.length) out.push(`region:${s.regions.join(',')}`);
  for (const [k, v] of Object.entries(s.labels ?? {}).toSorted()) out.push(`label:${k}=${v}`);
  if (s.agents?.length) out.push(`agent:${s.agents.join(',')}`);
  return out;
}

/** parseTerms reads "region:eu label:role=kiosk"; a bare word is an agent's id. */
export function parseTerms(text: string): string[] {
  return text.split(/\s+/).filter((t) => t !== '').map((t) => (t === 'all' || t.includes(':') ? t : t.includes('=') ? `label:${t}` : `agent:${t}`));
}

export const flags = (name: string, values: string[]) => values.map((v) => ` --${name} ${shellQuote(v)}`).join('');

/** Target says who a rollout is for. */
export function Target({ selector }: { selector: Selector }) {
  const list = terms(selector);
  const text = list.join(' ');
  return <span className="rf-mono rf-clip" style={{ maxWidth: '18rem' }} title={text}>{text}</span>;
}

export function Labels({ labels }: { labels: Record<string, string> | undefined }) {
  const entries = Object.entries(labels ?? {}).toSorted();
  if (entries.length === 0) return <span className="rf-calm">none</span>;
  return (
    <Group gap={4}>
      {entries.map(([k, v]) => <Badge key={k} variant="default" radius="sm" tt="none" fw={500} size="sm">{k}={v}</Badge>)}
    </Group>
  );
}
