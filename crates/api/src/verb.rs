//! How a door calls a verb of the engine.

use kanvoy_engine::EngineError;
use tokio::runtime::Handle;

use crate::problem::Problem;

/// Runs a verb to its end, whether or not somebody still waits for it.
///
/// The verbs' futures hold borrowing closures, of which the compiler cannot tell that they may cross threads, so a verb stays
/// on one: a thread of the pool for things that wait. Once the engine's futures are plainly `Send` this is `verb().await`.
pub async fn run<T, F>(verb: impl FnOnce() -> F + Send + 'static) -> Result<T, Problem>
where
    F: Future<Output = Result<T, EngineError>>,
    T: Send + 'static,
{
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(verb()));
    Ok(done.await.map_err(Problem::internal)??)
}
