// The shapes of the operator API. Times are RFC 3339, durations "1m30s".

export type Status = 'ok' | 'warn' | 'critical';
export type Activity = 'idle' | 'downloading' | 'installing' | 'failing' | 'degraded';
export type CommandState =
  | 'pending' | 'leased' | 'running' | 'succeeded' | 'failed' | 'timed_out' | 'cancelled' | 'rolled_back';

export interface Page<T> { items: T[]; next?: string }

export interface SwarmRate { now: string; cap: string }
export interface SwarmSource { id: string; node?: boolean; bytes: number }
export interface SwarmMember {
  info_hash: string; id?: string; region?: string; node?: boolean; seen?: string; transfer: Transfer; from_site: number;
  wasted: number; corrupt: number; peers: number; sources?: SwarmSource[]; took: string; download: SwarmRate; upload: SwarmRate;
}
export interface Swarm { rollout_id: string; members: SwarmMember[] | null }

export interface UpdatePoint { at: string; counts: Counts; mean_seconds: number; from_peers: number; from_nodes: number; from_other_regions: number }
export interface UpdateSeries { name: string; points: UpdatePoint[] | null }
export interface UpdateMetrics { from: string; to: string; step: string; by?: string; series: UpdateSeries[] | null }

export interface Check { name: string; status: Status; detail: string; advice?: string; since?: string }

export interface Node {
  id: string; region: string; mesh_addr: string; enrolled_at: string; key_id: string;
  alive: boolean; leader: boolean; voter: boolean; version?: string;
}

export interface Health {
  status: Status; checks: Check[]; node: string; region: string; cluster_id: string; version: string;
  started_at: string; raft_state: string; term: number; leader: string; commit_index: number;
  applied_index: number; voters: number; peers: Node[] | null; disk_free: number; disk_total: number;
  seeding?: string[]; wan_bytes?: Record<string, number>;
}

export interface Transfer {
  from_peers: number; from_nodes: number; to_peers: number; total: number; done: number; from_other_regions: number;
}

export interface Installed { name: string; version: string; sha256: string; previous?: string }
export interface Progress { command_id: string; phase: string; transfer: Transfer }
export interface Presence {
  agent_id: string; node: string; last_poll: string; activity: Activity; version: string;
  installed?: Installed[]; progress?: Progress[]; machine?: Machine; readiness?: Readiness; waiting?: { command_id: string; reason: string }[];
}
export interface Readiness {
  disk_free?: number; disk_total?: number; load_percent?: number; on_battery?: boolean; battery?: number; package_lock?: boolean;
  reboot_pending?: boolean; metered?: boolean; window_open?: boolean; blocked?: { gate: string; reason: string }[]; degraded?: string;
}
export interface Machine { os?: string; arch?: string; labels?: Record<string, string> }
export interface Agent {
  id: string; region: string; labels?: Record<string, string>; enrolled_at: string; key_id: string; presence?: Presence;
}

export interface AgentCounts {
  region: string; agents: number; online: number;
  activities?: Partial<Record<Activity, number>>;
}
export interface AgentSummary { agents: number; online: number; regions: AgentCounts[] }

export interface Artifact {
  name: string; version: string; length: number; sha256: string; info_hash: string; piece_length: number;
  published_at: string; published_by?: string; origin_node: string; deltas?: { from_version: string; length: number }[];
}

export interface Selector { all?: boolean; regions?: string[]; labels?: Record<string, string>; agents?: string[] }

export type Counts = Partial<Record<CommandState, number>>;
export interface RegionCounts { region: string; counts: Counts; transfer: Transfer }
export interface Rollout {
  id: string; kind: string; artifact?: string; version?: string; selector: Selector; correlation_id: string;
  created_by?: string; created_at: string; state: string; agents: number; counts: Counts;
  regions?: RegionCounts[]; transfer: Transfer;
  plan: Plan; expires_at?: string; reason?: string; rollback_of?: string; retry_of?: string;
  wave: number; waves: number; released: number; open_wave: WaveCounts;
}
export interface WaveCounts { agents: number; succeeded: number; failed: number }
export interface Wave { agents?: number; percent?: number }
export interface Window { days: number[]; from: number; to: number; zone: string }
export interface Plan {
  waves?: Wave[]; region_order?: string[]; success_percent?: number; max_failure_percent?: number; dynamic?: boolean;
  windows?: Window[]; timeout?: string; expiry?: string;
}
export interface CreateRollout { id: string; kind: string; artifact?: string; version?: string; selector: Selector; plan?: Plan }

export interface Failure { class: string; message: string }
export interface Command {
  id: string; rollout_id: string; agent_id: string; region?: string; kind: string; artifact?: string; version?: string;
  correlation_id: string; state: CommandState; attempt?: number; created_at: string; leased_at?: string;
  lease_until?: string; started_at?: string; ended_at?: string; failure?: Failure; transfer?: Transfer; phase?: string;
  retry_of?: string; not_before?: string; deadline?: string; cancel_at?: string; cancel_refused?: string;
  log?: ExecutionLog; waiting?: string; repeated?: boolean; archived?: boolean; timeline?: { at: string; what: string }[];
}
export interface ExecutionLog {
  exit_code?: number; stdout?: string; stderr?: string; cut?: boolean; steps?: { name: string; millis: number }[];
}

export interface SettingSpec {
  key: string; type: string; default: string; min?: string; max?: string; description: string; scope?: string; unit?: string;
}
export interface SettingValue { layer: string; key: string; value: string; by?: string; at?: string; expires?: string; change?: number }
export interface Settings { version: number; values: Record<string, string> | null; specs: SettingSpec[]; layers?: SettingValue[] }
export interface SettingExplained { key: string; value: string; default: boolean; layers: SettingValue[] }
export interface SettingsRecord {
  change: number; version: number; at: string; by: string; layer: string; correlation_id?: string; undoes?: number; undone_by?: number;
  edits: { key: string; old: string; new: string; expires?: string }[];
}

export interface AuditRecord {
  seq: number; at: string; who: string; action: string; target: string; detail: string; from: string; node: string;
  correlation_id: string; prev: string; hash: string;
}
export interface OperatorInfo {
  id: string; role: 'viewer' | 'operator' | 'admin'; scope?: Selector; created_at: string; expires_at?: string; revoked_at?: string; created_by?: string;
}
export interface CAStatus { stage: string; since?: string; authorities: { id: string; not_after: string }[]; waiting?: string[] }

export interface Token {
  id: string; kind: 'agent' | 'node'; seats: number; used: number; labels?: Record<string, string>;
  created_at: string; expires_at: string; revoked?: boolean;
}
export interface CreatedToken { token: Token; secret: string; authority: string; root_hash?: string }
export interface TrustStatus { cluster_id: string; online_key: string; versions: Record<string, number> | null }

/** The part of a TUF metadata file that pages show. */
export interface TufMetadata { signed: { version: number; expires: string } }
export interface TufRoot {
  signed: {
    version: number; expires: string;
    keys: Record<string, { keytype: string }>;
    roles: Record<string, { keyids: string[]; threshold: number }>;
  };
}

export interface LogLine { at: string; source: string; spool: string; seq: number; line: Record<string, unknown> }
export interface LogPage extends Page<LogLine> { silent?: string[] }
