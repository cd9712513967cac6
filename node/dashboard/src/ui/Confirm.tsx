import { Button, Group, Modal, Stack, type ButtonProps } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { useMay, type Role } from '../auth/session';
import { Command } from './Cli';
import { newRolloutID } from './ids';
import { ProblemNote } from './Settled';

/**
 * ConfirmButton does something only after it was said what that hits. The
 * question stays open while the answer is on its way, and says so if it fails.
 * Who may not do it does not see it. What onConfirm makes gets the id that it is
 * given: it stays the same as long as the question is open, so that pressing again
 * after a lost answer makes nothing twice.
 */
export function ConfirmButton({ children, title, body, action, onConfirm, cli, danger = false, needs = 'operator', bounded = false, ...button }: {
  children: ReactNode; title: string; body: ReactNode; action: string; cli?: string; danger?: boolean; needs?: Role; bounded?: boolean;
  onConfirm: (id: string) => Promise<unknown>;
} & Omit<ButtonProps, 'children'>) {
  const [opened, { open, close }] = useDisclosure(false);
  const client = useQueryClient();
  const may = useMay(needs, bounded);
  const [id, setID] = useState('');
  const run = useMutation({
    mutationFn: () => onConfirm(id),
    onSuccess: () => {
      close();
      return client.invalidateQueries();
    },
  });
  if (!may) return null;
  return (
    <>
      <Button variant="default" {...button} data-changes onClick={() => { run.reset(); setID(newRolloutID()); open(); }}>{children}</Button>
      <Modal opened={opened} onClose={close} title={title} size="lg">
        <Stack gap="sm">
          <div>{body}</div>
          {cli !== undefined && <Command>{cli}</Command>}
          {run.isError && <ProblemNote error={run.error} />}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close} data-autofocus>Leave it</Button>
            <Button color={danger ? 'red' : undefined} loading={run.isPending} onClick={() => run.mutate()}>{action}</Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}
