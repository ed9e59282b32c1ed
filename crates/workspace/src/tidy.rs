//! Upkeep, when the daemon has time: every look at uncommitted work leaves objects that the next look replaces.

use std::fs;

use crate::error::Error;
use crate::names::Id;
use crate::{Workspaces, places};

impl Workspaces {
    /// Packs a workspace's results and lets go of snapshots that nobody can name any more. What was committed stays, that
    /// which was undone included.
    pub async fn tidy(&self, id: &Id) -> Result<(), Error> {
        let inner = &self.inner;
        let _held = inner.hold(id).await;
        let task = inner.places.task(id);
        task.read()?;
        let results = task.results();
        places::sweep(&results);
        let long = inner.config.network_timeout;
        let repack = inner.gits.at(&results).args(["repack", "-a", "-d", "-l", "--quiet", "--unpack-unreachable=now"]);
        repack.timeout(long).ok("packing a workspace's results").await?;
        let prune = inner.gits.at(&results).args(["prune", "--expire=now"]);
        prune.timeout(long).ok("packing a workspace's results").await?;
        Ok(())
    }

    /// Packs the repositories' homes. Nothing is let go of there: workspaces were made from it.
    pub async fn tidy_homes(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let homes = fs::read_dir(inner.places.root.join("cache"));
        let homes = homes.map_err(|error| Error::io("listing the mirrors", &error))?;
        for entry in homes.flatten() {
            let name = entry.file_name();
            let Some(key) = name.to_str().and_then(|name| name.strip_suffix(".git")) else { continue };
            let home = inner.home_of(key).await?;
            let repack = inner.gits.at(&home.dir).args(["repack", "-a", "-d", "-l", "--quiet", "--keep-unreachable"]);
            repack.timeout(inner.config.network_timeout).ok("packing a mirror").await?;
        }
        Ok(())
    }
}
