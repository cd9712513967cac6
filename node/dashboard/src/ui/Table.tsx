import { Box } from '@mantine/core';
import type { ReactNode } from 'react';

export interface Column<T> {
  name: string;
  cell: (row: T) => ReactNode;
  right?: boolean;
  /** Left out on a narrow screen. */
  wide?: boolean;
  width?: number | string;
}

/** Table is a dense table; what a row is about stands in its first column as a link. */
export function Table<T>({ label, columns, rows, rowKey, faded }: {
  label: string; columns: Column<T>[]; rows: T[]; rowKey: (row: T) => string; faded?: (row: T) => boolean;
}) {
  return (
    // A region that scrolls must be reachable with the keyboard.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <section className="rf-table" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((c) => (
              <Box component="th" scope="col" key={c.name} visibleFrom={c.wide ? 'md' : undefined} className={c.right ? 'rf-right' : undefined} w={c.width}>
                {c.name}
              </Box>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)} className={faded?.(row) ? 'rf-dimmed' : undefined}>
              {columns.map((c) => (
                <Box component="td" key={c.name} visibleFrom={c.wide ? 'md' : undefined} className={c.right ? 'rf-right' : undefined}>
                  {c.cell(row)}
                </Box>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
