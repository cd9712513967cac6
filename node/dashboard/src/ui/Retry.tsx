import { Text } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { call } from '../api/client';
import type { Command } from '../api/types';
import { ConfirmButton } from './Confirm';

/** Retry repeats a command that ended without the change; others it does not offer. */
export function Retry({ command: c, compact = false }: { command: Command; compact?: boolean }) {
  const navigate = useNavigate();
  if (!['failed', 'timed_out', 'rolled_back'].includes(c.state) || c.repeated) return null;
  return (
    <ConfirmButton
      size={compact ? 'compact-xs' : undefined} title={`Retry on ${c.agent_id}?`} action="Retry on 1 agent"
      cli={`redflag commands retry ${c.id}`}
      body={<Text size="sm">One machine is hit: {c.agent_id} in {c.region} gets the same command again with its next poll.</Text>}
      onConfirm={async (id) => {
        await call('POST', `/v1/commands/${encodeURIComponent(c.id)}/retry`, { id });
        await navigate({ to: '/rollouts/$id', params: { id } });
      }}
    >
      Retry…
    </ConfirmButton>
  );
}
