//! The story that every store must pass.

use std::sync::Arc;

use kanvoy_store::{Store, Tell};
use kanvoy_store_sqlite::SqliteStore;

#[tokio::test(flavor = "multi_thread")]
async fn the_story() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kanvoy.db");
    kanvoy_store::story::story(|tell: Arc<dyn Tell>| {
        let path = path.clone();
        async move { Arc::new(SqliteStore::open(&path, tell).await.expect("opens")) as Arc<dyn Store> }
    })
    .await;
}
