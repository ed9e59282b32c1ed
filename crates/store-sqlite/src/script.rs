//! Statements for the writer's connection, and how they get there.
//!
//! A trip to the connection's thread and back costs more than most statements do. So rows of one table travel together in
//! one `INSERT`, and small statements travel together in one text, which SQLite takes one after another.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use kanvoy_domain::TaskId;
use kanvoy_store::StoreError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, SqliteConnection};

use crate::error::{broken, refused};

#[derive(Clone, Debug)]
pub(crate) enum Value<'m> {
    Null,
    Int(i64),
    Text(Cow<'m, str>),
    Blob(&'m [u8]),
    Id([u8; 16]),
}

/// A statement that takes any number of rows: `head (?, ?), (?, ?) tail`.
#[derive(Debug)]
pub(crate) struct Rows {
    pub head: &'static str,
    pub columns: usize,
    pub tail: &'static str,
}

/// How many rows a statement must have changed, or who has missed what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    Anything,
    Changed(u64, Missed),
}

/// What was not as the commit counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The row is there no more.
    Gone,
    /// Another row is there, or was changed.
    Changed,
    /// Either, as the row of this task may tell.
    Task(TaskId),
}

#[derive(Debug)]
enum Item<'m> {
    Step { sql: Cow<'static, str>, values: Vec<Value<'m>>, expect: Expect },
    Rows { rows: &'static Rows, values: Vec<Value<'m>> },
}

#[derive(Debug, Default)]
pub(crate) struct Script<'m> {
    items: Vec<Item<'m>>,
}

impl<'m> Script<'m> {
    pub fn step(&mut self, sql: &'static str, values: Vec<Value<'m>>, expect: Expect) {
        self.items.push(Item::Step { sql: Cow::Borrowed(sql), values, expect });
    }

    /// A step whose text was put together for as many values as there are.
    pub fn step_with(&mut self, sql: String, values: Vec<Value<'m>>, expect: Expect) {
        self.items.push(Item::Step { sql: Cow::Owned(sql), values, expect });
    }

    /// Joins the rows of the same statement that were added since the last step.
    pub fn row(&mut self, rows: &'static Rows, row: Vec<Value<'m>>) {
        debug_assert_eq!(row.len(), rows.columns, "{}", rows.head);
        for item in self.items.iter_mut().rev() {
            match item {
                Item::Rows { rows: same, values } if std::ptr::eq(*same, rows) => {
                    values.extend(row);
                    return;
                }
                Item::Rows { .. } => {}
                Item::Step { .. } => break,
            }
        }
        self.items.push(Item::Rows { rows, values: row });
    }

    pub fn append(&mut self, other: Self) {
        for item in other.items {
            match item {
                Item::Rows { rows, values } => {
                    let mut values = values.into_iter();
                    while values.len() > 0 {
                        self.row(rows, values.by_ref().take(rows.columns).collect());
                    }
                }
                step @ Item::Step { .. } => self.items.push(step),
            }
        }
    }
}

/// Why a script stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A rule of the tables was broken.
    Refused(StoreError),
    Missed(Missed),
    /// Nothing is known of the transaction any more.
    Broken(StoreError),
}

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
            let row = format!("({})", vec!["?"; rows.columns].join(", "));
            format!("{} {} {}", rows.head, vec![row.as_str(); count].join(", "), rows.tail).into()
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

impl Script<'_> {
    pub async fn run(self, connection: &mut SqliteConnection, texts: &mut Texts) -> Result<(), Stop> {
        let mut trip = Trip::default();
        for item in self.items {
            match item {
                Item::Step { sql, values, expect } => {
                    trip.make_room(1, connection).await?;
                    trip.add(&sql, values, expect)?;
                    trip.weight += 1;
                }
                Item::Rows { rows, values } => {
                    let mut left = values.len() / rows.columns;
                    let mut values = values.into_iter();
                    while left > 0 {
                        let most = left.min(MAX_VALUES / rows.columns);
                        let count = 1 << most.ilog2();
                        trip.make_room(count, connection).await?;
                        let text = texts.of(rows, count);
                        trip.add(&text, values.by_ref().take(count * rows.columns), Expect::Anything)?;
                        trip.weight += count;
                        left -= count;
                    }
                }
            }
        }
        trip.send(connection).await
    }
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

/// Text of a row, borrowed for as long as its commit lives.
pub(crate) fn text<'m>(text: &'m str) -> Value<'m> {
    Value::Text(Cow::Borrowed(text))
}

pub(crate) fn maybe_text<'m>(value: Option<&'m str>) -> Value<'m> {
    value.map_or(Value::Null, text)
}

/// Numbers of ours are far below 2^63.
pub(crate) fn int(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
