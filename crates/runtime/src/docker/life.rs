//! An instance from its creation to its removal.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as Fault;
use bollard::models::{NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    RemoveContainerOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::attached::{Attached, StderrTail};
use crate::cage::{self, Cage, LABEL_INSTALLATION, LABEL_INSTANCE, Network, keeper_volume};
use crate::docker::call::{ASK, MAKE, REMOVE, START, done, found};
use crate::docker::exit::{launch_fault, state};
use crate::docker::{Held, Inner, create};
use crate::error::RuntimeError;
use crate::runtime::{Created, Exit, InstanceId, Keep, Launch, State, Stats};

/// How long one `wait` is trusted before the engine is asked directly: a connection can be dead without a word.
const WAIT_SPELL: Duration = Duration::from_secs(60);

impl Inner {
    pub(super) async fn create(&self, launch: &Launch) -> Result<Created, RuntimeError> {
        let cage = &launch.cage;
        if self.config.address.is_local() {
            cage::check_sources(cage, &self.config.address.to_string())?;
        }
        if let Some(keeper) = &cage.keeper {
            self.keeper_still_there(&keeper_volume(keeper)).await?;
        }
        if cage.network == Network::Open {
            self.network_of_its_own(cage).await?;
        }
        let name = cage.instance.container();
        let body = create::body(cage, &launch.secrets);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let made = self
            .call("create", MAKE, |docker| {
                let (options, body) = (options.clone(), body.clone());
                async move { docker.create_container(Some(options), body).await }
            })
            .await;
        let command = cage.command.first().map_or("", String::as_str);
        match made {
            Ok(made) => {
                self.fresh.lock().insert(cage.instance.clone(), (cage.image.clone(), command.to_owned()));
                Ok(Created { engine_id: made.id, adopted: false, state: State::Created, warnings: made.warnings })
            }
            // The name is taken: by an earlier try whose answer was lost, or by an earlier life of the daemon.
            Err(RuntimeError::Engine { status: 409, detail, .. }) if detail.contains("in use") => {
                self.adopt(&cage.instance).await
            }
            Err(error) => Err(launch_fault(error, &cage.image, command)),
        }
    }

    async fn adopt(&self, instance: &InstanceId) -> Result<Created, RuntimeError> {
        let name = instance.container();
        let found = self.inspect(instance).await?.filter(|found| {
            let says = |label: &str, value: &str| found.labels.get(label).is_some_and(|is| is == value);
            says(LABEL_INSTALLATION, &self.config.installation) && says(LABEL_INSTANCE, instance.as_str())
        });
        match found {
            Some(found) => {
                Ok(Created { engine_id: found.engine_id, adopted: true, state: found.state, warnings: Vec::new() })
            }
            None => Err(RuntimeError::NameTaken { name }),
        }
    }

    /// Never the default bridge, where every container on the machine sees every other.
    async fn network_of_its_own(&self, cage: &Cage) -> Result<(), RuntimeError> {
        let name = cage.instance.network();
        // Engines allow two networks of one name, so asking comes first.
        if let Some(network) = self.network(&name).await? {
            return self.ours(network.labels.unwrap_or_default().get(LABEL_INSTALLATION), &name);
        }
        let option = |name: &str, value: &str| (format!("com.docker.network.bridge.{name}"), value.to_owned());
        let request = NetworkCreateRequest {
            name,
            driver: Some("bridge".to_owned()),
            internal: Some(false),
            attachable: Some(false),
            labels: Some(cage.labels.clone().into_iter().collect()),
            options: Some([option("enable_icc", "false")].into()),
            ..NetworkCreateRequest::default()
        };
        let made = self
            .call("network", MAKE, |docker| {
                let request = request.clone();
                async move { docker.create_network(request).await }
            })
            .await;
        made.map(|_| ()).map_err(|error| launch_fault(error, "", ""))
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkInspect>, RuntimeError> {
        found(self.call("network", ASK, |docker| async move { docker.inspect_network(name, None).await }).await)
    }

    pub(super) fn ours(&self, installation: Option<&String>, name: &str) -> Result<(), RuntimeError> {
        if installation.is_some_and(|is| *is == self.config.installation) {
            Ok(())
        } else {
            Err(RuntimeError::NameTaken { name: name.to_owned() })
        }
    }

    pub(super) async fn attach(&self, instance: &InstanceId) -> Result<Attached, RuntimeError> {
        let name = instance.container();
        // An attachment to what has ended never ends itself. What was only just made needs no question.
        let fresh = self.fresh.lock().contains_key(instance);
        if !fresh {
            let answer = self.inspect_raw(&name).await?;
            let answer = answer.ok_or_else(|| RuntimeError::NoSuchInstance { instance: instance.to_string() })?;
            if state(&answer.state.unwrap_or_default()) == State::Exited {
                return Err(RuntimeError::NotRunning { instance: instance.to_string() });
            }
        }
        self.attach_unasked(instance).await
    }

    pub(super) async fn revive(&self, instance: &InstanceId) -> Result<Attached, RuntimeError> {
        let found = self.inspect_raw(&instance.container()).await?;
        let found = found.ok_or_else(|| RuntimeError::NoSuchInstance { instance: instance.to_string() })?;
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        self.ours(labels.get(LABEL_INSTALLATION), &instance.container())?;
        // Anything but a keeper would do its work a second time.
        let entrypoint = found.config.and_then(|config| config.entrypoint).unwrap_or_default();
        if entrypoint != [cage::KEEPER] {
            return Err(RuntimeError::Unsupported { what: "reviving an instance without a keeper" });
        }
        let attached = self.attach_unasked(instance).await?;
        self.start(instance).await?;
        Ok(attached)
    }

    async fn attach_unasked(&self, instance: &InstanceId) -> Result<Attached, RuntimeError> {
        let name = instance.container();
        self.drop_held(instance);
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .logs(false)
            .build();
        let results = self
            .call("attach", ASK, |docker| {
                let (options, name) = (options.clone(), name.clone());
                async move { docker.attach_container(&name, Some(options)).await }
            })
            .await;
        let results = results.map_err(|error| match error {
            RuntimeError::Engine { status: 404, .. } => RuntimeError::NoSuchInstance { instance: instance.to_string() },
            other => other,
        })?;
        let stderr = StderrTail::default();
        let stdout = Stdout { output: results.output, rest: Bytes::new(), stderr: stderr.clone() };
        let attached = Attached::new(results.input, stdout, stderr.clone());
        self.held.lock().insert(instance.clone(), Held { grip: attached.grip.clone(), stderr });
        Ok(attached)
    }

    pub(super) async fn start(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        // Never closed, so a place always comes.
        let _place = self.starts.acquire().await.ok();
        let name = instance.container();
        let name = name.as_str();
        let started = done_already(
            self.call("start", START, |docker| async move { docker.start_container(name, None).await }).await,
        );
        let fresh = self.fresh.lock().remove(instance);
        if matches!(started, Ok(()) | Err(RuntimeError::Deadline { .. } | RuntimeError::Broken { .. })) {
            return started;
        }
        // What never starts never ends its attachment either.
        self.drop_held(instance);
        let (image, command) = fresh.unwrap_or_default();
        started.map_err(|error| match error {
            RuntimeError::Engine { status: 404, detail, .. } if detail.contains("No such container") => {
                RuntimeError::NoSuchInstance { instance: instance.to_string() }
            }
            other => launch_fault(other, &image, &command),
        })
    }

    pub(super) async fn stop(&self, instance: &InstanceId, grace: Duration) -> Result<Option<Exit>, RuntimeError> {
        self.drop_if_wedged(instance);
        let name = instance.container();
        let Some(found) = self.inspect(instance).await? else { return Ok(None) };
        match found.state {
            State::Created | State::Exited => return Ok(found.exit),
            State::Running | State::Paused | State::Other => {}
        }
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let asked = self
            .call("stop", grace + ASK * 2, |docker| {
                let (options, name) = (options.clone(), name.clone());
                async move { docker.stop_container(&name, Some(options)).await }
            })
            .await;
        // Whatever became of the polite way, the instance has to end.
        if let Err(error) = done(asked) {
            tracing::warn!("instance {instance} did not stop ({error}); killing it");
            self.kill(&name).await?;
        }
        let until = Instant::now() + ASK;
        loop {
            match self.inspect(instance).await? {
                None => return Ok(None),
                Some(found) if found.exit.is_some() => return Ok(found.exit),
                Some(_) if Instant::now() > until => {
                    return Err(RuntimeError::Deadline { call: "stop", after: grace + ASK });
                }
                Some(_) => {
                    self.kill(&name).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn kill(&self, name: &str) -> Result<(), RuntimeError> {
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let killed = self
            .call("kill", ASK, |docker| {
                let options = options.clone();
                async move { docker.kill_container(name, Some(options)).await }
            })
            .await;
        match killed {
            // Not running any more is what was wanted.
            Err(RuntimeError::Engine { status: 404 | 409, .. }) => Ok(()),
            other => other,
        }
    }

    pub(super) async fn remove(&self, instance: &InstanceId, keep: Keep) -> Result<(), RuntimeError> {
        self.drop_held(instance);
        self.fresh.lock().remove(instance);
        let name = instance.container();
        if let Some(found) = self.inspect_raw(&name).await? {
            let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
            self.ours(labels.get(LABEL_INSTALLATION), &name)?;
            self.remove_container(&found.id.unwrap_or(name)).await?;
        }
        let network = instance.network();
        if let Some(found) = self.network(&network).await? {
            self.ours(found.labels.unwrap_or_default().get(LABEL_INSTALLATION), &network)?;
            self.remove_network(&network).await?;
        }
        match keep {
            Keep::Journal => Ok(()),
            Keep::Nothing => self.remove_volume_of_ours(&instance.journal_volume()).await,
        }
    }

    pub(super) async fn remove_container(&self, name: &str) -> Result<(), RuntimeError> {
        // `v` takes the nameless volumes that an image may have declared.
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let until = Instant::now() + REMOVE;
        loop {
            let removed = self
                .call("remove", REMOVE, |docker| {
                    let options = options.clone();
                    async move { docker.remove_container(name, Some(options)).await }
                })
                .await;
            match removed {
                // Somebody else is removing it at this moment.
                Err(RuntimeError::Engine { status: 409, detail, .. })
                    if detail.contains("in progress") && Instant::now() < until =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                other => return done(other),
            }
        }
    }

    pub(super) async fn remove_network(&self, name: &str) -> Result<(), RuntimeError> {
        done(self.call("remove network", REMOVE, |docker| async move { docker.remove_network(name).await }).await)
    }

    pub(super) async fn wait(&self, instance: &InstanceId) -> Result<Option<Exit>, RuntimeError> {
        let name = instance.container();
        loop {
            let condition = match self.inspect(instance).await {
                Ok(None) => return Ok(None),
                Ok(Some(found)) if found.exit.is_some() => return Ok(found.exit),
                Ok(Some(found)) if found.state == State::Created => "next-exit",
                Ok(Some(_)) => "not-running",
                // An engine that is away tells nothing about its instances.
                Err(
                    RuntimeError::EngineAbsent { .. } | RuntimeError::Deadline { .. } | RuntimeError::Broken { .. },
                ) => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Ok(docker) = self.docker() else { continue };
            let options = WaitContainerOptionsBuilder::default().condition(condition).build();
            let spell = if condition == "next-exit" { ASK } else { WAIT_SPELL };
            let mut waited = std::pin::pin!(docker.wait_container(&name, Some(options)));
            if let Ok(None | Some(Err(Fault::IOError { .. } | Fault::HyperResponseError { .. }))) =
                tokio::time::timeout(spell, waited.next()).await
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    pub(super) async fn pause(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        let name = instance.container();
        let name = name.as_str();
        let asked = self.call("pause", ASK, |docker| async move { docker.pause_container(name).await }).await;
        self.unless_already(instance, State::Paused, asked).await
    }

    pub(super) async fn unpause(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        let name = instance.container();
        let name = name.as_str();
        let asked = self.call("unpause", ASK, |docker| async move { docker.unpause_container(name).await }).await;
        self.unless_already(instance, State::Running, asked).await
    }

    async fn unless_already(
        &self,
        instance: &InstanceId,
        wanted: State,
        asked: Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let Err(error @ RuntimeError::Engine { status: 404 | 409 | 500, .. }) = asked else { return asked };
        match self.inspect(instance).await? {
            None => Err(RuntimeError::NoSuchInstance { instance: instance.to_string() }),
            Some(found) if found.state == wanted => Ok(()),
            Some(found) if matches!(found.state, State::Created | State::Exited) => {
                Err(RuntimeError::NotRunning { instance: instance.to_string() })
            }
            Some(_) => Err(error),
        }
    }

    pub(super) async fn stats(&self, instance: &InstanceId) -> Result<Stats, RuntimeError> {
        let docker = self.docker()?;
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let name = instance.container();
        let mut answers = std::pin::pin!(docker.stats(&name, Some(options)));
        let answer = match tokio::time::timeout(ASK, answers.next()).await {
            Err(_) => return Err(RuntimeError::Deadline { call: "stats", after: ASK }),
            Ok(Some(Ok(answer))) => answer,
            Ok(None) => return Err(RuntimeError::NotRunning { instance: instance.to_string() }),
            Ok(Some(Err(fault))) => {
                return Err(match self.means("stats", &fault) {
                    RuntimeError::Engine { status: 404, .. } => {
                        RuntimeError::NoSuchInstance { instance: instance.to_string() }
                    }
                    other => other,
                });
            }
        };
        let memory = answer.memory_stats.unwrap_or_default();
        let cache = memory
            .stats
            .as_ref()
            .and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")));
        let networks = answer.networks.unwrap_or_default();
        Ok(Stats {
            // Pages of files that the kernel can drop at any time are not the agent's need.
            memory_bytes: memory.usage.unwrap_or_default().saturating_sub(cache.copied().unwrap_or_default()),
            memory_limit_bytes: memory.limit.unwrap_or_default(),
            cpu_nanos: answer
                .cpu_stats
                .and_then(|cpu| cpu.cpu_usage)
                .and_then(|usage| usage.total_usage)
                .unwrap_or_default(),
            pids: answer.pids_stats.and_then(|pids| pids.current).unwrap_or_default(),
            rx_bytes: networks.values().filter_map(|network| network.rx_bytes).sum(),
            tx_bytes: networks.values().filter_map(|network| network.tx_bytes).sum(),
        })
    }

    fn drop_held(&self, instance: &InstanceId) {
        if let Some(held) = self.held.lock().remove(instance) {
            held.grip.drop_now();
        }
    }

    fn drop_if_wedged(&self, instance: &InstanceId) {
        if let Some(held) = self.held.lock().get(instance)
            && held.grip.unread_for().is_some_and(|unread| unread >= self.config.wedged_after)
        {
            tracing::warn!("dropping the attachment of instance {instance}: nobody reads it");
            held.grip.drop_now();
        }
    }
}

fn done_already(answer: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match answer {
        Err(RuntimeError::Engine { status: 304, .. }) => Ok(()),
        other => other,
    }
}

/// The engine's frames, unwrapped: stdout as bytes, stderr to its tail.
struct Stdout {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, Fault>> + Send>>,
    rest: Bytes,
    stderr: StderrTail,
}

impl AsyncRead for Stdout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.rest.is_empty() {
                let take = self.rest.len().min(buf.remaining());
                buf.put_slice(&self.rest.split_to(take));
                return Poll::Ready(Ok(()));
            }
            match std::task::ready!(self.output.poll_next_unpin(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(LogOutput::StdOut { message })) => self.rest = message,
                Some(Ok(LogOutput::StdErr { message })) => self.stderr.push(&message),
                Some(Ok(LogOutput::StdIn { .. })) => {}
                // Text outside any frame: a terminal, or the stream is out of step. Guessing would put noise into the record.
                Some(Ok(LogOutput::Console { .. })) => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the engine's stream is not framed",
                    )));
                }
                Some(Err(fault)) => return Poll::Ready(Err(io::Error::other(fault))),
            }
        }
    }
}
