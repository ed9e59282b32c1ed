/** May this be pressed now? `null` when it may, a sentence when not. The server decides again anyway. */
import type { RunStatus, Task } from '@/api/types';
import { isLive } from '@/lib/lifecycle';

type May = string | null;
const NO_SERVER = 'This server does not run agents yet.';
const NOT_LIVE = 'No run is live on this card.';

export const can = {
  start(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    if (isLive(task)) return 'A run is live already.';
    if (!task.agent_type) return 'Give the card an agent first.';
    if (!['BACKLOG', 'TODO', 'IN_PROGRESS'].includes(task.state)) return 'Move the card to To do first, or retry it.';
    return null;
  },
  retry(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    if (isLive(task)) return 'A run is live: stop it first.';
    return task.attempts > 0 ? null : 'There was no attempt yet: start it.';
  },
  stop(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    return isLive(task) ? null : NOT_LIVE;
  },
  cancel(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    if (!isLive(task)) return NOT_LIVE;
    return status.turn?.state === 'running' ? null : 'No turn is running.';
  },
  hold(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    if (!isLive(task)) return NOT_LIVE;
    return status.run?.held ? 'It is held already.' : null;
  },
  freeze(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    if (!isLive(task)) return NOT_LIVE;
    if (status.instance?.runtime === 'process') return 'A process cannot be frozen; only a container can.';
    return null;
  },
  resume(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    return isLive(task) ? null : NOT_LIVE;
  },
  prompt(task: Task, status: RunStatus | null): May {
    if (!status) return NO_SERVER;
    if (!task.agent_type) return 'Give the card an agent first.';
    return null;
  },
};
