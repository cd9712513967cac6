import { Stack, Tabs } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { queries } from '../api/queries';
import type { TrustStatus, TufMetadata, TufRoot } from '../api/types';
import { useMay } from '../auth/session';
import { trustRoute } from '../router';
import { Ago } from '../ui/Ago';
import { Card, Facts } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { useNow } from '../ui/clock';
import { Denied } from '../ui/Denied';
import { Empty } from '../ui/Empty';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';
import { Status } from '../ui/Status';
import { Table } from '../ui/Table';
import { Operators } from './Operators';
import { Tokens } from './Tokens';

export function Trust() {
  const { tab = 'keys' } = trustRoute.useSearch();
  const navigate = useNavigate({ from: '/trust' });
  const may = useMay('admin');
  if (!may) return <Denied what="Trust" needs="admin" />;
  return (
    <Page title="Trust" name="Trust" actions={<CopyCli command={{ tokens: 'redflag token list', operators: 'redflag operator list', ca: 'redflag ca status' }[tab] ?? 'redflag keys status'} />}>
      <Tabs value={tab} onChange={(t) => void navigate({ search: { tab: t ?? undefined } })} keepMounted={false}>
        <Tabs.List mb="md" aria-label="Parts of trust">
          <Tabs.Tab value="keys">Roles and keys</Tabs.Tab>
          <Tabs.Tab value="tokens">Enrolment tokens</Tabs.Tab>
          <Tabs.Tab value="operators">Operators</Tabs.Tab>
          <Tabs.Tab value="ca">Certificates</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="keys"><Keys /></Tabs.Panel>
        <Tabs.Panel value="tokens"><Tokens /></Tabs.Panel>
        <Tabs.Panel value="operators"><Operators /></Tabs.Panel>
        <Tabs.Panel value="ca"><CA /></Tabs.Panel>
      </Tabs>
    </Page>
  );
}

const roles = ['root', 'targets', 'snapshot', 'timestamp'] as const;
const about: Record<string, string> = {
  root: 'offline: names the keys of all roles', targets: 'offline: names what may be installed',
  snapshot: 'online: which targets belong together', timestamp: 'online: what is newest',
};

function Keys() {
  const trust = useQuery(queries.trust());
  return (
    <Settled query={trust} what="the trust repository">
      {(t) => (t.versions?.root === undefined
        ? <Card><Empty title="The cluster has no signing root yet" command="redflag keys init">Nothing can be published before your keys exist. They are made on your machine, and stay there.</Empty></Card>
        : <Repository trust={t} root={t.versions.root} />)}
    </Settled>
  );
}

function Repository({ trust, root }: { trust: TrustStatus; root: number }) {
  const metadata = useQuery(queries.tufRoot(root));
  const v = trust.versions ?? {};
  const files = {
    root: useQuery(queries.tuf(`${root}.root.json`)).data,
    targets: useQuery(queries.tuf(`${v.targets ?? 0}.targets.json`)).data,
    snapshot: useQuery(queries.tuf(`${v.snapshot ?? 0}.snapshot.json`)).data,
    timestamp: useQuery(queries.tuf('timestamp.json')).data,
  };
  return (
    <Settled query={metadata} what="the root metadata">
      {(r: TufRoot) => (
        <Stack gap="md">
          <Card title="Roles" flush>
            <Table
              label="Roles" rows={[...roles]} rowKey={(role) => role}
              columns={[
                { name: 'Role', cell: (role) => <b>{role}</b> },
                { name: 'What for', wide: true, cell: (role) => about[role] },
                { name: 'Version', right: true, cell: (role) => v[role] ?? '' },
                { name: 'Signatures wanted', right: true, cell: (role) => `${r.signed.roles[role]?.threshold ?? '?'} of ${r.signed.roles[role]?.keyids.length ?? '?'} keys` },
                { name: 'Expires', right: true, cell: (role) => <Expiry at={files[role]} /> },
              ]}
            />
          </Card>
          <Card title="Keys" flush>
            <Table
              label="Keys" rows={Object.entries(r.signed.keys)} rowKey={([id]) => id}
              columns={[
                { name: 'Key', cell: ([id]) => <span className="rf-mono" title={id}>{id.slice(0, 16)}…</span> },
                { name: 'Kind', cell: ([, k]) => k.keytype },
                { name: 'Signs for', cell: ([id]) => roles.filter((role) => r.signed.roles[role]?.keyids.includes(id)).join(', ') || 'nothing any more' },
              ]}
            />
          </Card>
          <Card title="Cluster"><Facts rows={[['Cluster id', <span key="c" className="rf-mono">{trust.cluster_id}</span>]]} /></Card>
        </Stack>
      )}
    </Settled>
  );
}

const day = 86_400_000;

function Expiry({ at }: { at: TufMetadata | undefined }) {
  const now = useNow();
  const expires = at?.signed.expires;
  if (expires === undefined) return <span className="rf-calm">not known</span>;
  const left = new Date(expires).getTime() - now;
  return <>{left < 0 ? <Status state="critical" label="expired" /> : left < day / 2 && <Status state="warn" label="soon" />} <Ago at={expires} /></>;
}

const stages: Record<string, string> = {
  '': 'steady: one authority', spread: 'rolling over: the next authority is handed to everybody', reissue: 'rolling over: every member gets a new certificate',
};

/** CA is the authority that says who is a node and who is an agent. */
function CA() {
  const ca = useQuery(queries.ca());
  return (
    <Settled query={ca} what="the cluster's certificate authority">
      {(c) => (
        <Stack gap="md">
          <Card title="Authorities" flush>
            <Table
              label="Authorities" rows={c.authorities} rowKey={(a) => a.id}
              columns={[
                { name: 'Authority', cell: (a) => <span className="rf-mono">{a.id.slice(0, 24)}…</span> },
                { name: 'Signs', cell: (a) => (a.id === c.authorities[0]?.id ? 'yes' : 'no, it is only believed') },
                { name: 'Expires', right: true, cell: (a) => <Ago at={a.not_after} /> },
              ]}
            />
          </Card>
          <Card title="Roll-over">
            <Facts rows={[
              ['Stage', stages[c.stage] ?? c.stage], ['Since', <Ago key="s" at={c.since} never="the beginning" />],
              ['Waits for', (c.waiting ?? []).length === 0 ? 'nobody' : (c.waiting ?? []).join(', ')],
            ]}
            />
          </Card>
        </Stack>
      )}
    </Settled>
  );
}
