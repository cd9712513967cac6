import { useSyncExternalStore } from 'react';

// One timer for every relative time on the page.
let now = Date.now();
let timer = 0;
const listeners = new Set<() => void>();

function subscribe(l: () => void) {
  listeners.add(l);
  if (timer === 0) {
    timer = window.setInterval(() => {
      now = Date.now();
      for (const f of listeners) f();
    }, 1000);
  }
  return () => {
    listeners.delete(l);
    if (listeners.size === 0) {
      window.clearInterval(timer);
      timer = 0;
    }
  };
}

/** useNow is the time, to the second. */
export const useNow = () => useSyncExternalStore(subscribe, () => now);

let paused = false;
const pauseListeners = new Set<() => void>();

export const isPaused = () => paused;

export function setPaused(v: boolean) {
  paused = v;
  for (const f of pauseListeners) f();
}

/** usePaused tells whether the operator stopped the pages from refreshing. */
export const usePaused = () =>
  useSyncExternalStore(
    (l) => {
      pauseListeners.add(l);
      return () => pauseListeners.delete(l);
    },
    () => paused,
  );
