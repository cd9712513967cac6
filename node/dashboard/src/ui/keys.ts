import { useNavigate } from '@tanstack/react-router';
import { useEffect } from 'react';
import { session } from '../auth/session';

const goTo: Record<string, string> = {
  o: '/', a: '/agents', r: '/rollouts', c: '/rollouts/new', h: '/commands', w: '/swarm', m: '/trends', l: '/logs', n: '/nodes', s: '/settings', t: '/trust', u: '/audit',
};

export const shortcuts: [string, string][] = [
  ['g o', 'Overview'], ['g a', 'Agents'], ['g r', 'Rollouts'], ['g c', 'Create a rollout'], ['g h', 'History of commands'], ['g w', 'Swarm'],
  ['g m', 'Metrics'], ['g l', 'Logs'], ['g n', 'Nodes'], ['g s', 'Settings'], ['g t', 'Trust'], ['g u', 'Audit'],
  ['/', 'Filter this page'], ['p', 'Stop or go on refreshing'], ['?', 'This list'], ['Esc', 'Close, or leave a field'],
];

const inField = (el: EventTarget | null) =>
  el instanceof HTMLElement && (el.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(el.tagName));

/** useKeys listens for the shortcuts wherever no field has the keyboard. */
export function useKeys(toggleHelp: () => void) {
  const navigate = useNavigate();
  useEffect(() => {
    let since = 0; // when g was pressed
    const press = (e: KeyboardEvent) => {
      if (!session.isOpen()) return;
      if (e.key === 'Escape' && inField(e.target)) (e.target as HTMLElement).blur();
      if (e.ctrlKey || e.metaKey || e.altKey || inField(e.target)) return;
      if (document.querySelector('[role="dialog"]') !== null && e.key !== '?') return;
      const going = e.timeStamp - since < 1500;
      since = 0;
      const to = going ? goTo[e.key] : undefined;
      if (to !== undefined) void navigate({ to });
      else if (e.key === 'g') since = e.timeStamp;
      else if (e.key === '?') toggleHelp();
      else if (e.key === '/') document.querySelector<HTMLElement>('[data-filter]')?.focus();
      else if (e.key === 'p') document.querySelector<HTMLElement>('[data-key="p"]')?.click();
      else return;
      e.preventDefault();
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, [navigate, toggleHelp]);
}
