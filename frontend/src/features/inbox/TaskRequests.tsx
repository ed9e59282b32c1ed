import { useQuery } from '@tanstack/react-query';
import { requestsQuery } from '@/api/queries';
import { RequestCard } from './RequestCard';

/** What waits for a person on one card. */
export function TaskRequests({ taskId }: { taskId: string }) {
  const { data } = useQuery(requestsQuery);
  const mine = data?.filter((request) => request.task_id === taskId) ?? [];
  if (mine.length === 0) return null;
  return (
    <section
      aria-label="Waits for you"
      className="flex flex-col gap-4 border-t-2 border-warn bg-warn-soft/40 px-4 py-3"
    >
      {mine.map((request) => (
        <RequestCard key={request.id} request={request} />
      ))}
    </section>
  );
}
