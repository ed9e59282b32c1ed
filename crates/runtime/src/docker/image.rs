//! Getting images: present, pulled, or a reason that a person can act on.

use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::docker::Inner;
use crate::docker::call::{ASK, found};
use crate::docker::facts::architecture;
use crate::error::{ImageFault, RuntimeError};
use crate::runtime::{Progress, Pull, PullWhen};

impl Inner {
    pub(super) async fn image_present(
        &self,
        image: &str,
        pull: &Pull,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), RuntimeError> {
        let is_here = self.image_arch(image).await?;
        if let (Some(arch), PullWhen::Missing | PullWhen::Never) = (&is_here, pull.when) {
            return self.right_arch(image, arch).await;
        }
        if pull.when == PullWhen::Never {
            let detail = "it is not on the engine, and pulling is off".to_owned();
            return Err(RuntimeError::Image { image: image.to_owned(), fault: ImageFault::NoSuchImage, detail });
        }
        self.pull_patiently(image, pull, progress).await?;
        match self.image_arch(image).await? {
            Some(arch) => self.right_arch(image, &arch).await,
            None => {
                let detail = "it was pulled and is gone again".to_owned();
                Err(RuntimeError::Image { image: image.to_owned(), fault: ImageFault::Other, detail })
            }
        }
    }

    async fn image_arch(&self, image: &str) -> Result<Option<String>, RuntimeError> {
        let answer = self.call("image", ASK, |docker| async move { docker.inspect_image(image).await }).await;
        match found(answer) {
            Ok(found) => Ok(found.map(|found| found.architecture.unwrap_or_default())),
            Err(RuntimeError::Engine { status: 400, detail, .. }) => {
                Err(RuntimeError::Image { image: image.to_owned(), fault: ImageFault::BadName, detail })
            }
            Err(e) => Err(e),
        }
    }

    async fn right_arch(&self, image: &str, arch: &str) -> Result<(), RuntimeError> {
        let engine = self
            .arch
            .get_or_try_init(async || {
                let version = self.call("version", ASK, |docker| async move { docker.version().await }).await?;
                Ok::<_, RuntimeError>(version.arch.unwrap_or_default())
            })
            .await?;
        // An image that does not say is taken at its word; the keeper will say if the agent cannot be executed.
        if arch.is_empty() || architecture(arch) == architecture(engine) {
            return Ok(());
        }
        let detail = format!("the image is for {arch}, the engine runs {engine}");
        Err(RuntimeError::Image { image: image.to_owned(), fault: ImageFault::WrongArchitecture, detail })
    }

    async fn pull_patiently(
        &self,
        image: &str,
        pull: &Pull,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), RuntimeError> {
        let began = Instant::now();
        let mut attempt = 1;
        loop {
            progress.try_send(Progress::PullStarted { image: image.to_owned(), attempt }).ok();
            let error = match self.pull_once(image, pull, progress).await {
                Ok(()) => {
                    progress.try_send(Progress::Pulled { image: image.to_owned() }).ok();
                    return Ok(());
                }
                Err(error) => error,
            };
            let RuntimeError::Image { fault, ref detail, .. } = error else { return Err(error) };
            let passing = matches!(fault, ImageFault::RegistryUnreachable | ImageFault::Stalled);
            let pause = std::time::Duration::from_secs(2u64.pow(attempt.min(6)) / 2);
            let again = passing && attempt < pull.tries && began.elapsed() + pause < pull.within;
            let (image, detail) = (image.to_owned(), detail.clone());
            progress.try_send(Progress::PullFailed { image, attempt, fault, detail, again }).ok();
            if !again {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn pull_once(&self, image: &str, pull: &Pull, progress: &mpsc::Sender<Progress>) -> Result<(), RuntimeError> {
        let options = CreateImageOptionsBuilder::default().from_image(&tagged(image)).build();
        let login = pull.login.as_ref().map(|login| DockerCredentials {
            username: Some(login.user.clone()),
            password: Some(login.password.clone()),
            ..DockerCredentials::default()
        });
        let docker = self.docker()?;
        let steps = docker.create_image(Some(options), None, login);
        let mut steps = std::pin::pin!(steps);
        let mut layers = Layers::default();
        loop {
            let fail = |fault, detail| Err(RuntimeError::Image { image: image.to_owned(), fault, detail });
            match tokio::time::timeout(pull.stall, steps.next()).await {
                Err(_) => return fail(ImageFault::Stalled, format!("nothing came for {:?}", pull.stall)),
                Ok(None) => return Ok(()),
                Ok(Some(Ok(step))) => {
                    if let Some(told) = layers.told(image, &step) {
                        progress.try_send(told).ok();
                    }
                }
                Ok(Some(Err(fault))) => {
                    return match self.means("pull", &fault) {
                        RuntimeError::Engine { status, detail, .. } => fail(pull_fault(status, &detail), detail),
                        other => Err(other),
                    };
                }
            }
        }
    }
}

/// Without a tag an engine would fetch every tag there is.
fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// Registries and engines agree on no codes, only on words.
fn pull_fault(status: u16, detail: &str) -> ImageFault {
    let low = detail.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| low.contains(word));
    if says(&["no space left"]) {
        ImageFault::NoSpace
    } else if says(&["no matching manifest", "does not match the specified platform", "exec format"]) {
        ImageFault::WrongArchitecture
    } else if says(&["invalid reference format", "repository name must be lowercase"]) {
        ImageFault::BadName
    } else if says(&["manifest unknown", "manifest for", "not found: manifest", "name unknown"]) {
        ImageFault::NoSuchImage
    // Docker Hub says the same for what is private and for what does not exist. Both are answered by a person with a login.
    } else if says(&[
        "unauthorized",
        "authentication required",
        "access denied",
        "access to the resource is denied",
        "forbidden",
        "no basic auth",
    ]) {
        ImageFault::NoAccess
    } else if says(&[
        "dial tcp",
        "no such host",
        "connection refused",
        "i/o timeout",
        "tls handshake",
        "client.timeout",
        "network is unreachable",
        "server misbehaving",
        "http response to https client",
        "x509",
        "toomanyrequests",
        "unexpected eof",
        "connection reset",
        "service unavailable",
        "bad gateway",
    ]) {
        ImageFault::RegistryUnreachable
    } else if status == 404 || says(&["not found"]) {
        ImageFault::NoSuchImage
    } else {
        ImageFault::Other
    }
}

/// What is known of the layers so far.
#[derive(Default)]
struct Layers {
    seen: HashMap<String, Layer>,
    last: Option<Instant>,
}

#[derive(Default)]
struct Layer {
    current: u64,
    total: u64,
    done: bool,
}

impl Layers {
    /// At most a few times a second: an engine tells every 100 kB of every layer.
    fn told(&mut self, image: &str, step: &CreateImageInfo) -> Option<Progress> {
        let status = step.status.clone().unwrap_or_default();
        if let Some(id) = step.id.clone().filter(|_| !status.starts_with("Pulling from")) {
            let layer = self.seen.entry(id).or_default();
            let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
            if let Some(detail) = step.progress_detail.as_ref().filter(|_| status == "Downloading") {
                layer.current = bytes(detail.current).unwrap_or(layer.current);
                layer.total = bytes(detail.total).unwrap_or(layer.total);
            }
            if matches!(status.as_str(), "Pull complete" | "Already exists") {
                layer.done = true;
                layer.current = layer.total;
            }
        }
        let often = self.last.is_some_and(|last| last.elapsed() < std::time::Duration::from_millis(250));
        if often {
            return None;
        }
        self.last = Some(Instant::now());
        Some(Progress::Pulling {
            image: image.to_owned(),
            status,
            layers: self.seen.len(),
            layers_done: self.seen.values().filter(|layer| layer.done).count(),
            current: self.seen.values().map(|layer| layer.current).sum(),
            total: self.seen.values().map(|layer| layer.total).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_means_the_latest() {
        assert_eq!(tagged("demo"), "demo:latest");
        assert_eq!(tagged("host:5000/demo"), "host:5000/demo:latest");
        assert_eq!(tagged("host:5000/demo:1"), "host:5000/demo:1");
        assert_eq!(tagged("demo@sha256:00"), "demo@sha256:00");
    }

    #[test]
    fn words_of_registries() {
        for (status, detail, fault) in [
            (
                404,
                "manifest for localhost:5000/x:latest not found: manifest unknown: manifest unknown",
                ImageFault::NoSuchImage,
            ),
            (
                404,
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                ImageFault::NoAccess,
            ),
            (
                500,
                "Get \"http://localhost:5001/v2/x/manifests/latest\": no basic auth credentials",
                ImageFault::NoAccess,
            ),
            (500, "Head \"http://x/v2/\": unauthorized: authentication required", ImageFault::NoAccess),
            (
                500,
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
                ImageFault::RegistryUnreachable,
            ),
            (
                500,
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: server misbehaving",
                ImageFault::RegistryUnreachable,
            ),
            (
                500,
                "Get \"http://localhost:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                ImageFault::RegistryUnreachable,
            ),
            (0, "no matching manifest for linux/amd64 in the manifest list entries", ImageFault::WrongArchitecture),
            (0, "failed to register layer: write /big: no space left on device", ImageFault::NoSpace),
            (400, "invalid reference format", ImageFault::BadName),
            (500, "the moon is full", ImageFault::Other),
        ] {
            assert_eq!(pull_fault(status, detail), fault, "{detail}");
        }
    }
}
