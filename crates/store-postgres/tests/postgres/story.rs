//! The story that every store must pass.

use std::sync::Arc;

use kanvoy_store::{Store, Tell};
use kanvoy_store_postgres::PostgresStore;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn the_story() {
    let server = Server::shared();
    let url = server.database().await;
    kanvoy_store::story::story(|tell: Arc<dyn Tell>| {
        let url = url.clone();
        async move { Arc::new(PostgresStore::open(&url, tell).await.expect("opens")) as Arc<dyn Store> }
    })
    .await;
}
