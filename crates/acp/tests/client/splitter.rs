//! Bytes into lines, however they are cut.

use bytes::Bytes;
use futures_util::StreamExt;
use kanvoy_acp::{Cut, Incoming, Splitter, read_lines};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn split(pieces: &[&[u8]], max: usize) -> Vec<Incoming> {
    let mut splitter = Splitter::new(1, max);
    let mut lines = Vec::new();
    for piece in pieces {
        splitter.push(&Bytes::copy_from_slice(piece), &mut lines);
    }
    splitter.finish(&mut lines);
    lines
}

/// What the lines should be, said as simply as possible.
fn expected(bytes: &[u8], max: usize) -> Vec<Incoming> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let whole = |line: &[u8]| (Bytes::copy_from_slice(line), None);
    let cut = |line: &[u8]| {
        let cut = Cut { length: line.len() as u64, sha256: Sha256::digest(line).into() };
        (Bytes::copy_from_slice(&line[..line.len().min(Cut::KEPT)]), Some(Box::new(cut)))
    };
    (1..)
        .zip(lines)
        .map(|(number, line)| {
            let (bytes, cut) = if line.len() > max { cut(line) } else { whole(line) };
            Incoming { number, bytes, cut }
        })
        .collect()
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_lines(
        bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..600),
        cuts in prop::collection::vec(0_usize..600, 0..12),
        max in 1_usize..60,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(split(&pieces, max), expected(&bytes, max));
    }
}

#[test]
fn a_long_line_is_cut_at_its_bound_and_not_before() {
    for length in [Cut::KEPT - 1, Cut::KEPT, Cut::KEPT + 1, 9_999, 10_000, 10_001, 50_000] {
        let line: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
        let bytes = [&line[..], b"\nnext"].concat();
        for piece in [1, 7, 4096, bytes.len()] {
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            assert_eq!(split(&pieces, 10_000), expected(&bytes, 10_000), "{length} in pieces of {piece}");
        }
    }
}

#[tokio::test]
async fn lines_of_a_reader_have_numbers() {
    let (mut write, read) = tokio::io::duplex(7);
    let writer = async {
        for part in ["on", "e\ntwo €", "\n\nlast"] {
            tokio::io::AsyncWriteExt::write_all(&mut write, part.as_bytes()).await.unwrap();
        }
        drop(write);
    };
    let reader = read_lines(read, 100).map(Result::unwrap).collect::<Vec<_>>();
    let ((), lines) = tokio::join!(writer, reader);
    let lines: Vec<(u64, Bytes)> = lines.concat().into_iter().map(|line| (line.number, line.bytes)).collect();
    let expected = [(1, "one"), (2, "two €"), (3, ""), (4, "last")];
    assert_eq!(lines, expected.map(|(number, line)| (number, Bytes::from(line))));
}
