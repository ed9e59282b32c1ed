import { useEffect, useState } from 'react';
import { followTask, type LiveStatus, readBack } from '@/api/live';
import { taskEvents } from '@/api/queries';
import { applyEvents, empty, prepend, type Transcript } from './transcript';

/** How far back the page looks at first, and with each step further, in places of the board's log. */
const STEP = 3_000;

export function useTranscript(task: string, head: number) {
  const [start] = useState(() => Math.max(0, head - STEP));
  const [view, setView] = useState<Transcript>(empty);
  const [status, setStatus] = useState<LiveStatus>({ state: 'connecting' });
  const [from, setFrom] = useState(start);
  const [reading, setReading] = useState(false);

  useEffect(() => {
    setView(empty);
    setFrom(start);
    return followTask(task, start, {
      events: (events) => setView((before) => applyEvents(before, events)),
      status: setStatus,
    });
  }, [task, start]);

  const earlier = async () => {
    if (reading || from === 0) return;
    setReading(true);
    try {
      const after = Math.max(0, from - STEP);
      const events = await readBack((cursor) => taskEvents(task, cursor), after, from);
      setView((before) => prepend(before, events));
      setFrom(after);
    } finally {
      setReading(false);
    }
  };
  return { view, status, more: from > 0, reading, earlier };
}
