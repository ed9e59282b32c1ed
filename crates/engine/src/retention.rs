//! What goes by itself after a time: old events where a board asks for it, ended sessions, old answers.

use chrono::TimeDelta;
use kanvoy_domain::board::Retention;
use kanvoy_domain::{Actor, EventKind, Log, NewEvent, Seq};
use kanvoy_store::{Answer, BoardRow, Change, Claim, UNANSWERED_FOR_HOURS};
use serde_json::json;

use crate::{By, Engine, EngineError};

impl Engine {
    /// Removes what has had its time. Called on a timer; safe to call at any moment.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        let now = self.clock.now();
        let before = now.plus(-TimeDelta::hours(UNANSWERED_FOR_HOURS));
        self.record(&By::engine(), vec![Change::Sweep { before }], Vec::new()).await?;
        let mut after: Option<String> = None;
        loop {
            let page = self.store.boards(after.as_deref(), 200, true).await?;
            for row in &page.items {
                self.prune(row).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn prune(&self, row: &BoardRow) -> Result<(), EngineError> {
        let log = Log::Board(row.board.id);
        let through = self.dispensable(log, row.board.settings.retention, row.head_seq).await?;
        if through < row.first_seq {
            return Ok(());
        }
        let data = json!({ "id": row.board.id, "key": row.board.key, "from": row.first_seq, "to": through });
        // In the system's log: in the board's own it would be one event more, for which the next sweep removes another.
        let pruned = NewEvent::new(Log::System, EventKind::BoardPruned, self.clock.now(), Actor::engine(), &data);
        let prune = Change::Prune { board: row.board.id, through };
        self.record(&By::engine(), vec![prune], vec![pruned]).await?;
        tracing::info!(board.id = %row.board.id, "retention removed events {} to {through}", row.first_seq);
        Ok(())
    }

    /// The last event that the board's retention lets go.
    async fn dispensable(&self, log: Log, retention: Retention, head: Seq) -> Result<Seq, EngineError> {
        let by_count = retention.max_events.map_or(0, |most| head.saturating_sub(most));
        let by_age = match retention.max_age_days {
            Some(days) => {
                let moment = self.clock.now().plus(-TimeDelta::days(i64::from(days)));
                self.store.seq_before(log, moment).await?
            }
            None => 0,
        };
        Ok(by_count.max(by_age))
    }

    pub async fn keep_answer(&self, claim: &Claim, answer: Answer) -> Result<(), EngineError> {
        let kept = Change::Answer { claim: claim.clone(), answer };
        self.record(&By::engine(), vec![kept], Vec::new()).await?;
        Ok(())
    }
}
