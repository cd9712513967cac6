import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { queries } from '../../api/queries';
import type { SwarmMember, SwarmRate } from '../../api/types';
import { PartBar } from '../../ui/Bar';
import { Card } from '../../ui/Card';
import { Empty } from '../../ui/Empty';
import { bytes, count, plural } from '../../ui/format';
import { Settled } from '../../ui/Settled';
import { Table } from '../../ui/Table';

/** most is how many members are drawn; the command line lists them all. */
const most = 100;

/** Members is who has what, who gave it, and under which caps. */
export function Members({ rollout }: { rollout: string }) {
  const swarm = useQuery(queries.swarm(rollout));
  return (
    <Card title="Machine by machine" flush>
      <Settled query={swarm} what="the swarm of this rollout">
        {({ members }) => ((members ?? []).length === 0
          ? <Empty title="No machine has reported on this swarm lately" command={`redflag swarm show ${rollout}`}>Accounts come with polls, and go some minutes after the last bytes.</Empty>
          : (
            <>
              <Table label="Members of the swarm" rows={(members ?? []).slice(0, most)} rowKey={(m) => `${m.id}-${m.info_hash}`} columns={columns} />
              {(members ?? []).length > most && <Text size="xs" c="dimmed" p="sm">{plural((members ?? []).length - most, 'machine')} more: redflag swarm show lists them all.</Text>}
            </>
          ))}
      </Settled>
    </Card>
  );
}

const rate = (r: SwarmRate) => <span className="rf-nowrap">{r.now === 'unlimited' ? '0' : r.now}{' of '}{r.cap}</span>;

const columns = [
  { name: 'Machine', cell: (m: SwarmMember) => (m.node ? <Link to="/nodes" className="rf-link">node {m.id}</Link> : <Link to="/agents/$id" params={{ id: m.id ?? '' }} className="rf-link">{m.id}</Link>) },
  { name: 'Region', cell: (m: SwarmMember) => m.region },
  { name: 'Has', width: '16%', cell: (m: SwarmMember) => <PartBar part={m.transfer.done} whole={m.transfer.total} label={`${bytes(m.transfer.done)} of ${bytes(m.transfer.total)}`} /> },
  { name: 'From peers', right: true, cell: (m: SwarmMember) => bytes(m.transfer.from_peers) },
  { name: 'From nodes', right: true, cell: (m: SwarmMember) => bytes(m.transfer.from_nodes) },
  { name: 'Gave', right: true, cell: (m: SwarmMember) => bytes(m.transfer.to_peers) },
  { name: 'Peers', wide: true, right: true, cell: (m: SwarmMember) => count(m.peers) },
  { name: 'Most from', wide: true, cell: (m: SwarmMember) => (m.sources ?? []).slice(0, 2).map((s) => `${s.id} ${bytes(s.bytes)}`).join(', ') },
  { name: 'Down, of its cap', wide: true, right: true, cell: (m: SwarmMember) => rate(m.download) },
  { name: 'Up, of its cap', wide: true, right: true, cell: (m: SwarmMember) => rate(m.upload) },
];
