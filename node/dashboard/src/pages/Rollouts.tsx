import { Button, Group, Select, Text } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { queries } from '../api/queries';
import { useMay } from '../auth/session';
import { rolloutsRoute } from '../router';
import { Card } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { Empty } from '../ui/Empty';
import { plural, words } from '../ui/format';
import { Page } from '../ui/Page';
import { failures, RolloutTable } from '../ui/RolloutTable';
import { Settled } from '../ui/Settled';

const unique = (values: (string | undefined)[]) => [...new Set(values.filter((v) => v !== undefined))].toSorted();

export function Rollouts() {
  const { state, artifact } = rolloutsRoute.useSearch();
  const navigate = useNavigate({ from: '/rollouts' });
  const rollouts = useQuery(queries.rollouts());
  const may = useMay('operator', true);
  const all = rollouts.data ?? [];
  const shown = all.filter((r) => (artifact === undefined || r.artifact === artifact)
    && (state === undefined || r.state === state || (state === 'with failures' && failures(r) > 0)));
  return (
    <Page
      title="Rollouts" name="Rollouts"
      actions={(
        <>
          <CopyCli command="redflag rollout list" />
          {may && <Button component={Link} to="/rollouts/new" data-changes leftSection={<IconPlus size={14} aria-hidden />}>New rollout</Button>}
        </>
      )}
    >
      <Group gap={8}>
        <Select
          data-filter aria-label="State" placeholder="Every state" clearable w={160} value={state ?? null} clearButtonProps={{ 'aria-label': 'Every state' }}
          data={[...unique(all.map((r) => r.state)).map((s) => ({ value: s, label: words(s) })), { value: 'with failures', label: 'with failures' }]}
          onChange={(v) => void navigate({ search: (s) => ({ ...s, state: v ?? undefined }) })}
        />
        <Select
          aria-label="Artifact" placeholder="Every artifact" clearable w={180} value={artifact ?? null} clearButtonProps={{ 'aria-label': 'Every artifact' }}
          data={unique(all.map((r) => r.artifact))}
          onChange={(v) => void navigate({ search: (s) => ({ ...s, artifact: v ?? undefined }) })}
        />
        {rollouts.data !== undefined && <Text size="sm" c="dimmed" ml="auto">{plural(shown.length, 'rollout')}</Text>}
      </Group>
      <Card flush label="Rollouts">
        <Settled query={rollouts} what="rollouts">
          {() => (shown.length > 0 ? <RolloutTable label="Rollouts" rollouts={shown} />
            : all.length > 0 ? <Empty title="No rollout matches this filter" />
              : <Empty title="There has been no rollout yet" command="redflag rollout create app --version 1.0.0 --to all --watch">Publish a version, then roll it out, here or with:</Empty>)}
        </Settled>
      </Card>
    </Page>
  );
}
