//! Takes a workspace away, and never silently with work that is kept nowhere else.

use std::fs;
use std::path::PathBuf;

use crate::error::Error;
use crate::names::{Commit, Id};
use crate::standing::{Look, Standing};
use crate::walk::Why;
use crate::{Inner, Workspaces, inside};

/// What the caller knows of the loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Nothing: refuse if there is something to lose.
    Nothing,
    /// That everything up to this tip is given up. It is the `tip` of [`Standing`] and of [`Error::Unpushed`]; work that
    /// came later makes it another.
    Unpushed { head: Commit },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// A bundle with what was given up, if it could be read: `git fetch <bundle>` in a clone of the repository has it back.
    pub attic: Option<PathBuf>,
}

impl Workspaces {
    /// Safe to ask again. No process may be working in the clone any more.
    pub async fn remove(&self, id: &Id, confirm: &Confirm) -> Result<Removed, Error> {
        let inner = &self.inner;
        let look = match inner.look(id).await {
            Err(Error::NotFound(what)) => {
                // A removal that was cut off goes on; what was never there is still not there.
                let left = inner.places.removing(id);
                return if left.exists() { inner.clear(left, None).await } else { Err(Error::NotFound(what)) };
            }
            look => look?,
        };
        let standing = inner.standing(&look).await?;
        let lost = standing.unpushed > 0 || !standing.dirty_is_kept || unseen(&standing).is_some();
        if lost && *confirm != (Confirm::Unpushed { head: standing.tip.clone() }) {
            return Err(Error::Unpushed {
                commits: standing.unpushed,
                files: if standing.dirty_is_kept { 0 } else { standing.dirty },
                detail: unseen(&standing).unwrap_or_default(),
                tip: standing.tip,
            });
        }
        let attic = if lost { inner.put_away(&look, id, &standing).await? } else { None };
        if let Ok(home) = inner.home_of(&look.record.home).await {
            let unpin = inner.gits.at(&home.dir).args(["update-ref", "-d", &Inner::pin(id)]);
            unpin.run("letting go of a base").await?;
        }
        let left = inner.places.removing(id);
        inside::clear(&left).map_err(|error| Error::io("removing the workspace", &error))?;
        fs::rename(&look.task.dir, &left).map_err(|error| Error::io("removing the workspace", &error))?;
        tracing::info!(workspace.id = %id, "workspace {id} removed at {}", standing.tip.short());
        inner.clear(left, attic).await
    }
}

/// What cannot be judged, and so counts as something to lose.
fn unseen(standing: &Standing) -> Option<String> {
    let mut words = Vec::new();
    if let Some(why) = &standing.unread {
        words.push(why.clone());
    }
    if standing.cut {
        words.push("there are too many files to be sure of all".to_owned());
    }
    // A pipe or socket holds nothing that could be kept.
    let unread: Vec<_> = standing.skipped.iter().filter(|skipped| skipped.why != Why::NotAFile).collect();
    if let Some(first) = unread.first() {
        words.push(format!("{} file(s) were not read, as {} ({:?})", unread.len(), first.path, first.why));
    }
    (!words.is_empty()).then(|| format!("; {}", words.join("; ")))
}

impl Inner {
    async fn put_away(&self, look: &Look, id: &Id, standing: &Standing) -> Result<Option<PathBuf>, Error> {
        let results = look.task.results();
        self.set_ref(&results, "refs/given-up", &standing.tip).await?;
        let path = self.places.attic().join(format!("{id}-{}.bundle", standing.tip.short()));
        let making = path.with_extension("making");
        let bundle = self.gits.at(&results).args(["bundle", "create", "--quiet"]).arg(&making);
        // Only what the remote had is left out, so that any clone of it, or an empty repository, can take the bundle.
        let bundle = bundle.args(["refs/given-up", "--glob=refs/heads/work", "--glob=refs/past"]);
        let bundle = bundle.args(["--not", "--glob=refs/remotes"]);
        let output = bundle.timeout(self.config.network_timeout).run("keeping what is given up").await?;
        if output.code != Some(0) {
            // Everything that could be read is kept elsewhere; what could not be read is what the caller gives up.
            if output.stderr.contains("empty bundle") {
                return Ok(None);
            }
            return Err(crate::error::from_git("keeping what is given up", None, &output.stderr));
        }
        fs::rename(&making, &path).map_err(|error| Error::io("keeping what is given up", &error))?;
        Ok(Some(path))
    }

    async fn clear(&self, left: PathBuf, attic: Option<PathBuf>) -> Result<Removed, Error> {
        crate::blocking("removing the workspace", move || {
            inside::clear(&left).map_err(|error| Error::io("removing the workspace", &error))?;
            Ok(Removed { attic })
        })
        .await
    }
}
