import { Button, Center, Group, Loader, Stack } from '@mantine/core';
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Link, type ErrorComponentProps } from '@tanstack/react-router';
import { useState } from 'react';
import { Login } from './auth/Login';
import { useEnded, useOperator } from './auth/session';
import { Empty } from './ui/Empty';
import { Page } from './ui/Page';
import { ProblemNote } from './ui/Settled';
import { Shell } from './ui/Shell';

/** pick keeps the named texts of a query string: a page's state is its URL. */
const pick = <K extends string>(...keys: K[]) => (given: Record<string, unknown>): { [P in K]?: string } => {
  const out: { [P in K]?: string } = {};
  for (const k of keys) {
    const v = given[k];
    if ((typeof v === 'string' && v !== '') || typeof v === 'number' || typeof v === 'boolean') out[k] = String(v);
  }
  return out;
};

const root = createRootRoute({
  component: function Root() {
    const operator = useOperator();
    const ended = useEnded();
    const [last, setLast] = useState<string>();
    if (operator && operator.id !== last) setLast(operator.id);
    if (operator === undefined) return <Center mih="100vh"><Loader size="sm" aria-label="Loading" /></Center>;
    // What was typed outlives a session that ended by itself, for whom it was that typed it.
    const kept = operator !== null || (ended && last !== undefined);
    return (
      <>
        {operator === null && <Login />}
        {kept && <div key={operator?.id ?? last} hidden={operator === null}><Shell /></div>}
      </>
    );
  },
});

const under = { getParentRoute: () => root };

const overview = createRoute({ ...under, path: '/', component: lazyRouteComponent(() => import('./pages/Overview'), 'Overview') });
export const agentsRoute = createRoute({
  ...under, path: '/agents', validateSearch: pick('select', 'after'), component: lazyRouteComponent(() => import('./pages/Agents'), 'Agents'),
});
export const agentRoute = createRoute({
  ...under, path: '/agents/$id', validateSearch: pick('tab'), component: lazyRouteComponent(() => import('./pages/Agent'), 'AgentPage'),
});
export const rolloutsRoute = createRoute({
  ...under, path: '/rollouts', validateSearch: pick('state', 'artifact'), component: lazyRouteComponent(() => import('./pages/Rollouts'), 'Rollouts'),
});
export const newRolloutRoute = createRoute({
  ...under, path: '/rollouts/new', validateSearch: pick('kind', 'artifact', 'version', 'select'),
  component: lazyRouteComponent(() => import('./pages/NewRollout'), 'NewRollout'),
});
export const rolloutRoute = createRoute({
  ...under, path: '/rollouts/$id', validateSearch: pick('state', 'after'), component: lazyRouteComponent(() => import('./pages/Rollout'), 'RolloutPage'),
});
export const commandsRoute = createRoute({
  ...under, path: '/commands', validateSearch: pick('rollout', 'agent', 'state', 'artifact', 'class', 'since', 'after'),
  component: lazyRouteComponent(() => import('./pages/Commands'), 'Commands'),
});
export const commandRoute = createRoute({
  ...under, path: '/commands/$id', component: lazyRouteComponent(() => import('./pages/Command'), 'CommandPage'),
});
export const swarmRoute = createRoute({
  ...under, path: '/swarm', validateSearch: pick('rollout'), component: lazyRouteComponent(() => import('./pages/Swarm'), 'Swarm'),
});
export const metricsRoute = createRoute({
  // /metrics is what Prometheus scrapes.
  ...under, path: '/trends', validateSearch: pick('span'), component: lazyRouteComponent(() => import('./pages/Metrics'), 'Metrics'),
});
export const logsRoute = createRoute({
  ...under, path: '/logs', validateSearch: pick('correlation', 'grep', 'since', 'level', 'agent', 'node', 'after'),
  component: lazyRouteComponent(() => import('./pages/Logs'), 'Logs'),
});
const nodes = createRoute({ ...under, path: '/nodes', component: lazyRouteComponent(() => import('./pages/Nodes'), 'Nodes') });
export const settingsRoute = createRoute({
  ...under, path: '/settings', validateSearch: pick('tab', 'q', 'layer', 'after'), component: lazyRouteComponent(() => import('./pages/Settings'), 'Settings'),
});
export const trustRoute = createRoute({
  ...under, path: '/trust', validateSearch: pick('tab'), component: lazyRouteComponent(() => import('./pages/Trust'), 'Trust'),
});
export const auditRoute = createRoute({
  ...under, path: '/audit', validateSearch: pick('after'), component: lazyRouteComponent(() => import('./pages/Audit'), 'Audit'),
});

function Lost() {
  return (
    <Page title="There is no such page" name="Not found">
      <Empty title="The link may be of another version, or mistyped.">
        <Link to="/" className="rf-link">Go to the overview</Link>
      </Empty>
    </Page>
  );
}

function Broken({ error, reset }: ErrorComponentProps) {
  return (
    <Stack p="md">
      <ProblemNote error={error} title="This page broke" />
      <Group><Button variant="default" onClick={reset}>Draw it again</Button><Button variant="default" onClick={() => window.location.reload()}>Reload</Button></Group>
    </Stack>
  );
}

export const router = createRouter({
  routeTree: root.addChildren([
    overview, agentsRoute, agentRoute, rolloutsRoute, newRolloutRoute, rolloutRoute, commandsRoute, commandRoute,
    swarmRoute, metricsRoute, logsRoute, nodes, settingsRoute, trustRoute, auditRoute,
  ]),
  defaultNotFoundComponent: Lost,
  defaultErrorComponent: Broken,
  defaultPendingComponent: () => <Center p="xl"><Loader size="sm" aria-label="Loading the page" /></Center>,
  defaultPreload: 'intent',
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register { router: typeof router }
}
