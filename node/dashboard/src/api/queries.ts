import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { get } from './client';
import type * as T from './types';

const enc = encodeURIComponent;

/** search renders the set values of a query string. */
export function search(values: Record<string, string | number | string[] | undefined>): string {
  const p = new URLSearchParams();
  for (const [k, v] of Object.entries(values)) {
    for (const one of Array.isArray(v) ? v : [v]) if (one !== undefined && one !== '') p.append(k, String(one));
  }
  const s = p.toString();
  return s === '' ? '' : `?${s}`;
}

function query<R>(path: string, every = 5000, enabled = true) {
  return queryOptions({
    queryKey: path.split(/[/?]/).filter((s) => s !== '' && s !== 'v1'),
    queryFn: ({ signal }) => get<R>(path, signal),
    meta: { every },
    enabled,
  });
}

/** all follows the cursor of a listing to its end. */
function all<R>(path: string, every = 5000) {
  return queryOptions({
    queryKey: path.split('/').filter((s) => s !== '' && s !== 'v1'),
    queryFn: async ({ signal }) => {
      const items: R[] = [];
      for (let after: string | undefined = ''; after !== undefined;) {
        const page: T.Page<R> = await get<T.Page<R>>(`${path}${search({ after, limit: 1000 })}`, signal);
        items.push(...page.items);
        after = page.next === '' ? undefined : page.next;
      }
      return items;
    },
    meta: { every },
  });
}

/** A listing keeps its old rows while the next ones are on their way. */
function list<R>(path: string, every = 5000, enabled = true) {
  return { ...query<R>(path, every, enabled), placeholderData: keepPreviousData };
}

/** archive begins a cursor that goes on among what nodes have archived. */
export const archive = '~';
/** emptyPages is how many pages without a row are passed over for one answer. */
const emptyPages = 20;

export interface CommandFilter { rollout?: string; agent?: string; state?: string; artifact?: string; class?: string; since?: string; after?: string; limit?: number }

export const queries = {
  health: () => query<T.Health[]>('/v1/cluster/health'),
  nodes: () => query<T.Node[]>('/v1/nodes'),
  agents: (select: string[], after = '', limit = 50) =>
    list<T.Page<T.Agent>>(`/v1/agents${search({ select, after, limit })}`),
  agentSummary: (select: string[], enabled = true) =>
    list<T.AgentSummary>(`/v1/agent-counts${search({ select })}`, 5000, enabled),
  agent: (id: string) => query<T.Agent>(`/v1/agents/${enc(id)}`, 3000),
  artifacts: () => all<T.Artifact>('/v1/artifacts', 15_000),
  rollouts: () => all<T.Rollout>('/v1/rollouts', 4000),
  rollout: (id: string) => query<T.Rollout>(`/v1/rollouts/${enc(id)}`, 1500),
  commands: (f: CommandFilter) => ({
    ...list<T.Page<T.Command>>(`/v1/commands${search({ ...f })}`, 3000),
    // What is archived does not change, and reading it is work for every node.
    meta: f.after?.startsWith(archive) ? {} : { every: 3000 },
    // A page of the archive may hold nothing of what was asked, and still have a next.
    queryFn: async ({ signal }: { signal: AbortSignal }) => {
      let page = await get<T.Page<T.Command>>(`/v1/commands${search({ ...f })}`, signal);
      const most = f.after?.startsWith(archive) ? emptyPages : 0;
      for (let n = 0; page.items.length === 0 && page.next && n < most; n++) {
        page = await get<T.Page<T.Command>>(`/v1/commands${search({ ...f, after: page.next })}`, signal);
      }
      return page;
    },
  }),
  /** The commands of a rollout that ended in a state for good, as far as the state has them. */
  ended: (rollout: string, state: string) => queryOptions({
    queryKey: ['commands', 'ended', rollout, state],
    queryFn: async ({ signal }) => {
      const items: T.Command[] = [];
      for (let after: string | undefined = ''; after !== undefined;) {
        const page: T.Page<T.Command> = await get<T.Page<T.Command>>(`/v1/commands${search({ rollout, state, after, limit: 1000 })}`, signal);
        items.push(...page.items.filter((c) => !c.repeated));
        after = !page.next || page.next.startsWith(archive) ? undefined : page.next;
      }
      return items;
    },
    meta: { every: 30_000 },
  }),
  swarm: (rollout: string) => query<T.Swarm>(`/v1/rollouts/${enc(rollout)}/swarm`, 2000),
  updates: (by: string, from: string, step: string) => list<T.UpdateMetrics>(`/v1/metrics/updates${search({ by, from, step })}`, 10_000),
  command: (id: string) => query<T.Command>(`/v1/commands/${enc(id)}`, 2000),
  settings: () => query<T.Settings>('/v1/settings', 10_000),
  settingsHistory: (after = '') => list<T.Page<T.SettingsRecord>>(`/v1/settings/history${search({ after, limit: 50 })}`, 10_000),
  explain: (kind: 'agent' | 'node', id: string) => query<T.SettingExplained[]>(`/v1/settings/explain${search({ [kind]: id })}`, 10_000),
  audit: (after = '') => list<T.Page<T.AuditRecord>>(`/v1/audit${search({ newest: 'true', after, limit: 50 })}`, 10_000),
  operators: () => query<T.OperatorInfo[] | null>('/v1/operators', 10_000),
  ca: () => query<T.CAStatus>('/v1/ca', 15_000),
  tokens: () => all<T.Token>('/v1/tokens', 10_000),
  tuf: (file: string) => ({ ...query<T.TufMetadata>(`/v1/tuf/${file}`, 60_000, !file.startsWith('0.')) }),
  tufRoot: (version: number) => query<T.TufRoot>(`/v1/tuf/${version}.root.json`, 60_000),
  logs: (q: { correlation?: string; grep?: string; since?: string; level?: string; agent?: string; node?: string; after?: string }, limit = 200) =>
    list<T.LogPage>(`/v1/logs${search({ ...q, limit })}`, 5000),
  trust: () => query<T.TrustStatus>('/v1/trust', 30_000),
};
