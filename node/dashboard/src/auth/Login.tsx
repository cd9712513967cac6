import { Alert, Button, Center, FileButton, Group, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { IconLogin2 } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Problem } from '../api/problem';
import flag from '../flag.svg';
import { ProblemNote } from '../ui/Settled';
import { sentence } from '../ui/format';
import { session, useEnded, useNotice } from './session';

/** tokenIn takes the token out of what was pasted: the token alone, or operator.json. */
function tokenIn(text: string): string {
  const t = text.trim();
  if (!t.startsWith('{')) return t;
  try {
    const token = (JSON.parse(t) as { token?: unknown }).token;
    return typeof token === 'string' ? token : '';
  } catch {
    return '';
  }
}

export function Login() {
  const notice = useNotice();
  const ended = useEnded();
  const [text, setText] = useState('');
  const client = useQueryClient();
  const signIn = useMutation({
    mutationFn: async (pasted: string) => {
      const token = tokenIn(pasted);
      if (token === '') throw new Problem('invalid_argument', 'There is no token in that.', 'Paste the token, or the whole of operator.json.', 0, '');
      await session.signIn(token);
    },
    onSuccess: () => client.invalidateQueries(),
  });
  return (
    <Center mih="100vh" p="md" component="main">
      <form
        className="rf-card"
        style={{ width: 'min(26rem, 100%)', padding: 24 }}
        onSubmit={(e) => { e.preventDefault(); signIn.mutate(text); }}
      >
        <Stack gap="md">
          <Group gap="xs">
            <img src={flag} alt="" width={26} height={26} />
            <Title order={1}>RedFlag</Title>
          </Group>
          {notice !== '' && <Alert color="yellow" variant="outline" title={ended ? 'The session has ended' : 'Signed out'} role="status"><Text size="sm">{sentence(notice)}{ended && ' What was typed is still there for the same operator.'}</Text></Alert>}
          <PasswordInput
            label="Operator token"
            description="From operator.json in the first node's data directory: paste the token, or the whole file."
            size="sm" autoFocus autoComplete="off" spellCheck={false} required
            value={text} onChange={(e) => setText(e.currentTarget.value)}
            visibilityToggleButtonProps={{ 'aria-label': 'Show the token' }}
          />
          {signIn.isError && <ProblemNote error={signIn.error} />}
          <Group justify="space-between">
            <FileButton accept="application/json" onChange={(f) => void f?.text().then((t) => { setText(t); signIn.mutate(t); })}>
              {(props) => <Button {...props} variant="subtle" color="gray">Open operator.json…</Button>}
            </FileButton>
            <Button type="submit" loading={signIn.isPending} leftSection={<IconLogin2 size={15} aria-hidden />}>Sign in</Button>
          </Group>
        </Stack>
      </form>
    </Center>
  );
}
