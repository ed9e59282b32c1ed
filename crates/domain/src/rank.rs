//! A card's place among its neighbours: a short text that sorts, so that dropping a card writes one row.
//!
//! Ranks are fractions written in base 62 after an unwritten point. Cards that arrive at the end of a column take their
//! rank from the time, so that a thousand clients can add cards at once without asking for the last rank. Two cards may
//! share a rank (the same millisecond); their numbers then decide, and [`make_room`] parts them when somebody drops a card
//! between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// In the order of ASCII, which is the order in which databases and browsers compare.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// First digit of every rank that comes from the time: what is dropped between cards has all lower digits for itself.
const ARRIVED: char = 'm';

/// Longer than this and the neighbours are spread anew.
pub const MAX_LEN: usize = 48;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rank(String);

impl Rank {
    /// The end of a column, now.
    pub fn arrived(now: Timestamp) -> Self {
        let mut millis = u64::try_from(now.millis()).unwrap_or_default();
        let mut digits = [b'0'; 8];
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[(millis % 62) as usize];
            millis /= 62;
        }
        let digits: String = digits.iter().map(|digit| *digit as char).collect();
        Self(trimmed(format!("{ARRIVED}{digits}")))
    }

    /// Below `last`, at the end of its column: now, unless `last` is of this very moment or the clock was set back behind it.
    pub fn at_end(last: Option<&Self>, now: Timestamp) -> Self {
        let arrived = Self::arrived(now);
        match last {
            Some(last) if *last >= arrived => last.next(),
            _ => arrived,
        }
    }

    /// Counted up by one in the last place: as short as it was, so that a column can grow for ever.
    fn next(&self) -> Self {
        let mut digits = self.0.clone().into_bytes();
        while let Some(last) = digits.pop() {
            if let Some(up) = DIGITS.get(value(last) + 1) {
                digits.push(*up);
                return Self(digits.iter().map(|digit| *digit as char).collect());
            }
        }
        // All were the highest digit: there is room only behind them, and room to count there for a long time.
        Self(format!("{self}00000001"))
    }

    /// Strictly between the two, as short as possible. `None` when nothing fits: they are equal or out of order.
    pub fn between(above: Option<&Self>, below: Option<&Self>) -> Option<Self> {
        let low = above.map_or(&b""[..], |rank| rank.0.as_bytes());
        let high = below.map(|rank| rank.0.as_bytes());
        if high.is_some_and(|high| low >= high) {
            return None;
        }
        let mut rank = String::new();
        let mut bounded = high.is_some();
        for place in 0.. {
            let from = low.get(place).map_or(0, |digit| value(*digit));
            let to = match high {
                Some(high) if bounded => high.get(place).map_or(0, |digit| value(*digit)),
                _ => 62,
            };
            if to - from >= 2 {
                rank.push(DIGITS[(from + to) / 2] as char);
                return Some(Self(rank));
            }
            // No digit fits between: keep the lower one and look a place further, where the upper bound holds no more
            // once the two have parted.
            rank.push(DIGITS[from] as char);
            bounded = bounded && from == to;
        }
        None
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Makes a place at `index` among `ranks` (sorted, as the cards lie). Gives the rank for it and new ranks for those
/// neighbours, if any, that lay too close together; nobody changes places.
pub fn make_room(ranks: &[Rank], index: usize) -> (Rank, Vec<(usize, Rank)>) {
    let index = index.min(ranks.len());
    let above = index.checked_sub(1).map(|above| &ranks[above]);
    if let Some(rank) = Rank::between(above, ranks.get(index))
        && rank.0.len() <= MAX_LEN
    {
        return (rank, Vec::new());
    }
    // Take in neighbours on both sides until all of them fit, evenly, between two that stay.
    let (mut from, mut to) = (index, index);
    loop {
        from = from.saturating_sub(1);
        to = (to + 1).min(ranks.len());
        let above = from.checked_sub(1).map(|above| &ranks[above]);
        if let Some(mut spread) = spread(above, ranks.get(to), to - from + 1) {
            let mine = spread.remove(index - from);
            return (mine, (from..to).zip(spread).collect());
        }
    }
}

/// `count` ranks between the two, halving again and again. `None` when they would grow too long.
fn spread(above: Option<&Rank>, below: Option<&Rank>, count: usize) -> Option<Vec<Rank>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let middle = Rank::between(above, below)?;
    // With no bounds at all there is always room; with bounds a length limit keeps ranks short.
    if middle.0.len() > MAX_LEN && (above.is_some() || below.is_some()) {
        return None;
    }
    let before = (count - 1) / 2;
    let mut ranks = spread(above, Some(&middle), before)?;
    let after = spread(Some(&middle), below, count - 1 - before)?;
    ranks.push(middle);
    ranks.extend(after);
    Some(ranks)
}

fn value(digit: u8) -> usize {
    DIGITS.iter().position(|known| *known == digit).unwrap_or(0)
}

/// A rank never ends in the lowest digit: below it there would be no room.
fn trimmed(mut digits: String) -> String {
    while digits.ends_with('0') {
        digits.pop();
    }
    digits
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Rank> for String {
    fn from(rank: Rank) -> Self {
        rank.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a rank")]
pub struct NotARank;

impl FromStr for Rank {
    type Err = NotARank;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sound = !text.is_empty() && text.bytes().all(|digit| DIGITS.contains(&digit)) && !text.ends_with('0');
        if sound { Ok(Self(text.to_owned())) } else { Err(NotARank) }
    }
}

impl TryFrom<String> for Rank {
    type Error = NotARank;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rank(text: &str) -> Rank {
        text.parse().expect("a rank")
    }

    #[test]
    fn between_is_short_and_between() {
        let check = |above: &str, below: &str, expected: Option<&str>| {
            let bound = |text: &str| (!text.is_empty()).then(|| rank(text));
            let got = Rank::between(bound(above).as_ref(), bound(below).as_ref());
            assert_eq!(got.as_ref().map(Rank::as_str), expected, "between {above:?} and {below:?}");
        };
        check("", "", Some("V"));
        check("V", "", Some("k"));
        check("", "V", Some("F"));
        check("A", "B", Some("AV"));
        check("A", "AV", Some("AF"));
        check("z", "", Some("zV"));
        check("A", "A", None);
        check("B", "A", None);
        check("", "01", Some("00V"));
    }

    #[test]
    fn arrivals_sort_by_time_and_behind_what_was_dropped_at_the_end() {
        let now = Timestamp::from_millis(1_795_158_000_123);
        let later = Timestamp::from_millis(1_795_158_000_124);
        assert!(Rank::arrived(now) < Rank::arrived(later));
        let last = Rank::at_end(Some(&Rank::arrived(later)), now);
        assert!(last > Rank::arrived(later), "a clock set back does not put the last card before others");
    }

    #[test]
    fn a_column_grows_at_its_end_and_its_ranks_do_not() {
        let now = Timestamp::from_millis(1_795_158_000_123);
        for first in ["m0VbVSUft", "t", "zz", "mzzzzzzzz"] {
            let mut last = rank(first);
            for _ in 0..10_000 {
                let next = Rank::at_end(Some(&last), now);
                assert!(next > last && next.as_str().parse::<Rank>().is_ok(), "{next} after {last}");
                last = next;
            }
            assert!(last.as_str().len() <= MAX_LEN, "{last}");
        }
    }

    proptest! {
        /// Drop cards anywhere, a thousand times, on ranks that may be equal to begin with: the order is what was asked
        /// for, nobody else changes places, and ranks stay short.
        #[test]
        fn drops_keep_the_order(start in 0usize..6, drops in prop::collection::vec(0.0f64..1.0, 1..400)) {
            let tied = Rank::arrived(Timestamp::from_millis(1_795_158_000_123));
            let mut ranks = vec![tied; start];
            let mut cards: Vec<usize> = (0..start).collect();
            for (card, place) in drops.into_iter().enumerate() {
                let index = ((ranks.len() + 1) as f64 * place) as usize;
                let (mine, moved) = make_room(&ranks, index);
                for (at, rank) in moved {
                    ranks[at] = rank;
                }
                ranks.insert(index, mine);
                cards.insert(index, 1000 + card);
                if index > 0 {
                    prop_assert!(ranks[index - 1] < ranks[index]);
                }
                if index + 1 < ranks.len() {
                    prop_assert!(ranks[index] < ranks[index + 1]);
                }
                prop_assert!(ranks.windows(2).all(|pair| pair[0] <= pair[1]));
                prop_assert!(ranks[index].as_str().len() <= MAX_LEN);
            }
        }

        #[test]
        fn always_the_same_gap(left in any::<bool>()) {
            let mut ranks = vec![rank("A"), rank("B")];
            for _ in 0..500 {
                let index = if left { 1 } else { ranks.len() - 1 };
                let (mine, moved) = make_room(&ranks, index);
                for (at, rank) in moved {
                    ranks[at] = rank;
                }
                ranks.insert(index, mine);
                prop_assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }
}
