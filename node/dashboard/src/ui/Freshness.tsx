import { Alert, Text } from '@mantine/core';
import { IconCloudOff } from '@tabler/icons-react';
import { useQueryClient, type QueryCache } from '@tanstack/react-query';
import { useCallback, useSyncExternalStore } from 'react';
import { asProblem } from '../api/problem';
import { Ago } from './Ago';
import { useNow, usePaused } from './clock';
import { span } from './format';

interface Age { oldest: number; problem: string }

/** What the queries on this page know: how old the oldest answer is, and what keeps it from being newer. */
function ageOf(cache: QueryCache): string {
  const active = cache.getAll().filter((q) => q.isActive() && q.state.data !== undefined && q.meta?.still !== true);
  const failing = active.find((q) => q.state.status === 'error' || q.state.fetchFailureCount > 0);
  const oldest = active.length === 0 ? 0 : Math.min(...active.map((q) => q.state.dataUpdatedAt));
  const problem = failing ? asProblem(failing.state.error ?? failing.state.fetchFailureReason).message : '';
  return JSON.stringify({ oldest, problem } satisfies Age);
}

function useAge(): Age {
  const cache = useQueryClient().getQueryCache();
  const subscribe = useCallback((l: () => void) => cache.subscribe(l), [cache]);
  return JSON.parse(useSyncExternalStore(subscribe, () => ageOf(cache))) as Age;
}

/** Freshness says how old what the page shows is. */
export function Freshness() {
  const { oldest } = useAge();
  const now = useNow();
  const paused = usePaused();
  if (oldest === 0) return null;
  return (
    <Text size="xs" c="dimmed" className="rf-nowrap" visibleFrom="xs" data-freshness>
      {paused ? 'paused, ' : 'updated '}{now - oldest < 1000 ? 'now' : `${span(now - oldest)} ago`}
    </Text>
  );
}

/** StaleBanner warns that the page shows the past. */
export function StaleBanner() {
  const { oldest, problem } = useAge();
  const now = useNow();
  if (problem === '' || now - oldest < 12_000) return null;
  return (
    <Alert color="yellow" variant="outline" mb="md" icon={<IconCloudOff size={18} />} title="What you see is not current" role="alert">
      <Text size="sm">Last answered <Ago at={oldest} />. {problem} This page keeps trying.</Text>
    </Alert>
  );
}
