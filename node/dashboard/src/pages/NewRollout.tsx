import { Alert, Button, Group, MultiSelect, NumberInput, SegmentedControl, Select, SimpleGrid, Stack, Switch, TagsInput, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { AgentSummary, Artifact, CreateRollout, Plan, Selector } from '../api/types';
import { useMay } from '../auth/session';
import { newRolloutRoute } from '../router';
import { Card, Facts } from '../ui/Card';
import { Command } from '../ui/Cli';
import { ConfirmButton } from '../ui/Confirm';
import { Denied } from '../ui/Denied';
import { Empty } from '../ui/Empty';
import { bytes, count, plural } from '../ui/format';
import { newRolloutID } from '../ui/ids';
import { Page } from '../ui/Page';
import { parseWaves, thresholds, waveText } from '../ui/Plan';
import { flags, parseTerms, terms } from '../ui/Selectors';
import { Settled } from '../ui/Settled';
import { Table } from '../ui/Table';

interface Draft {
  kind: string; artifact: string | null; version: string | null; everyone: boolean; regions: string[]; labels: string[]; agents: string[];
  waves: string; success: number; halt: number; dynamic: boolean;
}

function start(given: { kind?: string; artifact?: string; version?: string; select?: string }): Draft {
  const list = parseTerms(given.select ?? '');
  const of = (prefix: string) => list.filter((t) => t.startsWith(prefix)).flatMap((t) => t.slice(prefix.length).split(','));
  return {
    kind: given.kind ?? 'install', artifact: given.artifact ?? null, version: given.version ?? null,
    everyone: list.includes('all'), regions: of('region:'), labels: of('label:'), agents: of('agent:'),
    waves: '', success: 100, halt: 10, dynamic: false,
  };
}

function selectorOf(d: Draft): Selector {
  if (d.everyone) return { all: true };
  const labels = Object.fromEntries(d.labels.map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)]));
  return {
    ...(d.regions.length > 0 && { regions: d.regions }),
    ...(d.labels.length > 0 && { labels }),
    ...(d.agents.length > 0 && { agents: d.agents }),
  };
}

/** planOf is how a draft goes ahead, and undefined where it is all at once. */
function planOf(d: Draft): Plan | undefined {
  const waves = parseWaves(d.waves);
  if ((waves === undefined || waves.length === 0) && !d.dynamic) return undefined;
  return {
    ...(waves && waves.length > 0 && { waves, success_percent: d.success, max_failure_percent: d.halt }),
    ...(d.dynamic && { dynamic: true }),
  };
}

function planFlags(d: Draft): string {
  const p = planOf(d);
  return (p?.waves ? `${flags('wave', p.waves.map(waveText))} --success-threshold ${d.success} --max-failure-ratio ${d.halt}` : '') + (p?.dynamic ? ' --dynamic' : '');
}

export function NewRollout() {
  const given = newRolloutRoute.useSearch();
  const [draft, setDraft] = useState(() => start(given));
  const [id] = useState(newRolloutID);
  const navigate = useNavigate();
  const may = useMay('operator');
  const artifacts = useQuery(queries.artifacts());
  const everywhere = useQuery(queries.agentSummary([]));
  const set = (change: Partial<Draft>) => setDraft((d) => ({ ...d, ...change }));

  const selector = selectorOf(draft);
  const [chosen] = useDebouncedValue(terms(selector).join(' '), 300);
  const hit = useQuery(queries.agentSummary(parseTerms(chosen), chosen !== ''));
  const settledHit = chosen === terms(selector).join(' ') ? hit.data : undefined;

  const versions = (artifacts.data ?? []).filter((a) => a.name === draft.artifact).toSorted((a, b) => b.published_at.localeCompare(a.published_at));
  const artifact = versions.find((a) => a.version === draft.version);
  const install = draft.kind === 'install';
  const ready = draft.artifact !== null && (!install || artifact !== undefined) && (settledHit?.agents ?? 0) > 0 && parseWaves(draft.waves) !== undefined;
  const cli = `redflag rollout create ${draft.artifact ?? 'ARTIFACT'}${install ? ` --version ${draft.version ?? 'VERSION'}` : ' --rollback'}${flags('to', terms(selector))}${planFlags(draft)} --watch`;

  const plan = planOf(draft);
  const badWaves = parseWaves(draft.waves) === undefined;
  const create = async () => {
    const req: CreateRollout = { id, kind: draft.kind, artifact: draft.artifact ?? '', selector, ...(install && { version: draft.version ?? '' }), ...(plan && { plan }) };
    await call('POST', '/v1/rollouts', req);
    await navigate({ to: '/rollouts/$id', params: { id } });
  };

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
              {(plan?.waves?.length ?? 0) > 0 && (
                <Group grow align="flex-end">
                  <NumberInput label="Go on when succeeded" suffix=" %" min={1} max={100} value={draft.success} onChange={(v) => set({ success: Number(v) || 100 })} hideControls />
                  <NumberInput label="Halt when more failed" suffix=" %" min={0} max={100} value={draft.halt} onChange={(v) => set({ halt: Number(v) || 0 })} hideControls />
                </Group>
              )}
              <Switch label="Agents that match later get it too" checked={draft.dynamic} onChange={(e) => set({ dynamic: e.currentTarget.checked })} />
            </Stack>
          </Card>
        </Stack>
        <Card title="Who is hit">
          {chosen === '' ? <Text size="sm" c="dimmed">Choose at least one region, label or agent, or every agent.</Text> : (
            <Settled query={hit} what="a count of agents">
              {(s) => <Preview hit={s} artifact={install ? artifact : undefined} />}
            </Settled>
          )}
          <Stack gap="sm" mt="md">
            <Command>{cli}</Command>
            <Group justify="flex-end">
              <Button variant="subtle" color="gray" onClick={() => window.history.back()}>Leave it</Button>
              <ConfirmButton
                variant="filled" disabled={!ready} title={install ? `Install ${draft.artifact} ${draft.version}?` : `Roll ${draft.artifact} back?`}
                action={`Start on ${plural(settledHit?.agents ?? 0, 'agent')}`} onConfirm={create} cli={cli}
                body={(
                  <Text size="sm">
                    This hits <b>{plural(settledHit?.agents ?? 0, 'agent')}</b> in <b>{plural(settledHit?.regions.length ?? 0, 'region')}</b>
                    {' '}({settledHit?.regions.map((r) => r.region).join(', ')}), {plan?.waves ? `in ${plural(plan.waves.length + 1, 'wave')} at most: it ${thresholds(plan)}.` : 'each with its next poll.'}
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

/** Preview says who a selection hits and about what that costs. */
function Preview({ hit, artifact }: { hit: AgentSummary; artifact: Artifact | undefined }) {
  const health = useQuery(queries.health());
  if (hit.agents === 0) {
    return <Alert color="yellow" variant="outline" icon={<IconAlertTriangle size={18} />} title="No agent matches"><Text size="sm">Nothing would happen. Look at the terms again.</Text></Alert>;
  }
  const silent = hit.agents - hit.online;
  const have = new Set((health.data ?? []).filter((h) => artifact && h.seeding?.includes(artifact.info_hash)).map((h) => h.region));
  const fetching = hit.regions.filter((r) => !have.has(r.region));
  return (
    <Stack gap="sm">
      <Table
        label="Agents hit by region" rows={hit.regions} rowKey={(r) => r.region}
        columns={[
          { name: 'Region', cell: (r) => <b>{r.region}</b> },
          { name: 'Agents', right: true, cell: (r) => count(r.agents) },
          { name: 'Heard lately', right: true, cell: (r) => count(r.online) },
          ...(artifact ? [{ name: 'Payload there', right: true, cell: (r: { region: string }) => (have.has(r.region) ? 'yes' : 'not yet') }] : []),
        ]}
      />
      <Facts rows={[
        ['In all', <b key="a">{plural(hit.agents, 'agent')} in {plural(hit.regions.length, 'region')}</b>],
        ...(silent > 0 ? [['Silent', `${plural(silent, 'agent')} will get it when heard again`] as [string, string]] : []),
        ...(artifact ? [
          ['Over the WAN', fetching.length === 0 ? 'nothing: every region has the payload' : `about ${bytes(artifact.length * fetching.length)}, one copy for each of ${plural(fetching.length, 'region')}`] as [string, string],
          ['To machines', `about ${bytes(artifact.length * hit.agents)} inside the regions, most of it between peers`] as [string, string],
        ] : []),
      ]}
      />
    </Stack>
  );
}
