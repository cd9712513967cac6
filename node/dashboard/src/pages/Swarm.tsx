import { useQuery } from '@tanstack/react-query';
import { queries } from '../api/queries';
import { Card } from '../ui/Card';
import { Page } from '../ui/Page';
import { Settled } from '../ui/Settled';

export function Swarm() {
  const got = useQuery(queries.later('/v1/swarm'));
  return (
    <Page title="Swarm" name="Swarm">
      <Settled query={got} what="the swarm">{(data) => <Card title="Swarm"><pre className="rf-code">{JSON.stringify(data, null, 2)}</pre></Card>}</Settled>
    </Page>
  );
}
