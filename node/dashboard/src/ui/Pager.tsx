import { Button, Group, Text } from '@mantine/core';
import { archive } from '../api/queries';
import { plural } from './format';

/** Pager walks a listing by its cursor; the browser's back button goes back. */
export function Pager({ shown, next, after, go }: {
  shown: number; next: string | undefined; after: string | undefined; go: (after: string | undefined) => void;
}) {
  if (after === undefined && next === undefined) return null;
  return (
    <Group justify="space-between" p={8} px={12} style={{ borderTop: '1px solid var(--rf-line)' }}>
      <Text size="xs" c="dimmed">{plural(shown, 'row')}</Text>
      <Group gap={6}>
        <Button variant="default" disabled={after === undefined} onClick={() => go(undefined)}>First</Button>
        <Button variant="default" disabled={after === undefined} onClick={() => window.history.back()}>Back</Button>
        <Button variant="default" disabled={next === undefined} onClick={() => go(next)}>{next?.startsWith(archive) ? 'Archived' : 'Next'}</Button>
      </Group>
    </Group>
  );
}
