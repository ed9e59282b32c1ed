//! The four calls of a launch in their order.

use tokio::sync::mpsc;

use crate::attached::Attached;
use crate::error::RuntimeError;
use crate::runtime::{Created, Launch, Progress, Runtime, State};

/// A started instance and its two byte streams.
#[derive(Debug)]
pub struct Launched {
    pub created: Created,
    pub attached: Attached,
}

/// Prepares, creates, attaches and starts. An instance of that name that already runs is attached and left alone; one that has
/// ended is not started again, since its agent may already have acted: that is `NotRunning`, and the caller's to decide.
///
/// On an error nothing is cleaned up here: the caller has the id and knows whether it wants the remains.
pub async fn launch(
    runtime: &dyn Runtime,
    launch: &Launch,
    progress: &mpsc::Sender<Progress>,
) -> Result<Launched, RuntimeError> {
    runtime.prepare(launch, progress).await?;
    let created = match runtime.create(launch).await {
        // The engine was emptied since it was prepared the first time.
        Err(RuntimeError::KeeperMissing) => {
            runtime.prepare(launch, progress).await?;
            runtime.create(launch).await?
        }
        other => other?,
    };
    let instance = &launch.cage.instance;
    if created.state == State::Exited {
        return Err(RuntimeError::NotRunning { instance: instance.to_string() });
    }
    let attached = runtime.attach(instance).await?;
    if created.state == State::Created {
        runtime.start(instance).await?;
    }
    Ok(Launched { created, attached })
}
