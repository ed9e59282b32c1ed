//! A disk without room: what cannot be kept is refused, what was kept can be read, and when there is room again the store
//! goes on as if nothing had been.
//!
//! The test runs itself once more with the signal ignored that would end it, and limits the size of files: to SQLite that is
//! a disk that takes no more.

use std::process::Command;
use std::sync::Arc;

use kanvoy_domain::event::{EventKind, Log, NewEvent};
use kanvoy_domain::{Actor, Timestamp};
use kanvoy_store::{Commit, EventQuery, Kinds, Store, StoreError};
use kanvoy_store_sqlite::SqliteStore;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Given to the second of the two as a name of tests to leave out, of which there is none.
const SECOND: &str = "the-second-of-the-two";

#[test]
fn a_full_disk_refuses_and_recovers() {
    if std::env::args().any(|argument| argument == SECOND) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(under_the_limit());
    }
    let itself = std::env::current_exe().expect("has a name");
    let script = format!("trap '' XFSZ; exec \"$0\" --exact a_full_disk_refuses_and_recovers --skip {SECOND}");
    let done = Command::new("sh").arg("-c").arg(script).arg(itself).output().expect("runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "it was really run: {said}");
}

async fn under_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("kanvoy.db"), Arc::new(())).await.expect("opens");
    let at = Timestamp::from_millis(1_795_158_000_123);
    let event = NewEvent::new(Log::System, EventKind::DaemonRepaired, at, Actor::engine(), &"x".repeat(1_000));
    let commit = || store.commit(Commit::new(vec![], vec![event.clone(); 10]));
    let before = getrlimit(Resource::Fsize);
    let room = |bytes| {
        setrlimit(Resource::Fsize, Rlimit { current: bytes, ..before }).expect("the limit is set");
    };
    let mut kept = 0;
    for _ in 0..20 {
        kept = commit().await.expect("there is room").seq();
    }
    room(Some(100_000));
    for _ in 0..3 {
        let refused = commit().await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        let ready = store.ready().await;
        assert!(matches!(ready, Err(StoreError::Unavailable(_))), "it says so when asked: {ready:?}");
    }
    assert_eq!(store.head(Log::System).await.expect("reads"), kept);

    room(before.current);
    store.ready().await.expect("can write");
    let committed = commit().await.expect("is kept");
    assert_eq!(committed.seqs.first(), Some(&(kept + 1)), "no number was lost");
    let query =
        EventQuery { log: Log::System, after: 0, task: None, kinds: Kinds::All, limit: 20_000, max_bytes: usize::MAX };
    let seqs: Vec<u64> = store.events(&query).await.expect("reads").events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=kept + 10).collect::<Vec<_>>());
    assert_eq!(store.check().await.expect("is checked"), Vec::<String>::new());
    store.close().await;
}
