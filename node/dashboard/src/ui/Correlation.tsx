import { Group } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { CopyIcon } from './Cli';

/** Correlation leads to every log line of one request, from click to install. */
export function Correlation({ id, short = false }: { id: string; short?: boolean }) {
  return (
    <Group gap={4} wrap="nowrap" display="inline-flex">
      <Link to="/logs" search={{ correlation: id }} className="rf-link rf-mono rf-break" title="Every log line of this correlation id">{short ? `${id.slice(0, 8)}…` : id}</Link>
      <CopyIcon value={id} what="correlation id" />
    </Group>
  );
}
