import { Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { call } from '../api/client';
import { queries } from '../api/queries';
import type { Health, Node } from '../api/types';
import { Ago } from '../ui/Ago';
import { PartBar } from '../ui/Bar';
import { Card, Facts } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { ConfirmButton } from '../ui/Confirm';
import { bytes, count, isTime, plural } from '../ui/format';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';

export function Nodes() {
  const health = useQuery(queries.health());
  const nodes = useQuery(queries.nodes());
  const furthest = Math.max(0, ...(health.data ?? []).map((h) => h.commit_index));
  return (
    <Page title="Nodes" name="Nodes" actions={<CopyCli command="redflag health" />}>
      <Settled query={health} what="the health of the cluster">
        {(list) => (
          <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }} spacing="md">
            {list.map((h) => <NodeCard key={h.node} health={h} node={nodes.data?.find((n) => n.id === h.node)} furthest={furthest} />)}
          </SimpleGrid>
        )}
      </Settled>
    </Page>
  );
}

function NodeCard({ health: h, node, furthest }: { health: Health; node: Node | undefined; furthest: number }) {
  const answers = isTime(h.started_at);
  const lag = furthest - h.applied_index;
  return (
    <Card label={h.node} title={<Group gap="sm" display="inline-flex">{h.node}<Status state={h.status} /></Group>} actions={node && !node.alive && <Remove node={node} />}>
      <Stack gap="md">
        <Facts rows={[
          ['Region', h.region],
          ['Role', node?.leader ? 'leader' : node?.voter ? 'voter' : 'reader'],
          ['Mesh address', <span key="m" className="rf-mono">{node?.mesh_addr ?? ''}</span>],
          ...(answers ? [
            ['Version', <span key="v" className="rf-mono">{h.version}</span>],
            ['Started', <Ago key="s" at={h.started_at} />],
            ['Log', `index ${count(h.applied_index)}${lag > 0 ? `, ${plural(lag, 'entry', 'entries')} behind` : ', caught up'}, term ${count(h.term)}`],
            ['Disk', <div key="d"><Text size="xs" mb={2}>{bytes(h.disk_free)} free of {bytes(h.disk_total)}</Text><PartBar part={h.disk_total - h.disk_free} whole={h.disk_total} label="Disk used" /></div>],
            ['Seeds', plural(h.seeding?.length ?? 0, 'payload')],
            ['Over the WAN', `${bytes(Object.values(h.wan_bytes ?? {}).reduce((a, b) => a + b, 0))} fetched since it started`],
          ] as [string, React.ReactNode][] : []),
        ]}
        />
        <Table
          label={`Checks of ${h.node}`} rows={h.checks} rowKey={(c) => c.name}
          columns={[
            { name: 'Check', cell: (c) => c.name },
            { name: 'Result', cell: (c) => <Status state={c.status} /> },
            { name: 'Finding', cell: (c) => <><Text size="xs" className="rf-break">{c.detail}{c.status !== 'ok' && isTime(c.since) && <>, since <Ago at={c.since} /></>}</Text>{c.advice && <Text size="xs" c="dimmed" className="rf-break">{c.advice}</Text>}</> },
          ]}
        />
      </Stack>
    </Card>
  );
}

function Remove({ node }: { node: Node }) {
  return (
    <ConfirmButton
      needs="admin"
      size="compact-xs" danger title={`Remove node ${node.id} for good?`} action="Remove 1 node" cli={`redflag nodes remove ${node.id}`}
      onConfirm={() => call('DELETE', `/v1/nodes/${encodeURIComponent(node.id)}`)}
      body={<Text size="sm">{node.id} in {node.region} does not answer. Once removed it is out of the Raft configuration and cannot come back with its old certificate. Its agents poll other nodes already.</Text>}
    >
      Remove…
    </ConfirmButton>
  );
}
