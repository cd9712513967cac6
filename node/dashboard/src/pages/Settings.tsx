import { Alert, Autocomplete, Button, Group, Stack, Tabs, Text, TextInput } from '@mantine/core';
import { IconSearch, IconStack2 } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { queries } from '../api/queries';
import type { SettingExplained, Settings as SettingsView, SettingSpec } from '../api/types';
import { useMay } from '../auth/session';
import { settingsRoute } from '../router';
import { Card } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { Empty } from '../ui/Empty';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';
import { Table } from '../ui/Table';
import { About, Field, range } from './settings/Field';
import { History } from './settings/History';
import { cluster, elsewhere, holds, reach, valuesOf } from './settings/layers';
import { Pending, type Changes } from './settings/Pending';

const titles: Record<string, string> = {
  general: 'General', poll: 'Polling', agent: 'Agents', node: 'Nodes', payload: 'Payloads', health: 'Health checks', logs: 'Logs', log: 'Logs',
  retention: 'Retention', swarm: 'Swarm', retry: 'Retry', rollout: 'Rollouts', metrics: 'Metrics', trust: 'Trust', command: 'Commands', cluster: 'Cluster',
  maintenance: 'Maintenance windows', site: 'Sites', pool: 'Server operations', enrol: 'Enrolment', history: 'History of commands', publish: 'Publishing', otlp: 'OpenTelemetry', region: 'Regions',
};

/** groupOf is a key's first word: what it is about. */
const groupOf = (key: string) => (key.includes('.') ? key.slice(0, key.indexOf('.')) : 'general');

export function Settings() {
  const { tab = 'values', layer = cluster } = settingsRoute.useSearch();
  const navigate = useNavigate({ from: '/settings' });
  return (
    <Page title="Settings" name="Settings" actions={<CopyCli command={tab === 'history' ? 'redflag settings history' : layer === cluster ? 'redflag settings' : 'redflag settings --layers'} />}>
      <Tabs value={tab} onChange={(t) => void navigate({ search: { tab: t === 'values' ? undefined : (t ?? undefined) } })} keepMounted={false}>
        <Tabs.List mb="md" aria-label="Parts of settings">
          <Tabs.Tab value="values">Values</Tabs.Tab>
          <Tabs.Tab value="history">History and undo</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="values"><Values key={layer} layer={layer} /></Tabs.Panel>
        <Tabs.Panel value="history"><History /></Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Values({ layer }: { layer: string }) {
  const { q = '' } = settingsRoute.useSearch();
  const navigate = useNavigate({ from: '/settings' });
  const settings = useQuery(queries.settings());
  const [changes, setChanges] = useState<Changes>({});
  // What the changes are changes of: if somebody else saves meanwhile, the node says so.
  const [base, setBase] = useState<number>();
  const change = (key: string, value: string | undefined) => {
    if (Object.keys(changes).length === 0) setBase(settings.data?.version);
    setChanges((all) => {
      const { [key]: _, ...rest } = all;
      return value === undefined ? rest : { ...rest, [key]: value };
    });
  };
  const explained = useExplained(layer);
  return (
    <Settled query={settings} what="settings">
      {(s) => {
        const specs = s.specs.filter((spec) => holds(spec, layer) && `${spec.key} ${spec.description}`.toLowerCase().includes(q.toLowerCase()));
        return (
          <Stack gap="md">
            <Group gap={8}>
              <TextInput
                data-filter aria-label="Find a setting" placeholder="Find a setting" style={{ flex: '1 1 14rem' }} maw={360} leftSection={<IconSearch size={14} aria-hidden />} value={q}
                onChange={(e) => { const v = e.currentTarget.value; void navigate({ search: (old) => ({ ...old, q: v || undefined }), replace: true }); }}
              />
              {s.layers && <LayerField settings={s} layer={layer} />}
            </Group>
            {layer !== cluster && (
              <Alert color="blue" variant="outline" icon={<IconStack2 size={18} />} title={`What is set for ${reach(layer)}`}>
                <Text size="sm">A narrower layer wins over a wider one: cluster, region, label, agent, node. What is not set here shows what wider layers say.</Text>
              </Alert>
            )}
            <Pending settings={s} layer={layer} changes={changes} base={base} rebase={() => setBase(undefined)} clear={() => setChanges({})} />
            {specs.length === 0 && <Card><Empty title="No setting matches" /></Card>}
            {[...new Set(specs.map((spec) => groupOf(spec.key)))].map((g) => (
              <Part key={g} title={titles[g] ?? g} settings={s} layer={layer} specs={specs.filter((spec) => groupOf(spec.key) === g)} explained={explained} changes={changes} change={change} />
            ))}
          </Stack>
        );
      }}
    </Settled>
  );
}

/** LayerField chooses whom the values are for. */
function LayerField({ settings, layer }: { settings: SettingsView; layer: string }) {
  const navigate = useNavigate({ from: '/settings' });
  const nodes = useQuery(queries.nodes());
  const known = new Set([cluster, ...(nodes.data ?? []).map((n) => `region:${n.region}`), ...(nodes.data ?? []).map((n) => `node:${n.id}`), ...(settings.layers ?? []).map((v) => v.layer)]);
  const go = (to: string) => void navigate({ search: (old) => ({ ...old, layer: to.trim() === cluster ? undefined : to.trim() || undefined }) });
  return (
    <Autocomplete
      key={layer} aria-label="Layer" placeholder="cluster, region:NAME, label:KEY=VALUE, agent:ID" w={320} leftSection={<IconStack2 size={14} aria-hidden />}
      data={[...known].toSorted()} defaultValue={layer} onOptionSubmit={go} onKeyDown={(e) => e.key === 'Enter' && go(e.currentTarget.value)}
      clearable clearButtonProps={{ 'aria-label': 'Whole cluster' }} onClear={() => go('')}
    />
  );
}

/** useExplained tells by key which layers an agent or a node has a value from; nothing for other layers. */
function useExplained(layer: string): Map<string, SettingExplained> {
  const kind = layer.slice(0, layer.indexOf(':'));
  const one = kind === 'agent' || kind === 'node';
  const list = useQuery({ ...queries.explain(kind === 'node' ? 'node' : 'agent', layer.slice(kind.length + 1)), enabled: one && !layer.includes(',') });
  return new Map((list.data ?? []).map((e) => [e.key, e]));
}

function Part({ title, settings, layer, specs, explained, changes, change }: {
  title: string; settings: SettingsView; layer: string; specs: SettingSpec[]; explained: Map<string, SettingExplained>; changes: Changes; change: (key: string, v: string | undefined) => void;
}) {
  const may = useMay('admin');
  const here = valuesOf(settings, layer);
  const wider = (spec: SettingSpec) => {
    const known = explained.get(spec.key);
    if (known === undefined) return settings.values?.[spec.key] ?? spec.default;
    return known.layers.findLast((l) => l.layer !== layer)?.value ?? spec.default;
  };
  const shown = (spec: SettingSpec) => {
    const changed = changes[spec.key];
    return changed === undefined ? (here[spec.key] ?? wider(spec)) : changed === '' ? (layer === cluster ? spec.default : wider(spec)) : changed;
  };
  return (
    <Card title={title} flush>
      <Table
        label={title} rows={specs} rowKey={(spec) => spec.key} stack
        columns={[
          { name: 'Setting', width: '46%', cell: (spec) => <About spec={spec} also={elsewhere(settings, spec.key, layer)} /> },
          { name: 'Value', width: 240, cell: (spec) => <Field spec={spec} now={here[spec.key] ?? (layer === cluster ? spec.default : undefined)} changed={changes[spec.key] !== undefined} shown={shown(spec)} change={(v) => change(spec.key, v)} disabled={!may} /> },
          { name: 'Range', wide: true, cell: (spec) => <Text size="xs" c="dimmed">{range(spec)}</Text> },
          {
            name: 'Default', right: true, cell: (spec) => (here[spec.key] === undefined || changes[spec.key] === '' || !may
              ? <Text size="xs" c="dimmed">{here[spec.key] === undefined ? 'not set here' : spec.default}</Text>
              : <Button size="compact-xs" variant="subtle" color="gray" onClick={() => change(spec.key, '')}>{layer === cluster ? `Use ${spec.default}` : 'Unset'}</Button>),
          },
        ]}
      />
    </Card>
  );
}
