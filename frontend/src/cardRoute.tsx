/** The open card, put together from what three features draw. */
import { getRouteApi } from '@tanstack/react-router';
import { CardPanel } from './features/card/CardPanel';
import { TaskRequests } from './features/inbox/TaskRequests';
import { ReviewTab } from './features/review/ReviewTab';

const route = getRouteApi('/inside/boards/$board/cards/$number');

export function CardRoute() {
  const { board, number } = route.useParams();
  const { tab, wide } = route.useSearch();
  return (
    <CardPanel
      key={number}
      boardKey={board}
      number={Number(number)}
      tab={tab ?? 'activity'}
      wide={wide ?? false}
      requests={(taskId) => <TaskRequests taskId={taskId} />}
      review={(task) => <ReviewTab task={task} />}
    />
  );
}
