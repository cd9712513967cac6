import { Alert, Button, Group, Modal, Select, Stack, Text, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { OperatorInfo } from '../api/types';
import { Ago } from '../ui/Ago';
import { Card } from '../ui/Card';
import { Command } from '../ui/Cli';
import { useNow } from '../ui/clock';
import { ConfirmButton } from '../ui/Confirm';
import { isTime } from '../ui/format';
import { Target } from '../ui/Selectors';
import { ProblemNote, Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';

const may: Record<string, string> = {
  viewer: 'sees everything', operator: 'sees, rolls out, cancels, publishes', admin: 'does everything, trust and settings included',
};

function stateOf(o: OperatorInfo, now: number): string {
  if (isTime(o.revoked_at)) return 'revoked';
  return isTime(o.expires_at) && new Date(o.expires_at).getTime() < now ? 'expired' : 'active';
}

export function Operators() {
  const operators = useQuery(queries.operators());
  const now = useNow();
  return (
    <Card title="Operators" flush actions={<NewOperator />}>
      <Settled query={operators} what="operators">
        {(list) => (
          <Table
            label="Operators" rows={list ?? []} rowKey={(o) => o.id} faded={(o) => stateOf(o, now) !== 'active'}
            columns={[
              { name: 'Operator', cell: (o) => <b>{o.id}</b> },
              { name: 'State', cell: (o) => <Status state={stateOf(o, now)} /> },
              { name: 'Role', cell: (o) => o.role },
              { name: 'May', wide: true, cell: (o) => may[o.role] },
              { name: 'Scope', wide: true, cell: (o) => (o.scope ? <Target selector={o.scope} /> : <span className="rf-calm">every agent</span>) },
              { name: 'Made', wide: true, right: true, cell: (o) => <Ago at={o.created_at} /> },
              { name: 'Expires', right: true, cell: (o) => <Ago at={o.expires_at} /> },
              { name: 'Action', right: true, cell: (o) => stateOf(o, now) === 'active' && <Revoke operator={o} /> },
            ]}
          />
        )}
      </Settled>
    </Card>
  );
}

function Revoke({ operator: o }: { operator: OperatorInfo }) {
  return (
    <ConfirmButton
      needs="admin" size="compact-xs" danger title={`Revoke ${o.id}?`} action="Revoke 1 operator" cli={`redflag operator revoke ${o.id}`}
      onConfirm={() => call('DELETE', `/v1/operators/${encodeURIComponent(o.id)}`)}
      body={<Text size="sm">The token and every browser session of {o.id} end at once. What {o.id} did stays, and stays in the audit log.</Text>}
    >
      Revoke…
    </ConfirmButton>
  );
}

function NewOperator() {
  const [opened, { open, close }] = useDisclosure(false);
  const [id, setID] = useState('');
  const [role, setRole] = useState('viewer');
  const [ttl, setTTL] = useState('720h');
  const client = useQueryClient();
  const create = useMutation({
    mutationFn: () => call<{ operator: OperatorInfo; token: string }>('POST', '/v1/operators', { id, role, ttl }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['operators'] }),
  });
  return (
    <>
      <Button size="compact-xs" data-changes leftSection={<IconPlus size={13} aria-hidden />} onClick={() => { create.reset(); open(); }}>New operator</Button>
      <Modal opened={opened} onClose={close} title="New operator" size="lg">
        {create.data ? (
          <Stack gap="sm">
            <Alert color="yellow" variant="outline" title="It is shown this once"><Text size="sm">Whoever holds it is {create.data.operator.id}, a {create.data.operator.role}. Hand it over like a password.</Text></Alert>
            <Command>{create.data.token}</Command>
            <Group justify="flex-end"><Button onClick={close}>I have it</Button></Group>
          </Stack>
        ) : (
          <form onSubmit={(e) => { e.preventDefault(); create.mutate(); }}>
            <Stack gap="sm">
              <Group grow align="flex-start">
                <TextInput label="Name" required value={id} onChange={(e) => setID(e.currentTarget.value)} placeholder="maria" spellCheck={false} />
                <Select label="Role" description={may[role]} inputWrapperOrder={['label', 'input', 'description']} data={['viewer', 'operator', 'admin']} value={role} onChange={(v) => setRole(v ?? 'viewer')} allowDeselect={false} />
                <Select label="Valid for" data={[{ value: '24h', label: '1 day' }, { value: '720h', label: '30 days' }, { value: '2160h', label: '90 days' }, { value: '8760h', label: '1 year' }]} value={ttl} onChange={(v) => setTTL(v ?? '720h')} allowDeselect={false} />
              </Group>
              <Text size="xs" c="dimmed">One who may act on some agents only is made with <span className="rf-mono">redflag operator create --scope</span>.</Text>
              {create.isError && <ProblemNote error={create.error} />}
              <Group justify="flex-end" gap="xs">
                <Button variant="default" onClick={close}>Leave it</Button>
                <Button type="submit" loading={create.isPending}>Make the operator</Button>
              </Group>
            </Stack>
          </form>
        )}
      </Modal>
    </>
  );
}
