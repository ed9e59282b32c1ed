//! Sessions, idempotency keys, and what is asked of a store as a whole.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chrono::TimeDelta;
use kanvoy_domain::SessionId;
use kanvoy_domain::event::Log;
use kanvoy_domain::session::{Scope, Session, SessionKind};

use super::world::{World, assert_refused};
use crate::{Answer, Change, Claim, Commit, StoreError, UNANSWERED_FOR_HOURS};

pub(super) async fn sessions_come_and_go(world: &World) {
    let now = world.now();
    let session = |mark: u8, minutes: i64| Session {
        id: SessionId::from_uuid(uuid::Uuid::from_u128(mark.into())),
        kind: SessionKind::Login,
        hash: [mark; 32],
        refresh: None,
        person: "local".into(),
        name: None,
        scope: Scope::Admin,
        created_at: now,
        expires_at: now.plus(TimeDelta::minutes(minutes)),
    };
    let (short, long) = (session(1, 1), session(2, 10));
    let both = vec![Change::NewSession(short.clone()), Change::NewSession(long.clone())];
    world.commit(both, vec![]).await.expect("begin");
    let read = |session: &Session| {
        let hash = session.hash;
        async move { world.store.session(hash).await.expect("reads") }
    };
    assert_eq!(read(&short).await, Some(short.clone()));
    assert_refused!(world.change(Change::NewSession(short.clone())).await, StoreError::Taken(_));
    world.change(Change::Sweep { before: short.expires_at }).await.expect("sweeps");
    assert_eq!(read(&short).await, Some(short.clone()), "it ends at that moment, not before it");
    world.change(Change::Sweep { before: now.plus(TimeDelta::minutes(5)) }).await.expect("sweeps");
    assert_eq!((read(&short).await, read(&long).await), (None, Some(long.clone())));
    world.change(Change::EndSession(long.id)).await.expect("ends");
    assert_eq!(read(&long).await, None);
    world.change(Change::EndSession(long.id)).await.expect("ends once more, with nothing to do");
}

pub(super) async fn claims_are_made_once(world: &World) {
    let board = world.board("CLAIM").await;
    let claim = |person: &str, key: &str, mark: u8| Claim {
        person: person.into(),
        key: key.into(),
        fingerprint: [mark; 32],
        at: world.now(),
    };
    let mine = claim("ada", "key", 1);
    let read = |claim: &Claim| {
        let claim = claim.clone();
        async move { world.store.answer(&claim).await.expect("reads") }
    };
    assert_eq!(read(&mine).await, None);
    let task = world.unmade_task(&board, "Made once");
    let make = vec![Change::Claim(mine.clone()), Change::NewTask(task.clone())];
    world.commit(make.clone(), vec![]).await.expect("is claimed");
    assert_eq!(read(&mine).await, Some(Answer { fingerprint: [1; 32], said: None }), "not answered yet");
    let again = vec![Change::Claim(mine.clone()), Change::NewTask(world.unmade_task(&board, "Made twice"))];
    assert_refused!(world.commit(again, vec![]).await, StoreError::Claimed);
    assert_refused!(world.change(Change::Claim(claim("ada", "key", 2))).await, StoreError::Claimed);
    world.change(Change::Claim(claim("bob", "key", 1))).await.expect("another person's key is another");

    let said = Answer { fingerprint: [1; 32], said: Some((201, Bytes::from_static(b"{\"id\":1}"))) };
    world.change(Change::Answer { claim: mine.clone(), answer: said.clone() }).await.expect("is answered");
    assert_eq!(read(&mine).await, Some(said.clone()));
    assert_eq!(read(&claim("ada", "key", 2)).await, Some(said), "whoever asks otherwise sees the other fingerprint");
    assert_refused!(world.commit(make, vec![]).await, StoreError::Claimed);
    assert_eq!(world.store.board(board.id).await.expect("reads").expect("is there").next_number, 2);

    let end = mine.at.plus(TimeDelta::hours(UNANSWERED_FOR_HOURS));
    world.change(Change::Sweep { before: end }).await.expect("sweeps");
    assert!(read(&mine).await.is_some());
    world.change(Change::Sweep { before: end.plus(TimeDelta::milliseconds(1)) }).await.expect("sweeps");
    assert_eq!(read(&mine).await, None);
    world.change(Change::Claim(mine.clone())).await.expect("a key that was swept is free");

    // Sixty-four at once with the same key: one of them does it.
    let shared = claim("ada", "shared", 3);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let task = world.unmade_task(&board, "Only one of us");
        let commit = Commit::new(vec![Change::Claim(shared.clone()), Change::NewTask(task)], vec![]);
        let store = world.store.clone();
        callers.spawn(async move { store.commit(commit).await });
    }
    let mut done = Vec::new();
    while let Some(result) = callers.join_next().await {
        match result.expect("no caller panics") {
            Ok(committed) => done.extend(committed.numbers),
            Err(StoreError::Claimed) => {}
            Err(other) => panic!("nobody expects {other:?}"),
        }
    }
    assert_eq!(done, [2]);
}

/// The caller goes away as soon as it has asked.
pub(super) async fn a_dropped_commit_is_a_commit(world: &World) {
    let log = Log::System;
    let head = world.store.head(log).await.expect("reads");
    // More than any queue holds.
    const ASKED: u64 = 3_000;
    for _ in 0..ASKED {
        let commit = world.store.commit(Commit::new(vec![], vec![world.note(log, "gone already")]));
        let mut commit = pin!(commit);
        let asked = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(!matches!(asked, Poll::Ready(Err(_))), "{asked:?}");
    }
    // A commit that is asked for later is written no earlier than what fits the queue; the rest is on its way.
    for _ in 0..1_000 {
        if world.store.head(log).await.expect("reads") == head + ASKED {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("of {ASKED} commits, only {} were made", world.store.head(log).await.expect("reads") - head);
}

pub(super) async fn it_is_ready_and_sound(world: &World) {
    world.store.ready().await.expect("can write");
    assert_eq!(world.store.check().await.expect("can be checked"), Vec::<String>::new());
}
