import { Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { call } from '../../api/client';
import { queries } from '../../api/queries';
import type { SettingsRecord } from '../../api/types';
import { settingsRoute } from '../../router';
import { Ago } from '../../ui/Ago';
import { Card } from '../../ui/Card';
import { ConfirmButton } from '../../ui/Confirm';
import { Empty } from '../../ui/Empty';
import { plural } from '../../ui/format';
import { Pager } from '../../ui/Pager';
import { Settled } from '../../ui/Settled';
import { Table } from '../../ui/Table';
import { reach } from './layers';

/** History is who changed what, and the way back. */
export function History() {
  const { after } = settingsRoute.useSearch();
  const navigate = useNavigate({ from: '/settings' });
  const history = useQuery(queries.settingsHistory(after));
  return (
    <Card title="Changes" flush>
      <Settled query={history} what="the history of settings">
        {(page) => (page.items.length === 0 ? <Empty title="No setting has been changed yet" /> : (
          <>
            <Table
              label="Changes of settings" rows={page.items} rowKey={(c) => String(c.change)} faded={(c) => c.undone_by !== undefined}
              columns={[
                { name: 'Change', cell: (c) => <b>{c.change}</b> },
                { name: 'When', cell: (c) => <Ago at={c.at} /> },
                { name: 'Who', cell: (c) => c.by },
                { name: 'Layer', cell: (c) => <span className="rf-mono">{c.layer}</span> },
                { name: 'What', cell: (c) => <Edits record={c} /> },
                { name: 'Action', right: true, cell: (c) => (c.undone_by !== undefined ? <Text size="xs" c="dimmed">undone by {c.undone_by}</Text> : <Undo record={c} />) },
              ]}
            />
            <Pager shown={page.items.length} next={page.next} after={after} go={(a) => void navigate({ search: (s) => ({ ...s, after: a }) })} />
          </>
        ))}
      </Settled>
    </Card>
  );
}

function Edits({ record }: { record: SettingsRecord }) {
  return (
    <Stack gap={2}>
      {record.edits.map((e) => (
        <span key={e.key} className="rf-mono rf-break">{e.key}: <s>{e.old || 'unset'}</s> → <b>{e.new || 'unset'}</b></span>
      ))}
    </Stack>
  );
}

function Undo({ record: c }: { record: SettingsRecord }) {
  return (
    <ConfirmButton
      needs="admin" size="compact-xs" title={`Undo change ${c.change}?`} action={`Put ${plural(c.edits.length, 'setting')} back`} cli={`redflag settings undo ${c.change}`}
      onConfirm={() => call('POST', `/v1/settings/history/${c.change}/undo`)}
      body={<Stack gap="xs"><Text size="sm">What it replaced comes back, as a change of its own, on {reach(c.layer)}.</Text><Edits record={c} /></Stack>}
    >
      Undo…
    </ConfirmButton>
  );
}
