//! People, members, and what their logins become.

use kanvoy_store::{Change, StoreError};

use super::Plan;
use crate::ledger::Ledger;
use crate::script::{Expect, Missed, Value, int};
use crate::tables::{self, member_row, person_fields, person_row};

impl<'m> Plan<'m> {
    pub(super) fn people(&mut self, change: &'m Change, ledger: &Ledger) -> Result<(), StoreError> {
        match change {
            Change::NewUser(user) => self.script.row(&tables::PERSON, person_row(user)),
            Change::User(user) => {
                let mut values = person_fields(user);
                values.extend([Value::Id(*user.id.uuid().as_bytes()), int(user.rev)]);
                self.script.step(
                    "UPDATE person SET display_name = ?, role = ?, password = ?, disabled_at = ?, updated_at = ?,
                        version = ?, rev = rev + 1
                     WHERE id = ? AND rev = ?",
                    values,
                    Expect::Changed(1, Missed::Changed),
                );
            }
            Change::NewMember(member) => {
                self.script.row(&tables::MEMBER, member_row(ledger.seen(member.board)?.log, member));
            }
            Change::EndMember { board, user } => {
                let values = vec![Value::Int(ledger.seen(*board)?.log), Value::Id(*user.uuid().as_bytes())];
                self.script.step("DELETE FROM member WHERE board = ? AND person = ?", values, Expect::Anything);
            }
            Change::RefreshSession { id, from, to, expires_at } => self.script.step(
                "UPDATE session SET refresh = ?, expires_at = ? WHERE id = ? AND refresh = ?",
                vec![
                    Value::Blob(to),
                    Value::Int(expires_at.millis()),
                    Value::Id(*id.uuid().as_bytes()),
                    Value::Blob(from),
                ],
                Expect::Changed(1, Missed::Changed),
            ),
            Change::EndSession(id) => {
                let values = vec![Value::Id(*id.uuid().as_bytes())];
                self.script.step("DELETE FROM session WHERE id = ?", values, Expect::Anything);
            }
            _ => {}
        }
        Ok(())
    }
}
