import { Group } from '@mantine/core';
import type { ReactNode } from 'react';

/** Card is a titled part of a page. */
export function Card({ title, actions, children, flush = false, label }: {
  title?: ReactNode; actions?: ReactNode; children: ReactNode; flush?: boolean; label?: string;
}) {
  return (
    <section className="rf-card" aria-label={label ?? (typeof title === 'string' ? title : undefined)}>
      {title !== undefined && (
        <Group className="rf-card-head" justify="space-between" gap="xs">
          <h2 className="rf-card-title">{title}</h2>
          {actions}
        </Group>
      )}
      <div className={flush ? undefined : 'rf-card-body'}>{children}</div>
    </section>
  );
}

/** Facts is a list of names and values. */
export function Facts({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <dl className="rf-facts">
      {rows.map(([name, value]) => [
        <dt key={`${name}-t`}>{name}</dt>,
        <dd key={`${name}-d`} className="rf-break">{value}</dd>,
      ])}
    </dl>
  );
}

/** Stat is one number with its name. */
export function Stat({ label, value, note }: { label: string; value: ReactNode; note?: ReactNode }) {
  return (
    <div className="rf-card rf-stat">
      <div className="rf-stat-label">{label}</div>
      <div className="rf-stat-value">{value}</div>
      <div className="rf-stat-label">{note ?? ' '}</div>
    </div>
  );
}
