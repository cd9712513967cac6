import { bytes, plural } from '../../ui/format';
import type { Flow } from '../Swarm';

const column = 220;
const height = 250;
const nodeY = 92;
const agentsY = 198;

/** width of an edge: it grows with the bytes, and anything at all can be seen. */
const width = (n: number, most: number) => (n <= 0 ? 0 : 1.5 + 8.5 * (n / Math.max(1, most)));

/**
 * SwarmPicture draws one column a region: its node above, its agents below.
 * Edges over the WAN are red and above all else, for they are what costs.
 */
export function SwarmPicture({ flows }: { flows: Flow[] }) {
  const most = Math.max(1, ...flows.flatMap((f) => [f.wan, f.nodes, f.peers]));
  const x = (i: number) => column * i + column / 2;
  const origin = Math.max(0, flows.findIndex((f) => f.origin));
  const words = flows.map((f) => `${f.region}: ${bytes(f.wan)} over the WAN, ${bytes(f.nodes)} from its node, ${bytes(f.peers)} between peers`).join('; ');
  return (
    <section className="rf-table" aria-label="Picture of the swarm">
      <svg viewBox={`0 0 ${column * Math.max(1, flows.length)} ${height}`} style={{ minWidth: flows.length * 180, width: '100%', maxHeight: 340, display: 'block' }} role="img" aria-label={words}>
        <defs>
          <marker id="wan-end" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto" markerUnits="userSpaceOnUse"><path d="M0 0L8 4L0 8z" fill="var(--rf-bad)" /></marker>
          <marker id="down-end" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto" markerUnits="userSpaceOnUse"><path d="M0 0L8 4L0 8z" fill="var(--rf-busy)" /></marker>
        </defs>
        {flows.map((f, i) => (i !== origin && f.wan > 0 ? (
          <g key={`wan-${f.region}`}>
            <path
              d={`M${x(origin)} ${nodeY - 20} C${x(origin)} ${10} ${x(i)} ${10} ${x(i)} ${nodeY - 22}`} fill="none" stroke="var(--rf-bad)"
              strokeWidth={width(f.wan, most)} strokeDasharray={f.whole ? undefined : '7 5'} markerEnd="url(#wan-end)"
            />
            <Label x={(x(origin) + x(i)) / 2 + (i - origin - Math.sign(i - origin)) * 60} y={20} tone="bad">{`WAN ${bytes(f.wan)}`}</Label>
          </g>
        ) : null))}
        {flows.map((f, i) => (
          <g key={f.region}>
            {f.nodes > 0 && <line x1={x(i)} y1={nodeY + 18} x2={x(i)} y2={agentsY - 22} stroke="var(--rf-busy)" strokeWidth={width(f.nodes, most)} markerEnd="url(#down-end)" />}
            {f.nodes > 0 && <Label x={x(i) - 48} y={(nodeY + agentsY) / 2 + 4} tone="busy">{bytes(f.nodes)}</Label>}
            {f.peers > 0 && (
              <path d={`M${x(i) + 26} ${agentsY - 10} C${x(i) + 88} ${agentsY - 46} ${x(i) + 88} ${agentsY + 46} ${x(i) + 26} ${agentsY + 10}`} fill="none" stroke="var(--rf-ok)" strokeWidth={width(f.peers, most)} />
            )}
            {f.peers > 0 && <Label x={x(i) + 62} y={agentsY - 40} tone="ok">{`peers ${bytes(f.peers)}`}</Label>}
            <rect x={x(i) - 46} y={nodeY - 18} width={92} height={36} rx={6} fill="var(--rf-card)" stroke={f.whole ? 'var(--rf-ok)' : 'var(--rf-calm)'} strokeWidth={1.5} />
            <text x={x(i)} y={nodeY + 4} textAnchor="middle" fontSize={12} fontWeight={600} fill="currentColor">{f.region}</text>
            <circle cx={x(i)} cy={agentsY} r={24} fill="var(--rf-card)" stroke="var(--rf-calm)" strokeWidth={1.5} />
            <text x={x(i)} y={agentsY + 4} textAnchor="middle" fontSize={12} fontWeight={600} fill="currentColor">{f.agents}</text>
            <text x={x(i)} y={agentsY + 42} textAnchor="middle" fontSize={11} fill="var(--rf-calm)">{plural(f.agents, 'agent')}</text>
          </g>
        ))}
      </svg>
    </section>
  );
}

function Label({ x, y, tone, children }: { x: number; y: number; tone: string; children: string }) {
  return <text x={x} y={y} textAnchor="middle" fontSize={11} fontWeight={600} fill={`var(--rf-${tone})`} stroke="var(--rf-card)" strokeWidth={4} paintOrder="stroke">{children}</text>;
}
