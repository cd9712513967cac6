import { useOperator, type Role } from '../auth/session';
import { Card } from './Card';
import { Empty } from './Empty';
import { Page } from './Page';

/** Denied stands where a link led somebody whom the node would refuse. */
export function Denied({ what, needs }: { what: string; needs: Role }) {
  const operator = useOperator();
  return (
    <Page title={what} name={what}>
      <Card><Empty title={`This needs the role ${needs}`} command={`redflag operator create NAME --role ${needs}`}>{operator?.id} is {operator?.role}. An admin makes a token of that role with:</Empty></Card>
    </Page>
  );
}
