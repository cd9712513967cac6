import { Switch, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import type { SettingSpec } from '../../api/types';
import { PaintButton } from './Painter';

const examples: Record<string, string> = { rate: '8mbit, or unlimited', duration: '30s, 5m, 1h', bytes: '512MiB' };

/** Field edits one setting. Undefined takes a change back. */
export function Field({ spec, now, changed, shown, change, disabled }: {
  spec: SettingSpec; now: string | undefined; changed: boolean; shown: string; change: (v: string | undefined) => void; disabled: boolean;
}) {
  const [typed, setTyped] = useState<string>(); // while the field has the focus
  // Nothing is a value where the default is nothing; elsewhere the field is being typed in.
  const set = (v: string) => change(v === now || (v === '' && (now === undefined || spec.default !== '')) ? undefined : v);
  if (spec.type === 'bool') {
    return <Switch aria-label={spec.key} checked={shown === 'true'} label={shown === 'true' ? 'on' : 'off'} disabled={disabled} onChange={(e) => (changed ? change(undefined) : set(String(e.currentTarget.checked)))} />;
  }
  return (
    <>
      <TextInput
        aria-label={spec.key} value={typed ?? shown} placeholder={examples[spec.type] ?? ''} spellCheck={false} w={200} disabled={disabled}
        onChange={(e) => { setTyped(e.currentTarget.value); set(e.currentTarget.value); }} onBlur={() => setTyped(undefined)} styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
      />
      {spec.key.endsWith('.schedule') && <PaintButton name={spec.key} value={shown} disabled={disabled} take={(v) => change(v === now ? undefined : v)} />}
    </>
  );
}

/** About says what a setting is and whom it affects. */
export function About({ spec, also }: { spec: SettingSpec; also: string[] }) {
  return (
    <>
      <Text size="sm" className="rf-mono rf-break" fw={600}>{spec.key}</Text>
      <Text size="xs" c="dimmed">{spec.description}</Text>
      {also.length > 0 && <Text size="xs" c="dimmed">Also set for {also.slice(0, 3).join(', ')}{also.length > 3 ? ` and ${also.length - 3} more` : ''}</Text>}
    </>
  );
}

export function range(spec: SettingSpec): string {
  if (spec.type === 'bool') return 'on or off';
  const unit = spec.type === 'int' && spec.unit ? ` ${spec.unit}` : '';
  if (spec.min && spec.max) return `${spec.min} to ${spec.max}${unit}`;
  if (spec.min) return `${spec.min} or more${unit}`;
  return spec.max ? `up to ${spec.max}${unit}` : (spec.unit ?? spec.type);
}
