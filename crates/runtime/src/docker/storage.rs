//! Volumes: the keeper's, the journals', homes and workspaces. All filling and reading goes through the engine's archive API and a
//! container that never starts, so that it works with an engine on another machine, and nothing of an agent's ever runs for it.

use std::collections::HashMap;
use std::future::Future;
use std::io::Read as _;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions, VolumeCreateRequest,
};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder,
    RemoveVolumeOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::cage::{Cage, LABEL_INSTALLATION, LABEL_INSTANCE, MountWhy, Source, keeper_volume};
use crate::docker::call::{ASK, MAKE, REMOVE, done, found};
use crate::docker::{Inner, tree};
use crate::error::RuntimeError;
use crate::runtime::Progress;

pub(super) const LABEL_HELPER: &str = "kanvoy.helper";
const LABEL_KEEPER: &str = "kanvoy.keeper";

/// An image with nothing in it, made on the engine itself. The never-started containers are made of it.
const NOTHING: (&str, &str) = ("kanvoy/nothing", "1");

/// A whole repository may have to go through.
const TREE: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// Of one file that is read whole.
const FILE_MAX: usize = 16 << 20;

impl Inner {
    /// One volume for each version of the keeper, shared by all installations on the engine, filled once.
    pub(super) async fn keeper_present(
        &self,
        wanted: Option<&str>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), RuntimeError> {
        let Some(wanted) = wanted else { return Ok(()) };
        let keeper =
            self.keeper.as_ref().filter(|keeper| keeper.digest == wanted).ok_or_else(|| RuntimeError::Local {
                what: "keeper",
                detail: format!("the cage names keeper {wanted}, which is not the one in this program"),
            })?;
        let volume = keeper_volume(wanted);
        let mut filled = keeper.filled.lock().await;
        // Whether it is there still is asked at the moment it is needed, by `create`.
        if *filled {
            return Ok(());
        }
        // Not labelled with the installation: another one may be using it.
        self.make_volume(&volume, HashMap::from([(LABEL_KEEPER.to_owned(), wanted.to_owned())])).await?;
        let size = i64::try_from(keeper.binary.len()).unwrap_or(i64::MAX);
        self.with_helper(vec![volume_at(&volume, "/v")], async |helper| {
            // Whole if it has its size: a fill that was cut short is done again.
            let options = ContainerArchiveInfoOptionsBuilder::default().path("/v/keeper").build();
            let there = self
                .call("archive", ASK, |docker| {
                    let options = options.clone();
                    async move { docker.get_container_archive_info(helper, Some(options)).await }
                })
                .await;
            if found(there)?.is_some_and(|there| there.size == size) {
                return Ok(());
            }
            self.upload(helper, "/v", tree::one_file("keeper", 0o555, &keeper.binary)).await
        })
        .await?;
        *filled = true;
        drop(filled);
        progress.try_send(Progress::KeeperInstalled { volume }).ok();
        Ok(())
    }

    /// A volume that is named and missing would be made empty by the engine, and the start would fail in words about a command.
    pub(super) async fn keeper_still_there(&self, volume: &str) -> Result<(), RuntimeError> {
        let there = self.call("volume", ASK, |docker| async move { docker.inspect_volume(volume).await }).await;
        match found(there)? {
            Some(there) if there.labels.contains_key(LABEL_KEEPER) => Ok(()),
            _ => {
                if let Some(keeper) = &self.keeper {
                    *keeper.filled.lock().await = false;
                }
                Err(RuntimeError::KeeperMissing)
            }
        }
    }

    /// Makes the volumes that the agent writes, and gives them to its user. A fresh volume belongs to root.
    pub(super) async fn storage_ready(
        &self,
        cage: &Cage,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), RuntimeError> {
        let written = cage.mounts.iter().filter_map(|mount| match &mount.source {
            Source::Volume { name } if !mount.read_only => Some((name.as_str(), mount.why)),
            _ => None,
        });
        let mut mounts = Vec::new();
        let mut dirs = Vec::new();
        for (name, why) in written {
            let mut labels: HashMap<_, _> = cage.labels.clone().into_iter().collect();
            if why != MountWhy::Journal {
                // It outlives the instance that first needed it.
                labels.retain(|label, _| !matches!(label.as_str(), LABEL_INSTANCE | "kanvoy.run" | "kanvoy.version"));
            }
            self.make_volume(name, labels).await?;
            let dir = format!("{}", mounts.len());
            mounts.push(volume_at(name, &format!("/v/{dir}")));
            dirs.push(dir);
        }
        if dirs.is_empty() {
            return Ok(());
        }
        // Below a directory, since engines skip the owner of the very directory that is unpacked into.
        let tar = tree::directories(&dirs, cage.uid, cage.gid, 0o700);
        self.with_helper(mounts, async |helper| self.upload(helper, "/v", tar.clone()).await).await?;
        progress.try_send(Progress::StorageReady).ok();
        Ok(())
    }

    async fn make_volume(&self, name: &str, labels: HashMap<String, String>) -> Result<(), RuntimeError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        let volume = self
            .call("volume", MAKE, |docker| {
                let request = request.clone();
                async move { docker.create_volume(request).await }
            })
            .await?;
        // It may have been there: then it must be one of ours.
        let same =
            [LABEL_INSTALLATION, LABEL_KEEPER].iter().all(|label| volume.labels.get(*label) == labels.get(*label));
        if same { Ok(()) } else { Err(RuntimeError::NameTaken { name: name.to_owned() }) }
    }

    pub(super) async fn remove_volume_of_ours(&self, name: &str) -> Result<(), RuntimeError> {
        let there = self.call("volume", ASK, |docker| async move { docker.inspect_volume(name).await }).await;
        let Some(there) = found(there)? else { return Ok(()) };
        self.ours(there.labels.get(LABEL_INSTALLATION), name)?;
        let options = RemoveVolumeOptionsBuilder::default().build();
        done(
            self.call("remove volume", REMOVE, |docker| {
                let options = options.clone();
                async move { docker.remove_volume(name, Some(options)).await }
            })
            .await,
        )
    }

    /// A container with these mounts that never starts, for as long as `act` takes. If this future is dropped it stays behind,
    /// labelled, for the next sweep.
    async fn with_helper<T>(
        &self,
        mounts: Vec<Mount>,
        act: impl AsyncFnOnce(&str) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        let helper = self.make_helper(mounts).await?;
        let acted = act(&helper).await;
        let removed = self.remove_container(&helper).await;
        let acted = acted?;
        removed.map(|()| acted)
    }

    async fn make_helper(&self, mounts: Vec<Mount>) -> Result<String, RuntimeError> {
        let (repo, tag) = NOTHING;
        let labels = [
            (LABEL_INSTALLATION.to_owned(), self.config.installation.clone()),
            (LABEL_HELPER.to_owned(), "1".to_owned()),
        ];
        let body = ContainerCreateBody {
            image: Some(format!("{repo}:{tag}")),
            cmd: Some(vec!["/never".to_owned()]),
            labels: Some(labels.into()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
                mounts: Some(mounts),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let make = || {
            self.call("create", MAKE, |docker| {
                let body = body.clone();
                async move {
                    let options: Option<bollard::query_parameters::CreateContainerOptions> = None;
                    docker.create_container(options, body).await
                }
            })
        };
        match make().await {
            Err(RuntimeError::Engine { status: 404, detail, .. }) if detail.contains("No such image") => {
                self.make_nothing().await?;
                Ok(make().await?.id)
            }
            other => Ok(other?.id),
        }
    }

    async fn make_nothing(&self) -> Result<(), RuntimeError> {
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(NOTHING.0).tag(NOTHING.1).build();
        let tar = tree::directories(&["nothing".to_owned()], 0, 0, 0o755);
        self.call("import", MAKE, |docker| {
            let (options, tar) = (options.clone(), tar.clone());
            async move {
                docker.create_image(Some(options), Some(bollard::body_full(tar)), None).try_collect::<Vec<_>>().await
            }
        })
        .await
        .map(|_| ())
    }

    async fn upload(&self, container: &str, path: &str, tar: Bytes) -> Result<(), RuntimeError> {
        let options = UploadToContainerOptionsBuilder::default().path(path).build();
        self.call("archive", MAKE, |docker| {
            let (options, tar) = (options.clone(), tar.clone());
            async move { docker.upload_to_container(container, Some(options), bollard::body_full(tar)).await }
        })
        .await
        .map_err(no_space)
    }

    pub(super) async fn send_tree(
        &self,
        volume: &str,
        tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Result<(), RuntimeError> {
        self.volume_is_ours(volume).await?;
        let options = UploadToContainerOptionsBuilder::default().path("/v").build();
        self.with_helper(vec![volume_at(volume, "/v")], async |helper| {
            // Not through `call`: a stream cannot be sent twice.
            let sent = self.docker()?;
            let sent = sent.upload_to_container(helper, Some(options), bollard::body_try_stream(tar));
            bounded("archive", TREE, sent).await?.map_err(|fault| no_space(self.means("archive", &fault)))
        })
        .await
    }

    pub(super) async fn fetch_tree(
        self: &std::sync::Arc<Self>,
        volume: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, std::io::Error>>, RuntimeError> {
        self.volume_is_ours(volume).await?;
        let helper = self.make_helper(vec![volume_at(volume, "/v")]).await?;
        let options = DownloadFromContainerOptionsBuilder::default().path("/v/.").build();
        let docker = self.docker()?;
        let bytes = docker.download_from_container(&helper, Some(options)).map_err(std::io::Error::other).boxed();
        let this = std::sync::Arc::clone(self);
        let at_the_end = futures_util::stream::once(async move {
            match this.remove_container(&helper).await {
                Ok(()) => Ok(Bytes::new()),
                Err(error) => Err(std::io::Error::other(error)),
            }
        });
        Ok(bytes
            .chain(at_the_end)
            .filter(|bytes| std::future::ready(!matches!(bytes, Ok(empty) if empty.is_empty())))
            .boxed())
    }

    async fn volume_is_ours(&self, name: &str) -> Result<(), RuntimeError> {
        let there = self.call("volume", ASK, |docker| async move { docker.inspect_volume(name).await }).await?;
        self.ours(there.labels.get(LABEL_INSTALLATION), name)
    }

    pub(super) async fn canary(&self, file: &Path) -> Result<bool, RuntimeError> {
        let local =
            |e: std::io::Error| RuntimeError::Local { what: "canary", detail: format!("{}: {e}", file.display()) };
        let here = tokio::fs::read(file).await.map_err(local)?;
        let (Some(dir), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
            return Err(local(std::io::Error::from(std::io::ErrorKind::InvalidInput)));
        };
        let mount = Mount {
            typ: Some(MountType::BIND),
            source: Some(dir.to_string_lossy().into_owned()),
            target: Some("/canary".to_owned()),
            read_only: Some(true),
            ..Mount::default()
        };
        let read = self
            .with_helper(vec![mount], async |helper| self.read_file(helper, &format!("/canary/{name}")).await)
            .await;
        match read {
            Ok(there) => Ok(there.is_some_and(|there| there == here)),
            // The engine's machine has no such directory.
            Err(RuntimeError::Engine { status: 400, detail, .. }) if detail.contains("does not exist") => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn read_file(&self, container: &str, path: &str) -> Result<Option<Bytes>, RuntimeError> {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let tar = self
            .call("archive", MAKE, |docker| {
                let options = options.clone();
                async move {
                    let mut tar = BytesMut::new();
                    let mut pieces = std::pin::pin!(docker.download_from_container(container, Some(options)));
                    while let Some(piece) = pieces.try_next().await? {
                        tar.extend_from_slice(&piece);
                        if tar.len() > FILE_MAX {
                            return Err(std::io::Error::other("the file is too large").into());
                        }
                    }
                    Ok(tar.freeze())
                }
            })
            .await;
        let Some(tar) = found(tar)? else { return Ok(None) };
        let first = || {
            let mut archive = tar::Archive::new(tar.as_ref());
            let Some(entry) = archive.entries()?.next() else { return Ok(None) };
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            Ok(Some(Bytes::from(bytes)))
        };
        first().map_err(|e: std::io::Error| RuntimeError::Broken { call: "archive", detail: e.to_string() })
    }
}

async fn bounded<F: Future>(call: &'static str, after: std::time::Duration, act: F) -> Result<F::Output, RuntimeError> {
    tokio::time::timeout(after, act).await.map_err(|_| RuntimeError::Deadline { call, after })
}

fn no_space(error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::Engine { detail, .. } if detail.contains("no space left") => RuntimeError::NoSpace { detail },
        other => other,
    }
}

fn volume_at(name: &str, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.to_owned()),
        target: Some(target.to_owned()),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    }
}
