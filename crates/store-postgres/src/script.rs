//! Scripts on the writer's connection.
//!
//! Every statement is a trip to the server and back, so rows of one table travel together in one `INSERT … SELECT FROM
//! UNNEST`, an array for each column: one text however many rows there are, which the server keeps compiled. Statements
//! without values, such as those around savepoints, travel together with one another.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use kanvoy_store::StoreError;
use kanvoy_store_sql::{Expect, Item, Kind, Rows, Script, Stop, Value};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, AssertSqlSafe, Encode, PgConnection, Postgres, Type};
use uuid::Uuid;

use crate::error::{broken, passing, refused};

/// Rows of one statement: their arrays are a few megabytes at most, unless the rows themselves are long.
const ROWS: usize = 4_096;

/// Bytes of one statement's values, more or less: the server takes a gigabyte, but holds it in memory several times.
const BYTES: usize = 16 << 20;

/// A failure, and whether it is likely to pass.
pub(crate) struct Failed {
    pub stop: Stop,
    pub passing: bool,
}

/// Texts as the server takes them, by the texts of scripts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    rows: HashMap<&'static str, Arc<str>>,
    steps: HashMap<&'static str, Arc<str>>,
}

impl Texts {
    fn of_rows(&mut self, rows: &'static Rows) -> Arc<str> {
        let text = self.rows.entry(rows.head).or_insert_with(|| {
            let names: Vec<String> = (1..=rows.columns.len()).map(|at| format!("column{at}")).collect();
            let arrays: Vec<String> = (rows.columns.iter().zip(1..))
                .map(|(kind, at)| {
                    let element = match kind {
                        Kind::Int => "int8",
                        Kind::Text => "text",
                        Kind::Blob => "bytea",
                        Kind::Id => "uuid",
                    };
                    format!("${at}::{element}[]")
                })
                .collect();
            let (names, arrays) = (names.join(", "), arrays.join(", "));
            format!("{} SELECT {names} FROM UNNEST({arrays}) AS given ({names}) {}", rows.head, rows.tail).into()
        });
        Arc::clone(text)
    }

    fn of_step(&mut self, sql: Cow<'static, str>) -> Arc<str> {
        match sql {
            Cow::Borrowed(sql) => Arc::clone(self.steps.entry(sql).or_insert_with(|| numbered(sql).into())),
            Cow::Owned(sql) => numbered(&sql).into(),
        }
    }
}

/// `?` becomes `$1`, `$2` and so on. No text of ours has a question mark for anything else.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 16);
    for (at, part) in sql.split('?').enumerate() {
        if at > 0 {
            // A string takes it.
            let _ = write!(text, "${at}");
        }
        text.push_str(part);
    }
    text
}

pub(crate) async fn run(script: Script<'_>, connection: &mut PgConnection, texts: &mut Texts) -> Result<(), Failed> {
    let mut plain = String::new();
    for item in script.items {
        match item {
            Item::Step { sql, values, expect: Expect::Anything } if values.is_empty() => {
                plain.push_str(&sql);
                plain.push(';');
            }
            Item::Step { sql, values, expect } => {
                send_plain(&mut plain, connection).await?;
                let mut arguments = PgArguments::default();
                for value in values {
                    add(&mut arguments, value).map_err(unsendable)?;
                }
                let changed = send(texts.of_step(sql), arguments, connection).await?;
                match expect {
                    Expect::Changed(rows, missed) if changed != rows => {
                        return Err(Failed { stop: Stop::Missed(missed), passing: false });
                    }
                    _ => {}
                }
            }
            Item::Rows { rows, values } => {
                send_plain(&mut plain, connection).await?;
                let text = texts.of_rows(rows);
                let mut values = values.into_iter();
                while values.len() > 0 {
                    let arguments = arrays(rows, &mut values).map_err(unsendable)?;
                    send(Arc::clone(&text), arguments, connection).await?;
                }
            }
        }
    }
    send_plain(&mut plain, connection).await
}

async fn send_plain(plain: &mut String, connection: &mut PgConnection) -> Result<(), Failed> {
    if plain.is_empty() {
        return Ok(());
    }
    // Safe: put together from texts of ours alone.
    let sent = sqlx::raw_sql(AssertSqlSafe(std::mem::take(plain))).execute(connection).await;
    sent.map(drop).map_err(|error| failed(&error))
}

async fn send(text: Arc<str>, arguments: PgArguments, connection: &mut PgConnection) -> Result<u64, Failed> {
    // Safe: a text of ours, with its question marks numbered.
    let sent = sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await;
    sent.map(|done| done.rows_affected()).map_err(|error| failed(&error))
}

pub(crate) fn failed(error: &sqlx::Error) -> Failed {
    let stop = refused(error).map_or_else(|| Stop::Broken(broken(error)), Stop::Refused);
    Failed { stop, passing: passing(error) }
}

fn unsendable(error: BoxDynError) -> Failed {
    Failed { stop: Stop::Broken(StoreError::Unavailable(error.to_string())), passing: false }
}

fn add(arguments: &mut PgArguments, value: Value<'_>) -> Result<(), BoxDynError> {
    match value {
        Value::Null => arguments.add(Nothing),
        Value::Int(int) => arguments.add(int),
        Value::Text(text) => arguments.add(&*text),
        Value::Blob(bytes) => arguments.add(bytes),
        Value::Id(id) => arguments.add(Uuid::from_bytes(id)),
    }
}

/// NULL of whatever type its place has: the server finds out.
struct Nothing;

impl Type<Postgres> for Nothing {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Nothing {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// The values of one column.
enum Array<'m> {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<Cow<'m, str>>>),
    Blob(Vec<Option<&'m [u8]>>),
    Id(Vec<Option<Uuid>>),
}

impl<'m> Array<'m> {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Int(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
            Kind::Blob => Self::Blob(Vec::new()),
            Kind::Id => Self::Id(Vec::new()),
        }
    }

    /// How many bytes it has grown by.
    fn push(&mut self, value: Value<'m>) -> Result<usize, BoxDynError> {
        match (self, value) {
            (Self::Int(all), Value::Int(int)) => all.push(Some(int)),
            (Self::Int(all), Value::Null) => all.push(None),
            (Self::Text(all), Value::Text(text)) => {
                let size = text.len();
                all.push(Some(text));
                return Ok(size);
            }
            (Self::Text(all), Value::Null) => all.push(None),
            (Self::Blob(all), Value::Blob(bytes)) => {
                all.push(Some(bytes));
                return Ok(bytes.len());
            }
            (Self::Blob(all), Value::Null) => all.push(None),
            (Self::Id(all), Value::Id(id)) => all.push(Some(Uuid::from_bytes(id))),
            (Self::Id(all), Value::Null) => all.push(None),
            (_, value) => return Err(format!("{value:?} is in a column of another kind").into()),
        }
        Ok(8)
    }

    fn add(&self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Int(all) => arguments.add(all),
            Self::Text(all) => arguments.add(all),
            Self::Blob(all) => arguments.add(all),
            Self::Id(all) => arguments.add(all),
        }
    }
}

/// As many of the next rows as one statement takes, at least one.
fn arrays<'m>(rows: &Rows, values: &mut std::vec::IntoIter<Value<'m>>) -> Result<PgArguments, BoxDynError> {
    let mut arrays: Vec<Array<'m>> = rows.columns.iter().map(|kind| Array::new(*kind)).collect();
    let (mut count, mut size) = (0, 0);
    while values.len() > 0 && count < ROWS && size < BYTES {
        for array in &mut arrays {
            size += values.next().map_or(Ok(0), |value| array.push(value))?;
        }
        count += 1;
    }
    let mut arguments = PgArguments::default();
    for array in &arrays {
        array.add(&mut arguments)?;
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use kanvoy_store_sql::tables;

    use super::*;

    #[test]
    fn texts_are_made_as_the_server_takes_them() {
        assert_eq!(numbered("a = ? AND (b, c) IN (VALUES (?, ?))"), "a = $1 AND (b, c) IN (VALUES ($2, $3))");
        assert_eq!(
            &*Texts::default().of_rows(&tables::BLOCKER),
            "INSERT INTO blocker (task, blocker) SELECT column1, column2 FROM UNNEST($1::uuid[], $2::uuid[]) \
             AS given (column1, column2) ON CONFLICT DO NOTHING"
        );
    }

    #[test]
    fn long_rows_travel_in_several_statements() {
        let text = "x".repeat(BYTES / 2);
        let row = || [Value::Text(text.as_str().into()), Value::Text("k".into()), Value::Blob(&[1; 32]), Value::Int(1)];
        let mut values = std::iter::repeat_with(row).take(3).flatten().collect::<Vec<_>>().into_iter();
        arrays(&tables::CLAIM, &mut values).expect("two of them");
        assert_eq!(values.len(), 4);
        arrays(&tables::CLAIM, &mut values).expect("the last");
        assert_eq!(values.len(), 0);
    }
}
