import { Alert, Button, Group, Skeleton, Stack, Text } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { asProblem } from '../api/problem';
import { Command } from './Cli';
import { Correlation } from './Correlation';
import { sentence } from './format';

/** ProblemNote says what went wrong, what to do next, and what to look for in the logs. */
export function ProblemNote({ error, retry, title }: { error: unknown; retry?: () => void; title?: string }) {
  const p = asProblem(error);
  return (
    <Alert color="red" variant="outline" icon={<IconAlertCircle size={18} />} title={title ?? sentence(p.message)} role="alert">
      <Stack gap={6}>
        {title !== undefined && <Text size="sm">{sentence(p.message)}</Text>}
        {p.hint !== '' && (p.hint.startsWith('redflag ') ? <Command>{p.hint}</Command> : <Text size="sm">{sentence(p.hint)}</Text>)}
        <Group gap="sm">
          {retry && <Button variant="default" onClick={retry}>Try again</Button>}
          {p.correlation !== '' && <Correlation id={p.correlation} />}
        </Group>
      </Stack>
    </Alert>
  );
}

/** Settled draws a query's result, or honestly what there is instead of it. */
export function Settled<T>({ query, what, children }: {
  query: UseQueryResult<T>; what: string; children: (data: T) => ReactNode;
}) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.isError) {
    return <ProblemNote error={query.error} retry={() => void query.refetch()} />;
  }
  return (
    <Stack gap={8} aria-busy="true" aria-label={`Loading ${what}`} role="status" p={4}>
      {[70, 90, 55].map((w) => <Skeleton key={w} height={14} width={`${w}%`} />)}
    </Stack>
  );
}
