import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import './app.css';
import { MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { setNonce } from 'get-nonce';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { asProblem } from './api/problem';
import { session } from './auth/session';
import { router } from './router';
import { cssVariables, theme } from './theme';
import { isPaused } from './ui/clock';

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // A page only ever asks; how often is said where the question stands.
      refetchInterval: (q) => (isPaused() || !session.isOpen() || q.meta?.every === undefined ? false : (q.meta.every as number)),
      // A browser that takes itself for offline would hold questions back, and send changes later, unattended.
      networkMode: 'always',
      retry: (n, err) => n < 2 && asProblem(err).status === 0,
      retryDelay: 1000,
      staleTime: 1000,
    },
    mutations: { networkMode: 'always' },
  },
});

const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? '';
setNonce(nonce); // for the style that keeps the page from scrolling behind a dialog
void session.resume();

const root = document.querySelector('#root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} cssVariablesResolver={cssVariables} defaultColorScheme="auto" getStyleNonce={() => nonce}>
        <Notifications position="bottom-right" />
        <QueryClientProvider client={client}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}
