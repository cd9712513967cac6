import {
  IconAlertTriangle, IconArrowBackUp, IconCircleCheck, IconCircleDashed, IconCircleMinus, IconCircleX, IconClockX,
  IconDownload, IconLoader2, IconPackage, IconPlayerPause, IconPlugConnectedX, IconSend, type Icon,
} from '@tabler/icons-react';
import { words } from './format';

export type Tone = 'ok' | 'warn' | 'bad' | 'busy' | 'calm';

// Each state has a shape and a word of its own; colour only repeats them.
const looks: Record<string, [Tone, Icon]> = {
  ok: ['ok', IconCircleCheck],
  warn: ['warn', IconAlertTriangle],
  critical: ['bad', IconCircleX],
  pending: ['calm', IconCircleDashed],
  leased: ['busy', IconSend],
  running: ['busy', IconLoader2],
  succeeded: ['ok', IconCircleCheck],
  done: ['ok', IconCircleCheck],
  failed: ['bad', IconCircleX],
  timed_out: ['bad', IconClockX],
  cancelled: ['calm', IconCircleMinus],
  aborted: ['calm', IconCircleMinus],
  cancel_requested: ['warn', IconCircleMinus],
  rolled_back: ['warn', IconArrowBackUp],
  paused: ['warn', IconPlayerPause],
  halted: ['bad', IconAlertTriangle],
  idle: ['ok', IconCircleCheck],
  downloading: ['busy', IconDownload],
  installing: ['busy', IconPackage],
  verifying: ['busy', IconLoader2],
  checking: ['busy', IconLoader2],
  failing: ['bad', IconAlertTriangle],
  degraded: ['warn', IconAlertTriangle],
  silent: ['bad', IconPlugConnectedX],
  unknown: ['calm', IconCircleDashed],
  revoked: ['calm', IconCircleMinus],
  expired: ['warn', IconClockX],
  used_up: ['calm', IconCircleMinus],
  active: ['ok', IconCircleCheck],
};

export const toneOf = (state: string): Tone => looks[state]?.[0] ?? 'calm';

/** Status is a state as a shape, a word and a colour. */
export function Status({ state, label }: { state: string; label?: string }) {
  const [tone, Shape] = looks[state] ?? ['calm', IconCircleDashed];
  return (
    <span className={`rf-status rf-${tone}`}>
      <Shape size={15} stroke={2} aria-hidden />
      {label ?? words(state)}
    </span>
  );
}
