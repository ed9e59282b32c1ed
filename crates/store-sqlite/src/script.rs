//! Scripts on the writer's connection.
//!
//! A trip to the connection's thread and back costs more than most statements do. So rows of one table travel together in
//! one `INSERT`, and small statements travel together in one text, which SQLite takes one after another.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use kanvoy_store::StoreError;
use kanvoy_store_sql::{Expect, Item, Rows, Script, Stop, Value};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, SqliteConnection};

use crate::error::{broken, refused};

/// Rows that share a text with other statements. A larger statement travels alone, so that there are few different texts,
/// all of which SQLite keeps compiled.
const SMALL: usize = 8;

/// SQLite's limit of `?` in one statement.
const MAX_VALUES: usize = 32_766;

/// The texts of multi-row statements, by their rows: powers of two, so that they are few.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    known: HashMap<(&'static str, usize), Arc<str>>,
}

impl Texts {
    fn of(&mut self, rows: &'static Rows, count: usize) -> Arc<str> {
        let text = self.known.entry((rows.head, count)).or_insert_with(|| {
            let row = format!("({})", vec!["?"; rows.columns.len()].join(", "));
            format!("{} VALUES {} {}", rows.head, vec![row.as_str(); count].join(", "), rows.tail).into()
        });
        Arc::clone(text)
    }
}

/// Statements on their way.
#[derive(Default)]
struct Trip {
    sql: String,
    arguments: SqliteArguments,
    expects: Vec<Expect>,
    weight: usize,
}

pub(crate) async fn run(script: Script<'_>, connection: &mut SqliteConnection, texts: &mut Texts) -> Result<(), Stop> {
    let mut trip = Trip::default();
    for item in script.items {
        match item {
            Item::Step { sql, values, expect } => {
                trip.make_room(1, connection).await?;
                trip.add(&sql, values, expect)?;
                trip.weight += 1;
            }
            Item::Rows { rows, values } => {
                let mut left = values.len() / rows.columns.len();
                let mut values = values.into_iter();
                while left > 0 {
                    let most = left.min(MAX_VALUES / rows.columns.len());
                    let count = 1 << most.ilog2();
                    trip.make_room(count, connection).await?;
                    let text = texts.of(rows, count);
                    trip.add(&text, values.by_ref().take(count * rows.columns.len()), Expect::Anything)?;
                    trip.weight += count;
                    left -= count;
                }
            }
        }
    }
    trip.send(connection).await
}

impl Trip {
    async fn make_room(&mut self, weight: usize, connection: &mut SqliteConnection) -> Result<(), Stop> {
        if self.weight > 0 && self.weight + weight > SMALL {
            std::mem::take(self).send(connection).await?;
        }
        Ok(())
    }

    fn add<'m>(&mut self, sql: &str, values: impl IntoIterator<Item = Value<'m>>, expect: Expect) -> Result<(), Stop> {
        self.sql.push_str(sql);
        self.sql.push_str(";\n");
        for value in values {
            let added = match value {
                Value::Null => self.arguments.add(None::<i64>),
                Value::Int(int) => self.arguments.add(int),
                Value::Text(Cow::Owned(text)) => self.arguments.add(text),
                Value::Text(Cow::Borrowed(text)) => self.arguments.add(text),
                Value::Blob(bytes) => self.arguments.add(bytes),
                Value::Id(id) => self.arguments.add(&id[..]),
            };
            added.map_err(|error| Stop::Broken(StoreError::Unavailable(error.to_string())))?;
        }
        self.expects.push(expect);
        Ok(())
    }

    async fn send(self, connection: &mut SqliteConnection) -> Result<(), Stop> {
        if self.expects.is_empty() {
            return Ok(());
        }
        // Safe: put together from the texts of this crate and question marks alone.
        let query = sqlx::query_with(AssertSqlSafe(self.sql), self.arguments);
        let mut done = connection.fetch_many(query);
        let mut expects = self.expects.into_iter();
        let mut missed = None;
        loop {
            match done.try_next().await {
                Ok(None) => return missed.map_or(Ok(()), |missed| Err(Stop::Missed(missed))),
                Ok(Some(Either::Right(_))) => {}
                Ok(Some(Either::Left(result))) => {
                    if let Some(Expect::Changed(rows, miss)) = expects.next()
                        && result.rows_affected() != rows
                    {
                        missed.get_or_insert(miss);
                    }
                }
                // Of a row that is not there, the statements that follow cannot be expected to find their places: what
                // was missed first is what is told.
                Err(error) => {
                    return Err(match (refused(&error), missed) {
                        (Some(_), Some(missed)) => Stop::Missed(missed),
                        (Some(refused), None) => Stop::Refused(refused),
                        (None, _) => Stop::Broken(broken(&error)),
                    });
                }
            }
        }
    }
}
