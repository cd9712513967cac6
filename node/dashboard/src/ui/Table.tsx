import type { ReactNode } from 'react';

export interface Column<T> {
  name: string;
  cell: (row: T) => ReactNode;
  right?: boolean;
  /** Left out where there is too little room for every column. */
  wide?: boolean;
  width?: number | string;
}

/** most is how many columns a phone has room for side by side. */
const most = 4;

/**
 * Table is a dense table; what a row is about stands in its first column as a
 * link. On a phone a table that stacks has a block for each row; one of many
 * columns does.
 */
export function Table<T>({ label, columns, rows, rowKey, faded, stack = columns.length > most }: {
  label: string; columns: Column<T>[]; rows: T[]; rowKey: (row: T) => string; faded?: (row: T) => boolean; stack?: boolean;
}) {
  const classOf = (c: Column<T>) => [c.wide && 'rf-wide', c.right && 'rf-right'].filter(Boolean).join(' ') || undefined;
  return (
    // A region that scrolls must be reachable with the keyboard.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <section className={stack ? 'rf-table rf-stack' : 'rf-table'} aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>{columns.map((c) => <th scope="col" key={c.name} className={classOf(c)} style={{ width: c.width }}>{c.name}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)} className={faded?.(row) ? 'rf-dimmed' : undefined}>
              {columns.map((c) => <td key={c.name} className={classOf(c)} data-name={c.name}>{c.cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
