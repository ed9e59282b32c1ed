//! One story that every store must pass, told through the trait alone.
//!
//! A store's test calls [`story`] with a way to open (and, after closing, to reopen) one and the same store.

mod boards;
mod events;
mod lists;
mod people;
mod restore;
mod small_things;
mod tasks;
mod world;

use std::future::Future;
use std::sync::Arc;

use crate::{Store, Tell};
use world::World;

/// `open` is called again after the store was closed, and must then give what was kept. All that it opens is one store.
pub async fn story<F, Fut>(open: F)
where
    F: Fn(Arc<dyn Tell>) -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    let mut world = World::begin(&open).await;
    boards::boards_are_made_and_changed(&world).await;
    boards::columns_hold_their_cards(&world).await;
    boards::boards_are_hidden_and_purged(&world).await;
    tasks::tasks_are_made_and_changed(&world).await;
    tasks::numbers_have_no_holes(&world).await;
    tasks::arrows_are_counted(&world).await;
    tasks::tasks_are_hidden_and_purged(&world).await;
    events::events_are_read_in_pages(&world).await;
    events::retention_leaves_one_gap(&world).await;
    lists::every_filter_and_every_order(&world).await;
    people::people_are_kept_and_never_removed(&world).await;
    people::members_come_and_go(&world).await;
    people::refresh_tokens_are_good_once(&world).await;
    small_things::sessions_come_and_go(&world).await;
    small_things::claims_are_made_once(&world).await;
    restore::a_board_moves_with_its_log(&world).await;
    restore::an_import_may_be_cut_off(&world).await;
    small_things::a_dropped_commit_is_a_commit(&world).await;
    small_things::it_is_ready_and_sound(&world).await;
    world.told_what_was_kept().await;

    let before = world.everything().await;
    world.reopen(&open).await;
    assert_eq!(world.everything().await, before, "what was there before closing is there after it");
    world.goes_on_where_it_was().await;
    world.store.close().await;
    assert!(world.store.commit(crate::Commit::default()).await.is_err(), "a closed store takes nothing");
}
