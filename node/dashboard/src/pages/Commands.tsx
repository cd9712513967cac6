import { Button, Group, Select, TextInput } from '@mantine/core';
import { IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { queries } from '../api/queries';
import { commandsRoute } from '../router';
import { Card } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { CommandTable } from '../ui/CommandTable';
import { Empty } from '../ui/Empty';
import { shellQuote, words } from '../ui/format';
import { Page } from '../ui/Page';
import { Pager } from '../ui/Pager';
import { Settled } from '../ui/Settled';

const states = ['pending', 'leased', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'rolled_back'];

export function Commands() {
  const given = commandsRoute.useSearch();
  const { after, ...filter } = given;
  const navigate = useNavigate({ from: '/commands' });
  const commands = useQuery(queries.commands({ ...given, limit: 50 }));
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
        {filtered && <Button variant="subtle" color="gray" leftSection={<IconX size={14} aria-hidden />} onClick={() => void navigate({ search: {} })}>Clear</Button>}
      </Group>
      <Card flush label="Commands">
        <Settled query={commands} what="commands">
          {(page) => (page.items.length === 0
            ? <Empty title={filtered ? 'No command matches this filter' : 'No command has been given yet'}>{!filtered && 'A rollout gives one to each of its agents.'}</Empty>
            : (
              <>
                <CommandTable label="Commands" commands={page.items} />
                <Pager shown={page.items.length} next={page.next} after={after} go={(a) => void navigate({ search: (s) => ({ ...s, after: a }) })} />
              </>
            ))}
        </Settled>
      </Card>
    </Page>
  );
}
