import { Alert, Button, Group, MultiSelect, NumberInput, SegmentedControl, Select, SimpleGrid, Stack, Switch, TagsInput, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { AgentSummary, Artifact, CreateRollout, Plan, Selector } from '../api/types';
import { useMay, useOperator } from '../auth/session';
import { newRolloutRoute } from '../router';
import { Ago } from '../ui/Ago';
import { Card, Facts } from '../ui/Card';
import { Command } from '../ui/Cli';
import { useNow } from '../ui/clock';
import { ConfirmButton } from '../ui/Confirm';
import { Denied } from '../ui/Denied';
import { Empty } from '../ui/Empty';
import { bytes, count, plural } from '../ui/format';
import { newRolloutID } from '../ui/ids';
import { Page } from '../ui/Page';
import { parseWaves, thresholds, waveRows, waveText } from '../ui/Plan';
import { flags, parseTerms, terms } from '../ui/Selectors';
import { Settled } from '../ui/Settled';
import { Table } from '../ui/Table';
import { maxWindows, opens, parseWindow, windowText } from '../ui/window';

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

interface Draft {
  kind: string; artifact: string | null; version: string | null; everyone: boolean; regions: string[]; labels: string[]; agents: string[];
  waves: string; order: string[]; windows: string[]; success: number; halt: number | ''; dynamic: boolean;
}

function start(given: { kind?: string; artifact?: string; version?: string; select?: string }): Draft {
  const list = parseTerms(given.select ?? '');
  const of = (prefix: string) => list.filter((t) => t.startsWith(prefix)).flatMap((t) => t.slice(prefix.length).split(','));
  return {
    kind: given.kind === 'rollback' ? 'rollback' : 'install', artifact: given.artifact ?? null, version: given.version ?? null,
    everyone: list.includes('all'), regions: of('region:'), labels: of('label:'), agents: of('agent:'),
    waves: '', order: [], windows: [], success: 100, halt: 10, dynamic: false,
  };
}

/** selectorOf is who is meant; everybody is who an operator with a scope may act on. */
function selectorOf(d: Draft, scope: Selector | undefined): Selector {
  if (d.everyone) return scope ?? { all: true };
  if (d.regions.length + d.labels.length + d.agents.length === 0) return {};
  const within = {
    regions: d.regions.length > 0 ? d.regions : scope?.regions ?? [],
    labels: { ...Object.fromEntries(d.labels.map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)])), ...scope?.labels },
    agents: d.agents.length > 0 ? d.agents : scope?.agents ?? [],
  };
  return {
    ...(within.regions.length > 0 && { regions: within.regions }),
    ...(Object.keys(within.labels).length > 0 && { labels: within.labels }),
    ...(within.agents.length > 0 && { agents: within.agents }),
  };
}

/** planOf is how a draft goes ahead. */
function planOf(d: Draft): Plan {
  const waves = parseWaves(d.waves) ?? [];
  const windows = d.windows.map(parseWindow).filter((w) => w !== undefined);
  return {
    ...(waves.length > 0 && { waves }),
    ...(d.order.length > 0 && { region_order: d.order }),
    ...(waves.length + d.order.length > 0 && { success_percent: d.success, max_failure_percent: Number(d.halt) }),
    ...(windows.length > 0 && { windows }),
    ...(d.dynamic && { dynamic: true }),
  };
}

const inWaves = (p: Plan) => (p.waves ?? p.region_order) !== undefined;

function planFlags(p: Plan): string {
  return [
    flags('wave', (p.waves ?? []).map(waveText)),
    flags('region-order', p.region_order ? [p.region_order.join(',')] : []),
    inWaves(p) ? ` --success-threshold ${p.success_percent} --max-failure-ratio ${p.max_failure_percent}` : '',
    flags('window', (p.windows ?? []).map(windowText)),
    p.dynamic ? ' --dynamic' : '',
  ].join('');
}

/** badWindows says what is wrong with windows as they are written. */
function badWindows(windows: string[]): string | undefined {
  const bad = windows.find((w) => parseWindow(w) === undefined);
  if (bad !== undefined) return `“${bad}” is no window: write days, times and a zone, such as mon-fri 22:00-04:00 Europe/Berlin`;
  return windows.length > maxWindows ? `${maxWindows} windows are the most` : undefined;
}

export function NewRollout() {
  const given = newRolloutRoute.useSearch();
  const [draft, setDraft] = useState(() => start(given));
  const [id] = useState(newRolloutID);
  const navigate = useNavigate();
  const may = useMay('operator', true);
  const scope = useOperator()?.scope;
  const artifacts = useQuery(queries.artifacts());
  const everywhere = useQuery(queries.agentSummary([]));
  const set = (change: Partial<Draft>) => setDraft((d) => ({ ...d, ...change }));

  const selector = selectorOf(draft, scope);
  const [chosen] = useDebouncedValue(terms(selector).join(' '), 300);
  const hit = useQuery(queries.agentSummary(parseTerms(chosen), chosen !== ''));
  const settledHit = chosen === terms(selector).join(' ') && !hit.isPlaceholderData ? hit.data : undefined;

  const versions = (artifacts.data ?? []).filter((a) => a.name === draft.artifact).toSorted((a, b) => b.published_at.localeCompare(a.published_at));
  const artifact = versions.find((a) => a.version === draft.version);
  const install = draft.kind === 'install';
  const plan = planOf(draft);
  const badWaves = parseWaves(draft.waves) === undefined;
  const badWindow = badWindows(draft.windows);
  const ready = draft.artifact !== null && (!install || artifact !== undefined) && (settledHit?.agents ?? 0) > 0 && !badWaves && badWindow === undefined && !(inWaves(plan) && draft.halt === '');
  const cli = `redflag rollout create ${draft.artifact ?? 'ARTIFACT'}${install ? ` --version ${draft.version ?? 'VERSION'}` : ' --rollback'}${flags('to', terms(selector))}${planFlags(plan)} --watch`;

  const create = async () => {
    const req: CreateRollout = { id, kind: draft.kind, artifact: draft.artifact ?? '', selector, ...(install && { version: draft.version ?? '' }), plan };
    await call('POST', '/v1/rollouts', req);
    await navigate({ to: '/rollouts/$id', params: { id } });
  };

  const waves = waveRows(plan, settledHit?.agents ?? 0, inRegion(settledHit)).length;
  if (!may) return <Denied what="New rollout" needs="operator" />;
  return (
    <Page title="New rollout" name="New rollout">
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Stack gap="md">
          <Card title="What">
            <Settled query={artifacts} what="artifacts">
              {(list) => ((list ?? []).length === 0
                ? <Empty title="Nothing has been published yet" command="redflag publish ./app.bin --name app --version 1.0.0">Payloads are signed on your machine, never here:</Empty>
                : (
                  <Stack gap="sm">
                    <SegmentedControl
                      aria-label="Kind" value={draft.kind} onChange={(kind) => set({ kind })}
                      data={[{ value: 'install', label: 'Install a version' }, { value: 'rollback', label: 'Go back to the one before' }]}
                    />
                    <Select
                      label="Artifact" data={[...new Set((list ?? []).map((a) => a.name))]} value={draft.artifact} searchable
                      onChange={(name) => set({ artifact: name, version: null })} placeholder="Choose one"
                    />
                    {install && (
                      <Select
                        label="Version" data={versions.map((a) => a.version)} value={draft.version} disabled={draft.artifact === null} searchable
                        onChange={(version) => set({ version })} placeholder="Choose one" description={artifact && `${bytes(artifact.length)}, published through ${artifact.origin_node}`}
                      />
                    )}
                  </Stack>
                ))}
            </Settled>
          </Card>
          <Card title="Where">
            <Stack gap="sm">
              <SegmentedControl
                aria-label="Which agents" value={draft.everyone ? 'all' : 'some'} onChange={(v) => set({ everyone: v === 'all' })}
                data={[{ value: 'some', label: 'Some agents' }, { value: 'all', label: 'Every agent' }]}
              />
              {!draft.everyone && (
                <>
                  <MultiSelect
                    label="Regions" placeholder={draft.regions.length > 0 ? '' : 'Any'} data={everywhere.data?.regions.map((r) => r.region) ?? draft.regions}
                    value={draft.regions} onChange={(regions) => set({ regions })} searchable clearable clearButtonProps={{ 'aria-label': 'Clear regions' }}
                  />
                  <TagsInput
                    label="Labels" description="KEY=VALUE, all of which must match" placeholder={draft.labels.length > 0 ? '' : 'role=kiosk'} value={draft.labels}
                    onChange={(labels) => set({ labels: labels.filter((l) => l.indexOf('=') > 0) })} splitChars={[',', ' ']} clearable clearButtonProps={{ 'aria-label': 'Clear labels' }}
                  />
                  <TagsInput
                    label="Agents" description="Whole ids" placeholder={draft.agents.length > 0 ? '' : 'kiosk-17'} value={draft.agents}
                    onChange={(agents) => set({ agents })} splitChars={[',', ' ']} clearable clearButtonProps={{ 'aria-label': 'Clear agents' }}
                  />
                </>
              )}
            </Stack>
          </Card>
          <Card title="How">
            <Stack gap="sm">
              <TextInput
                label="Waves" description="How many agents have been released, in all, once each wave is open. Empty: everybody at once." placeholder="1, 10%, 50%"
                value={draft.waves} onChange={(e) => set({ waves: e.currentTarget.value })} error={badWaves && 'Write numbers of agents or shares, such as 1, 10%, 50%'}
              />
              <MultiSelect
                label="Order of regions" description="These come first, in this order. Without waves, each is a wave." placeholder={draft.order.length > 0 ? '' : 'As it comes'}
                data={(settledHit ?? everywhere.data)?.regions.map((r) => r.region) ?? draft.order} value={draft.order} onChange={(order) => set({ order })}
                searchable clearable clearButtonProps={{ 'aria-label': 'Clear the order' }} comboboxProps={{ keepMounted: false }}
              />
              <TagsInput
                label="Maintenance windows" description="When agents may be worked on, beside what settings say of each. Empty: at any time." placeholder={draft.windows.length > 0 ? '' : `mon-fri 22:00-04:00 ${zone}`}
                data={[`mon-fri 22:00-04:00 ${zone}`, `sat,sun 00:00-24:00 ${zone}`, `daily 01:00-05:00 ${zone}`]} value={draft.windows} error={badWindow}
                onChange={(windows) => set({ windows })} splitChars={[';']} clearable clearButtonProps={{ 'aria-label': 'Clear windows' }} comboboxProps={{ keepMounted: false }}
              />
              {inWaves(plan) && (
                <Group grow align="flex-end">
                  <NumberInput label="Go on when succeeded" suffix=" %" min={1} max={100} value={draft.success} onChange={(v) => set({ success: Number(v) || 100 })} hideControls />
                  <NumberInput label="Halt when more failed" description="0: never" suffix=" %" min={0} max={100} value={draft.halt} onChange={(v) => set({ halt: v === '' ? '' : Number(v) })} error={draft.halt === '' && 'A number'} hideControls />
                </Group>
              )}
              <Switch label="Agents that match later get it too" checked={draft.dynamic} onChange={(e) => set({ dynamic: e.currentTarget.checked })} />
            </Stack>
          </Card>
        </Stack>
        <Card title="Who is hit">
          {chosen === '' ? <Text size="sm" c="dimmed">Choose at least one region, label or agent, or every agent.</Text> : (
            <Settled query={hit} what="a count of agents">
              {(s) => <Preview hit={s} artifact={install ? artifact : undefined} plan={plan} />}
            </Settled>
          )}
          <Stack gap="sm" mt="md">
            <Command>{cli}</Command>
            <Group justify="flex-end">
              <Button variant="subtle" color="gray" onClick={() => window.history.back()}>Leave it</Button>
              <ConfirmButton
                bounded variant="filled" disabled={!ready} title={install ? `Install ${draft.artifact} ${draft.version}?` : `Roll ${draft.artifact} back?`}
                action={`Start on ${plural(settledHit?.agents ?? 0, 'agent')}`} onConfirm={create} cli={cli}
                body={(
                  <Text size="sm">
                    This hits <b>{plural(settledHit?.agents ?? 0, 'agent')}</b> in <b>{plural(settledHit?.regions.length ?? 0, 'region')}</b>
                    {' '}({settledHit?.regions.map((r) => r.region).join(', ')}), {waves > 1 ? `in ${plural(waves, 'wave')}: it ${thresholds(plan)}.` : 'each with its next poll.'}
                    {plan.windows && ` Only within ${plan.windows.map(windowText).join(' or ')}.`}
                  </Text>
                )}
              >
                Create…
              </ConfirmButton>
            </Group>
          </Stack>
        </Card>
      </SimpleGrid>
    </Page>
  );
}

const inRegion = (hit: AgentSummary | undefined) => (region: string) => hit?.regions.find((r) => r.region === region)?.agents ?? 0;

/** Preview says who a selection hits, when, and about what that costs. */
function Preview({ hit, artifact, plan }: { hit: AgentSummary; artifact: Artifact | undefined; plan: Plan }) {
  const health = useQuery(queries.health());
  if (hit.agents === 0) {
    return <Alert color="yellow" variant="outline" icon={<IconAlertTriangle size={18} />} title="No agent matches"><Text size="sm">Nothing would happen. Look at the terms again.</Text></Alert>;
  }
  const silent = hit.agents - hit.online;
  const have = new Set((health.data ?? []).filter((h) => artifact && h.seeding?.includes(artifact.info_hash)).map((h) => h.region));
  const fetching = hit.regions.filter((r) => !have.has(r.region));
  const order = (region: string) => (plan.region_order?.indexOf(region) ?? -1) >>> 0; // those not named come last
  const waves = waveRows(plan, hit.agents, inRegion(hit));
  return (
    <Stack gap="sm">
      <Table
        label="Agents hit by region" rows={hit.regions.toSorted((a, b) => order(a.region) - order(b.region))} rowKey={(r) => r.region}
        columns={[
          { name: 'Region', cell: (r) => <b>{r.region}</b> },
          { name: 'Agents', right: true, cell: (r) => count(r.agents) },
          { name: 'Heard lately', right: true, cell: (r) => count(r.online) },
          ...(artifact ? [{ name: 'Over the WAN', right: true, cell: (r: { region: string }) => (have.has(r.region) ? <span className="rf-calm">has it</span> : bytes(artifact.length)) }] : []),
        ]}
      />
      {waves.length > 1 && (
        <Table
          label="Waves" rows={waves} rowKey={(w) => String(w.n)}
          columns={[
            { name: 'Wave', cell: (w) => <b>{w.n}</b> },
            { name: 'Reaches', cell: (w) => w.text },
            { name: 'Agents', right: true, cell: (w) => count(w.agents) },
            { name: 'In all', right: true, cell: (w) => count(w.upTo) },
          ]}
        />
      )}
      <Facts rows={[
        ['In all', <b key="a">{plural(hit.agents, 'agent')} in {plural(hit.regions.length, 'region')}</b>],
        ...(silent > 0 ? [['Silent', `${plural(silent, 'agent')} will get it when heard again`] as [string, string]] : []),
        ['When', <When key="w" plan={plan} />],
        ...(artifact ? [
          ['Over the WAN', fetching.length === 0 ? 'nothing: every region has the payload' : `about ${bytes(artifact.length * fetching.length)}, one copy for each of ${plural(fetching.length, 'region')}`] as [string, string],
          ['To machines', `about ${bytes(artifact.length * hit.agents)} inside the regions, most of it between peers${(artifact.deltas ?? []).length > 0 ? ', less where a delta fits' : ''}`] as [string, string],
        ] : []),
      ]}
      />
    </Stack>
  );
}

/** When says how the windows of a rollout, and those that settings give machines, stand. */
function When({ plan }: { plan: Plan }) {
  const now = useNow();
  const settings = useQuery(queries.settings()).data;
  const windows = plan.windows ?? [];
  const next = opens(windows, now);
  const own = (settings?.layers ?? []).filter((v) => v.key === 'maintenance.windows' && v.value !== '');
  return (
    <>
      {windows.length === 0 ? 'at any time' : <>within {windows.map(windowText).join(' or ')}: {next !== undefined && (next <= now ? 'open now' : <>opens <Ago at={next} /></>)}</>}
      {own.length > 0 && `; settings further give ${own.map((v) => `${v.layer} ${v.value}`).join(', and ')}`}
    </>
  );
}
