import { useQuery } from '@tanstack/react-query';
import { queries } from '../api/queries';
import { Card } from '../ui/Card';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';

export function Logs() {
  const got = useQuery(queries.later('/v1/logs'));
  return (
    <Page title="Logs" name="Logs">
      <Settled query={got} what="logs">{(data) => <Card title="Logs"><pre className="rf-code">{JSON.stringify(data, null, 2)}</pre></Card>}</Settled>
    </Page>
  );
}
