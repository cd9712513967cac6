import { Group, Select, SimpleGrid } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { queries } from '../api/queries';
import type { Artifact, Health, Rollout } from '../api/types';
import { swarmRoute } from '../router';
import { Card, Stat } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { Empty } from '../ui/Empty';
import { bytes, count, percent } from '../ui/format';
import { Page } from '../ui/Page';
import { rolloutName } from '../ui/RolloutTable';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';
import { Members } from './swarm/Members';
import { SwarmPicture } from './swarm/Picture';
import { Rates } from './swarm/Rates';

/** Flow is what one region of a rollout got, and from where. */
export interface Flow { region: string; agents: number; peers: number; nodes: number; other: number; wan: number; whole: boolean; origin: boolean }

export function flowsOf(r: Rollout, artifact: Artifact | undefined, health: Health[]): Flow[] {
  const fetched = (h: Health) => (artifact ? (h.wan_bytes?.[artifact.info_hash] ?? 0) : 0);
  // A region takes part with its node too: as the origin, or as one that fetched a copy for agents to come.
  const taking = health.filter((h) => fetched(h) > 0 || h.node === artifact?.origin_node).map((h) => h.region);
  return [...new Set([...(r.regions ?? []).map((g) => g.region), ...taking])].toSorted().map((region) => {
    const g = r.regions?.find((one) => one.region === region);
    const here = health.filter((h) => h.region === region);
    return {
      region, agents: Object.values(g?.counts ?? {}).reduce((a, b) => a + b, 0),
      peers: g?.transfer.from_peers ?? 0, nodes: g?.transfer.from_nodes ?? 0, other: g?.transfer.from_other_regions ?? 0,
      wan: here.reduce((sum, h) => sum + fetched(h), 0),
      whole: artifact !== undefined && here.some((h) => h.seeding?.includes(artifact.info_hash)),
      origin: here.some((h) => h.node === artifact?.origin_node),
    };
  });
}

export function Swarm() {
  const { rollout: wanted } = swarmRoute.useSearch();
  const navigate = useNavigate({ from: '/swarm' });
  const rollouts = useQuery(queries.rollouts());
  const installs = (rollouts.data ?? []).filter((r) => r.kind === 'install');
  const id = wanted ?? installs[0]?.id;
  return (
    <Page title="Swarm" name="Swarm" actions={id && <CopyCli command={`redflag swarm show ${id} --watch`} />}>
      <Settled query={rollouts} what="rollouts">
        {() => (id === undefined
          ? <Card><Empty title="Nothing has been fetched yet" command="redflag rollout create app --version 1.0.0 --to all">Who gets bytes from whom shows with the first rollout.</Empty></Card>
          : (
            <>
              <Group>
                <Select
                  data-filter label="Rollout" w={360} maw="100%" value={id} allowDeselect={false} searchable onChange={(v) => void navigate({ search: { rollout: v ?? undefined } })}
                  data={installs.map((r) => ({ value: r.id, label: `${rolloutName(r)}, ${r.state}, ${r.created_at.slice(0, 16).replace('T', ' ')}` }))}
                />
              </Group>
              <One id={id} />
            </>
          ))}
      </Settled>
    </Page>
  );
}

function One({ id }: { id: string }) {
  const rollout = useQuery(queries.rollout(id));
  const health = useQuery(queries.health());
  const artifacts = useQuery(queries.artifacts());
  return (
    <Settled query={rollout} what="this rollout">
      {(r) => {
        const artifact = (artifacts.data ?? []).find((a) => a.name === r.artifact && a.version === r.version);
        return <Flows rollout={r} artifact={artifact} flows={flowsOf(r, artifact, health.data ?? [])} />;
      }}
    </Settled>
  );
}

function Flows({ rollout: r, artifact, flows }: { rollout: Rollout; artifact: Artifact | undefined; flows: Flow[] }) {
  const t = r.transfer;
  const got = t.from_peers + t.from_nodes;
  const wan = flows.reduce((sum, f) => sum + f.wan, 0);
  return (
    <>
      <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
        <Stat label="From peers" value={percent(t.from_peers, got)} note={`${bytes(t.from_peers)} of ${bytes(got)}`} />
        <Stat label="From nodes" value={bytes(t.from_nodes)} note={artifact && `${(t.from_nodes / artifact.length).toFixed(1)} copies of ${bytes(artifact.length)}`} />
        <Stat label="Over the WAN" value={bytes(wan)} note="node to node, since the nodes started" />
        <Stat label="Agents across regions" value={<span className={t.from_other_regions > 0 ? 'rf-bad' : undefined}>{bytes(t.from_other_regions)}</span>} note={t.from_other_regions > 0 ? 'should be nothing' : 'nothing, as it should be'} />
      </SimpleGrid>
      <Card title="Who gets bytes from whom"><SwarmPicture flows={flows} /></Card>
      <Card title="Region by region" flush>
        <Table
          label="Region by region" rows={flows} rowKey={(f) => f.region}
          columns={[
            { name: 'Region', cell: (f) => <b>{f.region}</b> },
            { name: 'Its node', cell: (f) => <Status state={f.whole ? 'ok' : 'pending'} label={f.origin ? 'took the upload' : f.whole ? 'has it whole' : 'fetches it'} /> },
            { name: 'Over the WAN', right: true, cell: (f) => <span className={f.wan > 0 ? 'rf-bad' : undefined}>{bytes(f.wan)}</span> },
            { name: 'Agents', right: true, cell: (f) => count(f.agents) },
            { name: 'From the node', right: true, cell: (f) => bytes(f.nodes) },
            { name: 'From peers', right: true, cell: (f) => bytes(f.peers) },
            { name: 'Share of peers', right: true, cell: (f) => percent(f.peers, f.peers + f.nodes) },
          ]}
        />
      </Card>
      <Rates rollout={r.id} />
      <Members rollout={r.id} />
    </>
  );
}
