import { Tooltip } from '@mantine/core';
import { useNow } from './clock';
import { isTime, span, utc } from './format';

/** Ago is a time as people say it, with the absolute one behind it. */
export function Ago({ at, never = 'never' }: { at: string | number | undefined; never?: string }) {
  const now = useNow();
  if (at === undefined || (typeof at === 'string' && !isTime(at))) return <span className="rf-calm">{never}</span>;
  const t = new Date(at).getTime();
  const ms = now - t;
  const text = ms >= 1000 ? `${span(ms)} ago` : ms > -1000 ? 'just now' : `in ${span(-ms)}`;
  return (
    <Tooltip label={utc(t)}>
      <time className="rf-ago" dateTime={new Date(t).toISOString()}>{text}</time>
    </Tooltip>
  );
}
