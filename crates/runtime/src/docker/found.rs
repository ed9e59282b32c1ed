//! What of ours is on the engine, and how it goes.

use std::collections::HashMap;

use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};

use crate::cage::LABEL_INSTALLATION;
use crate::docker::Inner;
use crate::docker::call::{ASK, found};
use crate::docker::storage::LABEL_HELPER;
use crate::error::RuntimeError;
use crate::runtime::{Found, FoundKind, InstanceId, State};

impl Inner {
    /// All three lists or none: half an inventory looks like things that are gone.
    pub(super) async fn list_ours(&self) -> Result<Vec<Found>, RuntimeError> {
        let ours =
            HashMap::from([("label".to_owned(), vec![format!("{LABEL_INSTALLATION}={}", self.config.installation)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
        let containers = self
            .call("list", ASK * 3, |docker| {
                let options = options.clone();
                async move { docker.list_containers(Some(options)).await }
            })
            .await?;
        let options = ListVolumesOptionsBuilder::default().filters(&ours).build();
        let volumes = self
            .call("list volumes", ASK * 3, |docker| {
                let options = options.clone();
                async move { docker.list_volumes(Some(options)).await }
            })
            .await?;
        let options = ListNetworksOptionsBuilder::default().filters(&ours).build();
        let networks = self
            .call("list networks", ASK * 3, |docker| {
                let options = options.clone();
                async move { docker.list_networks(Some(options)).await }
            })
            .await?;

        let containers = containers.into_iter().map(|container| {
            let labels = container.labels.unwrap_or_default();
            let name = container.names.unwrap_or_default().first().map(|name| name.trim_start_matches('/').to_owned());
            Found {
                what: if labels.contains_key(LABEL_HELPER) { FoundKind::Helper } else { FoundKind::Instance },
                name: name.or(container.id).unwrap_or_default(),
                labels: labels.into_iter().collect(),
                created_at: container.created.map(|seconds| seconds.to_string()),
                state: container.state.map(listed_state),
            }
        });
        let volumes = volumes.volumes.unwrap_or_default().into_iter().map(|volume| Found {
            what: FoundKind::Volume,
            name: volume.name,
            labels: volume.labels.into_iter().collect(),
            created_at: volume.created_at,
            state: None,
        });
        let networks = networks.into_iter().map(|network| Found {
            what: FoundKind::Network,
            name: network.name.unwrap_or_default(),
            labels: network.labels.unwrap_or_default().into_iter().collect(),
            created_at: network.created,
            state: None,
        });
        // An engine that does not know the filter would list everybody's. What is not ours is not shown, nor removed.
        let is_ours = |found: &Found| found.labels.get(LABEL_INSTALLATION) == Some(&self.config.installation);
        Ok(containers.chain(volumes).chain(networks).filter(is_ours).collect())
    }

    pub(super) async fn remove_ours(
        &self,
        chosen: &(dyn for<'a> Fn(&'a Found) -> bool + Send + Sync),
    ) -> Result<Vec<Found>, RuntimeError> {
        let mut gone = Vec::new();
        // Containers come first in the list: what they use can only go after them.
        for found in self.list_ours().await?.into_iter().filter(|found| chosen(found)) {
            match self.remove_found(&found).await {
                Ok(()) => gone.push(found),
                Err(error) => tracing::warn!("{} {} stays: {error}", word(found.what), found.name),
            }
        }
        Ok(gone)
    }

    async fn remove_found(&self, found_one: &Found) -> Result<(), RuntimeError> {
        let name = found_one.name.as_str();
        match found_one.what {
            FoundKind::Instance | FoundKind::Helper => {
                // Between the list and now the name may have gone to somebody else.
                let Some(now) = self.inspect_raw(name).await? else { return Ok(()) };
                let labels = now.config.and_then(|config| config.labels).unwrap_or_default();
                self.ours(labels.get(LABEL_INSTALLATION), name)?;
                if let Some(instance) = found_one.instance().and_then(|id| InstanceId::parse(id).ok())
                    && let Some(held) = self.held.lock().remove(&instance)
                {
                    held.grip.drop_now();
                }
                self.remove_container(&now.id.unwrap_or_default()).await
            }
            FoundKind::Volume => self.remove_volume_of_ours(name).await,
            FoundKind::Network => {
                let now =
                    self.call("network", ASK, |docker| async move { docker.inspect_network(name, None).await }).await;
                let Some(now) = found(now)? else { return Ok(()) };
                self.ours(now.labels.unwrap_or_default().get(LABEL_INSTALLATION), name)?;
                self.remove_network(&now.id.unwrap_or_default()).await
            }
        }
    }
}

const fn word(what: FoundKind) -> &'static str {
    match what {
        FoundKind::Instance => "instance",
        FoundKind::Helper => "helper",
        FoundKind::Volume => "volume",
        FoundKind::Network => "network",
    }
}

fn listed_state(state: ContainerSummaryStateEnum) -> State {
    use ContainerSummaryStateEnum as Listed;
    match state {
        Listed::CREATED => State::Created,
        Listed::RUNNING => State::Running,
        Listed::PAUSED => State::Paused,
        Listed::EXITED => State::Exited,
        _ => State::Other,
    }
}
