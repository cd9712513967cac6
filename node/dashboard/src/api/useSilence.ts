import { useQuery } from '@tanstack/react-query';
import { silentAfter } from '../ui/agents';
import { queries } from './queries';

/** useSilence is how long a machine may be quiet, in ms, by the settings. */
export function useSilence(): number {
  const { data } = useQuery(queries.settings());
  const spec = data?.specs.find((s) => s.key === 'poll.idle');
  return silentAfter(data?.values?.['poll.idle'] ?? spec?.default ?? '60s');
}
