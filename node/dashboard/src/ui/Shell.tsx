import { ActionIcon, AppShell, Burger, Group, Modal, ScrollArea, Table, Text, Tooltip, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconActivity, IconAdjustments, IconBroadcast, IconChartLine, IconClipboardList, IconDeviceDesktop, IconFileText,
  IconKeyboard, IconLayoutDashboard, IconLogout, IconMoon, IconPlayerPause, IconPlayerPlay, IconServer, IconShieldLock, IconSun,
  IconTerminal2, type Icon,
} from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useRouterState } from '@tanstack/react-router';
import { useEffect } from 'react';
import { session, useMay, useOperator, type Role } from '../auth/session';
import flag from '../flag.svg';
import { setPaused, usePaused } from './clock';
import { Freshness, StaleBanner } from './Freshness';
import { shortcuts, useKeys } from './keys';

interface Place { to: string; name: string; icon: Icon; group?: string; role?: Role }

const places: Place[] = [
  { to: '/', name: 'Overview', icon: IconLayoutDashboard },
  { to: '/agents', name: 'Agents', icon: IconDeviceDesktop, group: 'Fleet' },
  { to: '/rollouts', name: 'Rollouts', icon: IconActivity },
  { to: '/commands', name: 'History', icon: IconClipboardList },
  { to: '/swarm', name: 'Swarm', icon: IconBroadcast },
  { to: '/trends', name: 'Metrics', icon: IconChartLine, group: 'Observe' },
  { to: '/logs', name: 'Logs', icon: IconFileText },
  { to: '/nodes', name: 'Nodes', icon: IconServer },
  { to: '/settings', name: 'Settings', icon: IconAdjustments, group: 'Steer' },
  { to: '/trust', name: 'Trust', icon: IconShieldLock, role: 'admin' },
  { to: '/audit', name: 'Audit', icon: IconTerminal2 },
];

/** Shell is what stays while pages change. */
export function Shell() {
  const [menu, { toggle, close }] = useDisclosure(false);
  const [help, helpModal] = useDisclosure(false);
  const path = useRouterState({ select: (s) => s.location.pathname });
  const admin = useMay('admin');
  const signedIn = useMay('viewer');
  useKeys(helpModal.toggle);
  useEffect(close, [path, close]);
  return (
    <AppShell header={{ height: 46 }} navbar={{ width: 190, breakpoint: 'sm', collapsed: { mobile: !menu } }} padding="md" transitionDuration={0}>
      <a href="#main" className="rf-skip">Skip to the page</a>
      <AppShell.Header style={{ background: 'var(--rf-card)', borderColor: 'var(--rf-line)' }}>
        <Group h="100%" px="sm" justify="space-between" wrap="nowrap" gap="xs">
          <Group gap={8} wrap="nowrap">
            <Burger opened={menu} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <img src={flag} alt="" width={20} height={20} />
            <Text fw={700} size="sm">RedFlag</Text>
          </Group>
          <Group gap={4} wrap="nowrap">
            <Freshness />
            <PauseButton />
            <SchemeButton />
            <Tooltip label="Keyboard shortcuts (?)">
              <ActionIcon variant="subtle" color="gray" onClick={helpModal.open} aria-label="Keyboard shortcuts"><IconKeyboard size={17} /></ActionIcon>
            </Tooltip>
            <WhoAmI />
            <Tooltip label="Sign out">
              <ActionIcon variant="subtle" color="gray" onClick={() => void session.close()} aria-label="Sign out"><IconLogout size={17} /></ActionIcon>
            </Tooltip>
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p={8} style={{ background: 'var(--rf-card)', borderColor: 'var(--rf-line)' }} aria-label="Pages">
        <ScrollArea>
          {places.filter((p) => p.role !== 'admin' || admin).map((p) => (
            <div key={p.to}>
              {p.group !== undefined && <div className="rf-nav-group">{p.group}</div>}
              <Link to={p.to} className="rf-nav" activeOptions={{ exact: p.to === '/', includeSearch: false }}>
                <p.icon size={16} stroke={1.7} aria-hidden />
                {p.name}
              </Link>
            </div>
          ))}
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: 'none' }}>
        <StaleBanner />
        <Outlet />
      </AppShell.Main>
      <Modal opened={help && signedIn} onClose={helpModal.close} title="Keyboard shortcuts">
        <Table fz="sm">
          <Table.Tbody>
            {shortcuts.map(([keys, what]) => (
              <Table.Tr key={keys}>
                <Table.Td w={90}>{keys.split(' ').map((k) => <kbd key={k} className="rf-kbd" style={{ marginRight: 4 }}>{k}</kbd>)}</Table.Td>
                <Table.Td>{what}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Modal>
    </AppShell>
  );
}

function WhoAmI() {
  const operator = useOperator();
  if (!operator) return null;
  return <Text size="xs" c="dimmed" className="rf-nowrap" visibleFrom="sm" px={6}>{operator.id} ({operator.role})</Text>;
}

function PauseButton() {
  const paused = usePaused();
  const client = useQueryClient();
  const flip = () => {
    setPaused(!paused);
    if (paused) void client.invalidateQueries();
  };
  const label = paused ? 'Refresh again' : 'Stop refreshing';
  return (
    <Tooltip label={`${label} (p)`}>
      <ActionIcon variant={paused ? 'filled' : 'subtle'} color={paused ? 'yellow' : 'gray'} onClick={flip} aria-label={label} data-key="p">
        {paused ? <IconPlayerPlay size={16} /> : <IconPlayerPause size={16} />}
      </ActionIcon>
    </Tooltip>
  );
}

function SchemeButton() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const dark = colorScheme === 'dark' || (colorScheme === 'auto' && window.matchMedia('(prefers-color-scheme: dark)').matches);
  const label = dark ? 'Light colours' : 'Dark colours';
  return (
    <Tooltip label={label}>
      <ActionIcon variant="subtle" color="gray" onClick={() => setColorScheme(dark ? 'light' : 'dark')} aria-label={label}>
        {dark ? <IconSun size={17} /> : <IconMoon size={17} />}
      </ActionIcon>
    </Tooltip>
  );
}
