import { Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { Command } from './Cli';

/** Empty says that there is nothing, and what to do about it. */
export function Empty({ title, children, command }: { title: string; children?: ReactNode; command?: string }) {
  return (
    <Stack gap={6} p="md" align="flex-start">
      <Text fw={600} size="sm">{title}</Text>
      {children !== undefined && <Text size="sm" c="dimmed" component="div">{children}</Text>}
      {command !== undefined && <Command>{command}</Command>}
    </Stack>
  );
}
