//! What lists of tasks sort by, and the positions that a next page begins at: the same in every store, so that a list goes
//! on after a move from one to another.

use kanvoy_domain::Rank;
use kanvoy_store::{Order, StoreError, TaskQuery};

/// What an order sorts by. Every key ends in something that no two cards share.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// Marks a position as one of this order.
    mark: &'static str,
    pub keys: &'static [(&'static str, KeyKind)],
    pub falling: bool,
    /// Columns as they stand, then cards as they lie: `c` is a column, `t` a card of it.
    pub by_column: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Number,
    Rank,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Number(i64),
    Rank(Rank),
}

const BY_NUMBER: &[(&str, KeyKind)] = &[("t.number", KeyKind::Number)];
const BY_AGE: &[(&str, KeyKind)] =
    &[("t.created_at", KeyKind::Number), ("t.board", KeyKind::Number), ("t.number", KeyKind::Number)];
const BY_UPDATE: &[(&str, KeyKind)] =
    &[("t.updated_at", KeyKind::Number), ("t.board", KeyKind::Number), ("t.number", KeyKind::Number)];
const BY_LIE: &[(&str, KeyKind)] = &[
    ("c.board", KeyKind::Number),
    ("c.position", KeyKind::Number),
    ("t.rank", KeyKind::Rank),
    ("t.number", KeyKind::Number),
];

impl Sort {
    pub fn of(query: &TaskQuery) -> Self {
        let (mark, keys, falling) = match (query.order, query.board) {
            (Order::Oldest, Some(_)) => ("n", BY_NUMBER, false),
            (Order::Newest, Some(_)) => ("N", BY_NUMBER, true),
            (Order::Oldest, None) => ("a", BY_AGE, false),
            (Order::Newest, None) => ("A", BY_AGE, true),
            (Order::Updated, _) => ("U", BY_UPDATE, true),
            (Order::Lie, _) => ("l", BY_LIE, false),
        };
        Self { mark, keys, falling, by_column: query.order == Order::Lie }
    }

    /// `n12`, `l3.0.m0kT.12`: the mark and the keys, as a row has them.
    pub fn write(self, mut key: impl FnMut(usize, KeyKind) -> String) -> String {
        let keys: Vec<String> = self.keys.iter().enumerate().map(|(at, (_, kind))| key(at, *kind)).collect();
        format!("{}{}", self.mark, keys.join("."))
    }

    pub fn read(self, text: &str) -> Result<Vec<Key>, StoreError> {
        let parts: Vec<&str> = text.strip_prefix(self.mark).ok_or(StoreError::BadCursor)?.split('.').collect();
        if parts.len() != self.keys.len() {
            return Err(StoreError::BadCursor);
        }
        let key = |(part, (_, kind)): (&&str, &(&str, KeyKind))| match kind {
            KeyKind::Number => part.parse().map(Key::Number).map_err(|_| StoreError::BadCursor),
            KeyKind::Rank => part.parse().map(Key::Rank).map_err(|_| StoreError::BadCursor),
        };
        parts.iter().zip(self.keys).map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use kanvoy_domain::BoardId;

    use super::*;

    #[test]
    fn positions_of_other_lists_are_refused() {
        let sort = |order, board: Option<u128>| {
            let board = board.map(|id| BoardId::from_uuid(uuid::Uuid::from_u128(id)));
            Sort::of(&TaskQuery { order, board, ..TaskQuery::default() })
        };
        assert_eq!(sort(Order::Oldest, Some(1)).read("n12").expect("is one"), [Key::Number(12)]);
        assert_eq!(sort(Order::Lie, Some(1)).read("l1.0.V.3").expect("is one").len(), 4);
        for bad in ["", "n", "12", "N12", "n12.1", "n1x", "n 1", "l1.0.V.3", "ünf"] {
            assert!(matches!(sort(Order::Oldest, Some(1)).read(bad), Err(StoreError::BadCursor)), "{bad:?}");
        }
        for bad in ["l1.0..3", "l1.0.!.3", "l1.0.V0.3", "l1.0.V", "n1"] {
            assert!(matches!(sort(Order::Lie, Some(1)).read(bad), Err(StoreError::BadCursor)), "{bad:?}");
        }
    }
}
