//! Statements on their way to a connection, as data: a store runs them with as few trips as it can.

use std::borrow::Cow;

use kanvoy_domain::TaskId;
use kanvoy_store::StoreError;

#[derive(Clone, Debug)]
pub enum Value<'m> {
    Null,
    Int(i64),
    Text(Cow<'m, str>),
    Blob(&'m [u8]),
    Id([u8; 16]),
}

/// What a column of [`Rows`] holds, where the text alone does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
    Blob,
    Id,
}

/// A statement that takes any number of rows: between `head` and `tail` comes a list whose columns are called `column1`,
/// `column2` and so on, as `VALUES` calls them.
#[derive(Debug)]
pub struct Rows {
    pub head: &'static str,
    pub columns: &'static [Kind],
    pub tail: &'static str,
}

/// How many rows a statement must have changed, or who has missed what.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    Anything,
    Changed(u64, Missed),
}

/// What was not as the commit counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The row is there no more.
    Gone,
    /// Another row is there, or was changed.
    Changed,
    /// Either, as the row of this task may tell.
    Task(TaskId),
}

#[derive(Debug)]
pub enum Item<'m> {
    Step { sql: Cow<'static, str>, values: Vec<Value<'m>>, expect: Expect },
    Rows { rows: &'static Rows, values: Vec<Value<'m>> },
}

#[derive(Debug, Default)]
pub struct Script<'m> {
    pub items: Vec<Item<'m>>,
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
        debug_assert_eq!(row.len(), rows.columns.len(), "{}", rows.head);
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
                        self.row(rows, values.by_ref().take(rows.columns.len()).collect());
                    }
                }
                step @ Item::Step { .. } => self.items.push(step),
            }
        }
    }
}

/// Why a script stopped.
#[derive(Debug)]
pub enum Stop {
    /// A rule of the tables was broken.
    Refused(StoreError),
    Missed(Missed),
    /// Nothing is known of the transaction any more.
    Broken(StoreError),
}

/// Text of a row, borrowed for as long as its commit lives.
pub fn text<'m>(text: &'m str) -> Value<'m> {
    Value::Text(Cow::Borrowed(text))
}

pub fn maybe_text<'m>(value: Option<&'m str>) -> Value<'m> {
    value.map_or(Value::Null, text)
}

/// Numbers of ours are far below 2^63.
pub fn int(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
