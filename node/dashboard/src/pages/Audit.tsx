import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { queries } from '../api/queries';
import { auditRoute } from '../router';
import { Ago } from '../ui/Ago';
import { Card } from '../ui/Card';
import { CopyCli } from '../ui/Cli';
import { Correlation } from '../ui/Correlation';
import { Empty } from '../ui/Empty';
import { Page } from '../ui/Page';
import { Pager } from '../ui/Pager';
import { Settled } from '../ui/Settled';
import { Table } from '../ui/Table';

export function Audit() {
  const { after } = auditRoute.useSearch();
  const navigate = useNavigate({ from: '/audit' });
  const log = useQuery(queries.audit(after));
  return (
    <Page title="Audit" name="Audit" actions={<CopyCli command="redflag audit" />}>
      <Text size="sm" c="dimmed">Who did what, from where. Each record holds the hash of the one before: none can be changed or taken out unseen.</Text>
      <Card flush label="Audit log">
        <Settled query={log} what="the audit log">
          {(page) => (page.items.length === 0 ? <Empty title="Nothing has been recorded yet" /> : (
            <>
              <Table
                label="Audit log" rows={page.items} rowKey={(r) => String(r.seq)}
                columns={[
                  { name: 'No.', right: true, cell: (r) => r.seq },
                  { name: 'When', cell: (r) => <Ago at={r.at} /> },
                  { name: 'Who', cell: (r) => <b>{r.who}</b> },
                  { name: 'Did', cell: (r) => <span className="rf-mono rf-break">{r.action}</span> },
                  { name: 'What', cell: (r) => <><span className="rf-mono rf-break">{r.target}</span>{r.detail && <Text size="xs" c="dimmed" className="rf-break">{r.detail}</Text>}</> },
                  { name: 'From', wide: true, cell: (r) => <span className="rf-mono">{r.from}</span> },
                  { name: 'Node', wide: true, cell: (r) => r.node },
                  { name: 'Correlation', wide: true, cell: (r) => r.correlation_id && <Correlation id={r.correlation_id} short /> },
                ]}
              />
              <Pager shown={page.items.length} next={page.next} after={after} go={(a) => void navigate({ search: { after: a } })} />
            </>
          ))}
        </Settled>
      </Card>
    </Page>
  );
}
