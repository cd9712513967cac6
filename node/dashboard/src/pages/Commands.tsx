import { Button, Group, Select, Text, TextInput } from '@mantine/core';
import { IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { queries } from '../api/queries';
import { commandsRoute } from '../router';
import { Card } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { CommandTable } from '../ui/CommandTable';
import { Empty } from '../ui/Empty';
import { count, shellQuote, words } from '../ui/format';
import { Page } from '../ui/Page';
import { Pager } from '../ui/Pager';
import { Settled } from '../ui/Settled';

/** spans are how far back a listing may reach. */
const spans = [
  { value: '1h', label: 'Last hour' }, { value: '24h', label: 'Last day' }, { value: '168h', label: 'Last 7 days' }, { value: '720h', label: 'Last 30 days' },
];

/** ago is when a span of hours began, to the minute, so that the question stays the same for as long. */
function ago(span: string | undefined): string | undefined {
  const hours = Number(/^(\d+)h$/.exec(span ?? '')?.[1]);
  return hours > 0 ? `${new Date(Date.now() - hours * 3_600_000).toISOString().slice(0, 16)}:00Z` : undefined;
}

const states = ['pending', 'leased', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'rolled_back'];

export function Commands() {
  const given = commandsRoute.useSearch();
  const { after, ...filter } = given;
  const navigate = useNavigate({ from: '/commands' });
  const commands = useQuery(queries.commands({ ...given, since: ago(given.since), limit: 50 }));
  const artifacts = useQuery(queries.artifacts());
  const set = (change: typeof filter) => void navigate({ search: (s) => ({ ...s, ...change, after: undefined }) });
  const filtered = Object.values(filter).some((v) => v !== undefined);
  const field = (key: 'agent' | 'rollout', label: string) => (
    <TextInput
      key={`${key}-${given[key] ?? ''}`} aria-label={label} placeholder={label} defaultValue={given[key] ?? ''} spellCheck={false} w={200}
      data-filter={key === 'agent' ? '' : undefined}
      onBlur={(e) => e.currentTarget.value.trim() !== (given[key] ?? '') && set({ [key]: e.currentTarget.value.trim() || undefined })}
      onKeyDown={(e) => e.key === 'Enter' && e.currentTarget.blur()}
    />
  );
  return (
    <Page
      title="Command history" name="History"
      actions={<CopyCli command={`redflag commands${Object.entries(filter).map(([k, v]) => (v === undefined ? '' : ` --${k} ${shellQuote(v)}`)).join('')}`} />}
    >
      <Group gap={8}>
        {field('agent', 'Agent id')}
        {field('rollout', 'Rollout id')}
        <Select
          aria-label="State" placeholder="Every state" clearable w={150} value={given.state ?? null} clearButtonProps={{ 'aria-label': 'Every state' }}
          data={states.map((s) => ({ value: s, label: words(s) }))} onChange={(v) => set({ state: v ?? undefined })}
        />
        <Select
          aria-label="Artifact" placeholder="Every artifact" clearable w={160} value={given.artifact ?? null} clearButtonProps={{ 'aria-label': 'Every artifact' }}
          data={[...new Set([...(artifacts.data ?? []).map((a) => a.name), ...(given.artifact ? [given.artifact] : [])])].toSorted()} onChange={(v) => set({ artifact: v ?? undefined })}
        />
        <Select
          aria-label="Created" placeholder="All time" clearable w={150} value={given.since ?? null} clearButtonProps={{ 'aria-label': 'All time' }}
          data={spans} onChange={(v) => set({ since: v ?? undefined })}
        />
        {filtered && <Button variant="subtle" color="gray" leftSection={<IconX size={14} aria-hidden />} onClick={() => void navigate({ search: {} })}>Clear</Button>}
      </Group>
      <Classes chosen={given.class} choose={(c) => set({ class: c })} />
      <Card flush label="Commands">
        <Settled query={commands} what="commands">
          {(page) => (
            <>
              {page.items.length === 0
                ? <Empty title={after !== undefined ? 'There is nothing older' : filtered ? 'No command matches this filter' : 'No command has been given yet'}>{!filtered && after === undefined && 'A rollout gives one to each of its agents.'}</Empty>
                : <CommandTable label="Commands" commands={page.items} />}
              <Pager shown={page.items.length} next={page.next} after={after} go={(a) => void navigate({ search: (s) => ({ ...s, after: a }) })} />
            </>
          )}
        </Settled>
      </Card>
    </Page>
  );
}

/** Classes counts by class what failed lately; one of them narrows the listing. */
function Classes({ chosen, choose }: { chosen: string | undefined; choose: (c: string | undefined) => void }) {
  const failures = useQuery(queries.updates('class', '720h', '1h'));
  const sums = (failures.data?.series ?? []).filter((s) => s.name !== 'none')
    .map((s) => ({ name: s.name, n: (s.points ?? []).reduce((sum, p) => sum + Object.values(p.counts).reduce((a, b) => a + b, 0), 0) }))
    .filter((s) => s.n > 0);
  if (chosen !== undefined && !sums.some((s) => s.name === chosen)) sums.push({ name: chosen, n: 0 });
  if (sums.length === 0) return null;
  return (
    <Group gap={6} role="group" aria-label="Failures by class">
      <Text size="xs" c="dimmed">Failures of 30 days:</Text>
      {sums.toSorted((a, b) => b.n - a.n).map((s) => (
        <Button
          key={s.name} size="compact-xs" variant={s.name === chosen ? 'filled' : 'default'} aria-pressed={s.name === chosen}
          onClick={() => choose(s.name === chosen ? undefined : s.name)}
        >
          {words(s.name)} {count(s.n)}
        </Button>
      ))}
    </Group>
  );
}
