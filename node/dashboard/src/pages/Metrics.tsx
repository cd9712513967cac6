import { useQuery } from '@tanstack/react-query';
import { queries } from '../api/queries';
import { Card } from '../ui/Card';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';

export function Metrics() {
  const got = useQuery(queries.later('/v1/metrics/updates'));
  return (
    <Page title="Metrics" name="Metrics">
      <Settled query={got} what="metrics of updates">{(data) => <Card title="Metrics"><pre className="rf-code">{JSON.stringify(data, null, 2)}</pre></Card>}</Settled>
    </Page>
  );
}
