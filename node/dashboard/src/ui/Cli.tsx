import { ActionIcon, Button, CopyButton, Group, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy, IconTerminal2 } from '@tabler/icons-react';

/** CopyCli offers what the page shows or does as a command. */
export function CopyCli({ command, label = 'Copy as CLI' }: { command: string; label?: string }) {
  return (
    <CopyButton value={command} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={<span className="rf-mono">{command}</span>}>
          <Button variant="default" data-cli={command} onClick={copy} leftSection={copied ? <IconCheck size={14} aria-hidden /> : <IconTerminal2 size={14} aria-hidden />}>
            {copied ? 'Copied' : label}
          </Button>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** CopyIcon copies a value that stands beside it. */
export function CopyIcon({ value, what }: { value: string; what: string }) {
  return (
    <CopyButton value={value} timeout={1500}>
      {({ copied, copy }) => (
        <ActionIcon variant="subtle" color="gray" size="xs" onClick={copy} aria-label={copied ? `${what} copied` : `Copy ${what}`}>
          {copied ? <IconCheck size={13} /> : <IconCopy size={13} />}
        </ActionIcon>
      )}
    </CopyButton>
  );
}

/** Command is a command to run next, ready to be copied. */
export function Command({ children }: { children: string }) {
  return (
    <Group gap={6} wrap="nowrap" align="center">
      <pre className="rf-code" style={{ flex: 1 }}>{children}</pre>
      <CopyIcon value={children} what="command" />
    </Group>
  );
}
