import { Alert, Button, Group, Modal, NumberInput, Select, Stack, TagsInput, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { CreatedToken, Token } from '../api/types';
import { Ago } from '../ui/Ago';
import { Card } from '../ui/Card';
import { Command } from '../ui/Cli';
import { useNow } from '../ui/clock';
import { ConfirmButton } from '../ui/Confirm';
import { Empty } from '../ui/Empty';
import { count } from '../ui/format';
import { Labels } from '../ui/Selectors';
import { ProblemNote, Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';

function stateOf(t: Token, now: number): string {
  if (t.revoked) return 'revoked';
  if (new Date(t.expires_at).getTime() < now) return 'expired';
  return t.used >= t.seats ? 'used_up' : 'active';
}

export function Tokens() {
  const tokens = useQuery(queries.tokens());
  const now = useNow();
  return (
    <Card title="Enrolment tokens" flush actions={<NewToken />}>
      <Settled query={tokens} what="enrolment tokens">
        {(list) => ((list ?? []).length === 0
          ? <Empty title="There is no token" command="redflag token create --seats 10 --ttl 72h">A machine or a node enrols once, with a token.</Empty>
          : (
            <Table
              label="Enrolment tokens" rows={(list ?? []).toSorted((a, b) => b.created_at.localeCompare(a.created_at))} rowKey={(t) => t.id}
              faded={(t) => stateOf(t, now) !== 'active'}
              columns={[
                { name: 'Token', cell: (t) => <span className="rf-mono">{t.id}</span> },
                { name: 'State', cell: (t) => <Status state={stateOf(t, now)} /> },
                { name: 'Admits', cell: (t) => (t.kind === 'agent' ? 'agents' : 'nodes') },
                { name: 'Seats', right: true, cell: (t) => `${count(t.used)} of ${count(t.seats)}` },
                { name: 'Labels', wide: true, cell: (t) => <Labels labels={t.labels} /> },
                { name: 'Made', wide: true, right: true, cell: (t) => <Ago at={t.created_at} /> },
                { name: 'Expires', right: true, cell: (t) => <Ago at={t.expires_at} /> },
                { name: 'Action', right: true, cell: (t) => stateOf(t, now) === 'active' && <Revoke token={t} /> },
              ]}
            />
          ))}
      </Settled>
    </Card>
  );
}

function Revoke({ token: t }: { token: Token }) {
  return (
    <ConfirmButton
      needs="admin"
      size="compact-xs" danger title={`Revoke token ${t.id}?`} action="Revoke 1 token" cli={`redflag token revoke ${t.id}`}
      onConfirm={() => call('DELETE', `/v1/tokens/${encodeURIComponent(t.id)}`)}
      body={<Text size="sm">Its {count(t.seats - t.used)} free seats are gone. The {count(t.used)} that enrolled with it stay enrolled.</Text>}
    >
      Revoke…
    </ConfirmButton>
  );
}

/** decode reads the base64 of a JSON byte string. */
const decode = (b64: string) => Uint8Array.from(atob(b64), (c) => c.codePointAt(0) ?? 0);

/** encodeToken writes a registration token as redflag agent reads it. */
function encodeToken(c: CreatedToken): string {
  const authority = c.authority.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const root = c.root_hash ? Array.from(decode(c.root_hash), (b) => b.toString(16).padStart(2, '0')).join('') : '';
  return `rf1.${[c.token.id, c.secret, authority, root].join('.')}`;
}

function NewToken() {
  const [opened, { open, close }] = useDisclosure(false);
  const [kind, setKind] = useState('agent');
  const [seats, setSeats] = useState<number | string>(10);
  const [ttl, setTTL] = useState('72h');
  const [labels, setLabels] = useState<string[]>([]);
  const [key, setKey] = useState('');
  const client = useQueryClient();
  const create = useMutation({
    mutationFn: () => call<CreatedToken>('POST', '/v1/tokens', {
      kind, seats: Number(seats), ttl, ...(labels.length > 0 && { labels: Object.fromEntries(labels.map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)])) }),
    }, undefined, key),
    onSuccess: () => client.invalidateQueries({ queryKey: ['tokens'] }),
  });
  return (
    <>
      <Button size="compact-xs" data-changes leftSection={<IconPlus size={13} aria-hidden />} onClick={() => { create.reset(); setKey(crypto.randomUUID()); open(); }}>New token</Button>
      <Modal opened={opened} onClose={close} title="New enrolment token" size="lg">
        {create.data ? (
          <Stack gap="sm">
            <Alert color="yellow" variant="outline" title="It is shown this once"><Text size="sm">Whoever holds it can enrol {count(Number(seats))} {kind === 'agent' ? 'agents' : 'nodes'}. Hand it over like a password.</Text></Alert>
            <Command>{encodeToken(create.data)}</Command>
            <Text size="sm" c="dimmed">It pins this cluster&apos;s authority and signing root as this node tells them. <span className="rf-mono">redflag token create</span> pins the root of your own keys instead.</Text>
            <Group justify="flex-end"><Button onClick={close}>I have it</Button></Group>
          </Stack>
        ) : (
          <form onSubmit={(e) => { e.preventDefault(); create.mutate(); }}>
            <Stack gap="sm">
              <Group grow>
                <Select label="Admits" data={[{ value: 'agent', label: 'agents' }, { value: 'node', label: 'nodes' }]} value={kind} onChange={(v) => setKind(v ?? 'agent')} allowDeselect={false} />
                <NumberInput label="Seats" min={1} max={100_000} value={seats} onChange={setSeats} hideControls />
                <Select label="Valid for" data={[{ value: '1h', label: '1 hour' }, { value: '24h', label: '1 day' }, { value: '72h', label: '3 days' }, { value: '720h', label: '30 days' }]} value={ttl} onChange={(v) => setTTL(v ?? '72h')} allowDeselect={false} />
              </Group>
              {kind === 'agent' && <TagsInput label="Labels" description="KEY=VALUE: what enrols with it gets them" value={labels} onChange={(l) => setLabels(l.filter((one) => one.indexOf('=') > 0))} splitChars={[',', ' ']} />}
              {create.isError && <ProblemNote error={create.error} />}
              <Group justify="flex-end" gap="xs">
                <Button variant="default" onClick={close}>Leave it</Button>
                <Button type="submit" loading={create.isPending}>Make the token</Button>
              </Group>
            </Stack>
          </form>
        )}
      </Modal>
    </>
  );
}
