import { Alert, Button, Group, Select, Stack, Text } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call } from '../../api/client';
import { asProblem } from '../../api/problem';
import type { Settings } from '../../api/types';
import { ConfirmButton } from '../../ui/Confirm';
import { plural, shellQuote } from '../../ui/format';
import { Table } from '../../ui/Table';
import { cluster, layerFlags, reach, valuesOf } from './layers';

/** Changes by key; the empty text takes a key off its layer. */
export type Changes = Record<string, string>;

function commands(changes: Changes, layer: string, lasts: string): string {
  const set = Object.entries(changes).filter(([, v]) => v !== '').map(([k, v]) => ` ${k}=${shellQuote(v)}`).join('');
  const unset = Object.entries(changes).filter(([, v]) => v === '').map(([k]) => ` ${k}`).join('');
  const on = layerFlags(layer);
  return [set && `redflag settings set${set}${on}${lasts && ` --for ${lasts}`}`, unset && `redflag settings unset${unset}${on}`].filter(Boolean).join(' && ');
}

/** Pending shows what would change before anything does. */
export function Pending({ settings, layer, changes, base, rebase, clear }: {
  settings: Settings; layer: string; changes: Changes; base: number | undefined; rebase: () => void; clear: () => void;
}) {
  const [lasts, setLasts] = useState('');
  const client = useQueryClient();
  const keys = Object.keys(changes);
  if (keys.length === 0) return null;
  const now = valuesOf(settings, layer);
  const fallback = (key: string) => (layer === cluster ? settings.specs.find((s) => s.key === key)?.default : 'what wider layers say');
  const diff = (
    <Table
      label="Changes" rows={keys} rowKey={(k) => k}
      columns={[
        { name: 'Setting', cell: (k) => <span className="rf-mono">{k}</span> },
        { name: 'Now', cell: (k) => <s className="rf-mono">{now[k] ?? fallback(k)}</s> },
        { name: 'Then', cell: (k) => (changes[k] === '' ? <span>{fallback(k)} (not set here)</span> : <b className="rf-mono">{changes[k]}</b>) },
      ]}
    />
  );
  const save = async () => {
    try {
      await call('PATCH', '/v1/settings', {
        values: changes, ...(settings.layers && { layer, if_version: base ?? settings.version }), ...(lasts && { for: lasts }),
      });
    } catch (err) {
      if (asProblem(err).status === 412) { // what there is now is shown; who saves once more means it
        rebase();
        await client.invalidateQueries({ queryKey: ['settings'] });
      }
      throw err;
    }
    clear();
  };
  const count = plural(keys.length, 'change');
  return (
    <Alert color="blue" variant="outline" title={`${count} not saved yet`} style={{ position: 'sticky', top: 54, zIndex: 5 }}>
      <Stack gap="sm">
        {diff}
        <Group justify="flex-end" gap="xs">
          {settings.layers && (
            <Select
              aria-label="How long" w={170} value={lasts} onChange={(v) => setLasts(v ?? '')} allowDeselect={false}
              data={[{ value: '', label: 'For good' }, { value: '1h', label: 'For 1 hour' }, { value: '8h', label: 'For 8 hours' }, { value: '24h', label: 'For 1 day' }]}
            />
          )}
          <Button variant="default" onClick={clear}>Drop</Button>
          <ConfirmButton
            needs="admin" variant="filled" title={`Save ${count}?`} action={`Save ${count}`} cli={commands(changes, layer, lasts)} onConfirm={save}
            body={<Stack gap="xs"><Text size="sm">This takes hold on {reach(layer)}{lasts ? `, and goes back by itself after ${lasts}` : ''}.</Text>{diff}</Stack>}
          >
            Save…
          </ConfirmButton>
        </Group>
      </Stack>
    </Alert>
  );
}
