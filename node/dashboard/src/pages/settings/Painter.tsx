import { Alert, Button, Group, Modal, SegmentedControl, Select, Stack, Text, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBrush } from '@tabler/icons-react';
import { useState, type KeyboardEvent, type PointerEvent } from 'react';
import { caps, emptyWeek, hoursOfWeek, isRate, maxParts, paint, parseWeek, parts, rateOf, type Week } from './week';

const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const tones = 6;

/** PaintButton opens the week of a schedule, to be painted with the mouse. */
export function PaintButton({ name, value, disabled, take }: { name: string; value: string; disabled: boolean; take: (v: string) => void }) {
  const [opened, { open, close }] = useDisclosure(false);
  if (disabled) return null;
  return (
    <>
      <Button size="compact-xs" mt={4} variant="default" onClick={open} leftSection={<IconBrush size={13} aria-hidden />}>Paint {name}…</Button>
      <Modal opened={opened} onClose={close} title={`Caps by the hour: ${name}`} size={820}>
        <Painter value={value} leave={close} take={(v) => { take(v); close(); }} />
      </Modal>
    </>
  );
}

const bad = (rate: string) => rate.trim() !== '' && !isRate(rate) && 'Such as 2mbit, 640kbit or unlimited';

function Painter({ value, take, leave }: { value: string; take: (v: string) => void; leave: () => void }) {
  const [drawn] = useState(() => parseWeek(value));
  const [week, setWeek] = useState<Week>(() => drawn ?? emptyWeek());
  const [down, setDown] = useState(() => rateOf(week.hours.find((h) => h !== '') ?? '', 'down') || '2mbit');
  const [up, setUp] = useState(() => rateOf(week.hours.find((h) => h !== '') ?? '', 'up') || '1mbit');
  const [brush, setBrush] = useState('cap');
  const cap = caps(down, up);
  const usable = cap !== '' && !bad(down) && !bad(up);
  const used = [...new Set(week.hours.filter((h) => h !== ''))];
  const text = parts(week);
  return (
    <Stack gap="sm">
      {drawn === undefined && (
        <Alert color="yellow" variant="outline" title="The schedule as it is cannot be painted">
          <Text size="sm">It has parts of hours, or more than one time zone. What you paint here begins with an empty week and replaces it.</Text>
        </Alert>
      )}
      <Group gap="sm" align="flex-end">
        <SegmentedControl aria-label="Brush" value={brush} onChange={setBrush} data={[{ value: 'cap', label: 'Paint a cap' }, { value: 'open', label: 'Wipe it off' }]} />
        <TextInput label="Down" w={110} value={down} error={bad(down)} disabled={brush !== 'cap'} onChange={(e) => setDown(e.currentTarget.value)} />
        <TextInput label="Up" w={110} value={up} error={bad(up)} disabled={brush !== 'cap'} onChange={(e) => setUp(e.currentTarget.value)} />
        <Select label="Time zone" w={200} searchable allowDeselect={false} data={zones(week.zone)} value={week.zone} onChange={(zone) => zone && setWeek({ ...week, zone })} />
      </Group>
      <Text size="xs" c="dimmed">Drag over the hours from one corner to the other. With the keyboard: the arrows go about, the space bar paints, Shift with an arrow paints on.</Text>
      <Hours week={week} used={used} brush={brush === 'cap' ? (usable ? cap : undefined) : ''} change={setWeek} />
      <Group gap={6} aria-label="Caps in use" role="group">
        {used.map((one, i) => (
          <Button
            key={one} size="compact-xs" variant="default" leftSection={<span className={`rf-swatch rf-hour-${i % tones}`}>{i + 1}</span>}
            onClick={() => { setBrush('cap'); setDown(rateOf(one, 'down')); setUp(rateOf(one, 'up')); }}
          >
            {one}
          </Button>
        ))}
        <Text size="xs" c="dimmed">{used.length === 0 ? 'No hour has a cap.' : 'Hours without a number have no cap.'}</Text>
      </Group>
      {text.length > 0 && <pre className="rf-code">{text.join(';\n')}</pre>}
      {text.length > maxParts && <Text size="sm" c="red">A schedule has at most {maxParts} parts, and this one has {text.length}: let more days be alike.</Text>}
      <Group justify="space-between" gap="xs">
        <Button variant="subtle" color="gray" onClick={() => setWeek(emptyWeek(week.zone))}>Wipe the week</Button>
        <Group gap="xs">
          <Button variant="default" onClick={leave}>Leave it</Button>
          <Button disabled={text.length > maxParts} onClick={() => take(text.join('; '))}>Use this week</Button>
        </Group>
      </Group>
    </Stack>
  );
}

const zones = (own: string) => [...new Set([own, 'UTC', ...Intl.supportedValuesOf('timeZone')])];

/** under is the hour that the pointer is over, also while another element has captured it. */
function under(e: PointerEvent): number | undefined {
  const hour = document.elementFromPoint(e.clientX, e.clientY)?.closest<HTMLElement>('[data-hour]')?.dataset.hour;
  return hour === undefined ? undefined : Number(hour);
}

/** Hours is the week as a grid. Without a brush it is only looked at. */
function Hours({ week, used, brush, change }: { week: Week; used: string[]; brush: string | undefined; change: (w: Week) => void }) {
  const [drag, setDrag] = useState<{ from: number; to: number }>();
  const [at, setAt] = useState(0);
  const shown = drag && brush !== undefined ? paint(week, drag.from, drag.to, brush) : week;
  const all = brush !== undefined && brush !== '' && !used.includes(brush) ? [...used, brush] : used;

  const begin = (e: PointerEvent) => {
    const hour = under(e);
    if (hour === undefined || brush === undefined || e.button !== 0) return;
    e.currentTarget.setPointerCapture(e.pointerId);
    setDrag({ from: hour, to: hour });
    setAt(hour);
  };
  const go = (e: PointerEvent) => {
    const hour = under(e);
    if (drag && hour !== undefined) setDrag({ ...drag, to: hour });
  };
  const end = (e: PointerEvent) => {
    // The last moves may not have been drawn yet: where it ends counts.
    if (drag && brush !== undefined) change(paint(week, drag.from, under(e) ?? drag.to, brush));
    setDrag(undefined);
  };
  const press = (e: KeyboardEvent<HTMLElement>) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -24, ArrowDown: 24 }[e.key];
    const to = step === undefined ? at : at + step;
    if ((step === undefined && e.key !== ' ' && e.key !== 'Enter') || to < 0 || to >= hoursOfWeek) return;
    e.preventDefault();
    setAt(to);
    e.currentTarget.querySelector<HTMLElement>(`[data-hour="${to}"]`)?.focus();
    if (brush !== undefined && (step === undefined || e.shiftKey)) change(paint(week, to, to, brush));
  };

  return (
    <div>
      <div className="rf-week-row rf-week-clock" aria-hidden>
        <span />
        {[0, 3, 6, 9, 12, 15, 18, 21].map((h) => <span key={h}>{h}</span>)}
      </div>
      {/* oxlint-disable-next-line jsx-a11y/interactive-supports-focus */}
      <div role="grid" aria-label="The week by the hour" className="rf-week" onPointerDown={begin} onPointerMove={go} onPointerUp={end} onPointerCancel={() => setDrag(undefined)} onKeyDown={press}>
        {days.map((day, d) => (
          <div key={day} role="row" className="rf-week-row">
            <span role="rowheader" aria-label={day}>{day.slice(0, 3)}</span>
            {Array.from({ length: 24 }, (_, h) => {
              const hour = 24 * d + h;
              const text = shown.hours[hour] ?? '';
              const tone = all.indexOf(text);
              return (
                <div
                  key={hour} role="gridcell" data-hour={hour} tabIndex={hour === at ? 0 : -1} aria-label={`${day} ${h}:00, ${tone < 0 ? 'no cap' : `cap ${tone + 1}: ${text}`}`}
                  className={tone < 0 ? 'rf-hour' : `rf-hour rf-hour-${tone % tones}`}
                >
                  {tone < 0 ? '' : tone + 1}
                </div>
              );
            })}
          </div>
        ))}
      </div>
    </div>
  );
}
