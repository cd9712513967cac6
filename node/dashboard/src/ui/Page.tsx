import { Group, Stack, Title } from '@mantine/core';
import { useEffect, type ReactNode } from 'react';

/** Page is a page's heading, its actions and its parts. */
export function Page({ title, name, actions, children }: {
  title: ReactNode; name: string; actions?: ReactNode; children: ReactNode;
}) {
  useEffect(() => {
    document.title = `${name} · RedFlag`;
  }, [name]);
  return (
    <Stack gap="md">
      <Group justify="space-between" gap="sm" align="center">
        <Title order={1} className="rf-break">{title}</Title>
        {actions !== undefined && <Group gap={8}>{actions}</Group>}
      </Group>
      {children}
    </Stack>
  );
}
