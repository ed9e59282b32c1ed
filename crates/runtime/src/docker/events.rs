//! The engine's events about our instances, across its restarts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error as Fault;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::cage::{LABEL_INSTALLATION, LABEL_INSTANCE};
use crate::docker::Inner;
use crate::docker::call::ASK;
use crate::error::RuntimeError;
use crate::runtime::{EngineEvent, Happening, InstanceId, UnixNanos};

const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

pub(super) fn stream(inner: Arc<Inner>, since: Option<UnixNanos>) -> BoxStream<'static, EngineEvent> {
    let listener =
        Listener { inner, line: None, since, seen: HashSet::new(), ready: VecDeque::new(), lost: false, tries: 0 };
    stream::unfold(listener, |mut listener| async move { Some((listener.next().await, listener)) }).boxed()
}

struct Listener {
    inner: Arc<Inner>,
    line: Option<BoxStream<'static, Result<EventMessage, Fault>>>,
    since: Option<UnixNanos>,
    /// Of the last instant: asking from an instant on gives it again.
    seen: HashSet<(String, String)>,
    ready: VecDeque<EngineEvent>,
    lost: bool,
    tries: usize,
}

impl Listener {
    async fn next(&mut self) -> EngineEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if self.line.is_none()
                && let Err(event) = self.connect().await
            {
                match event {
                    Some(event) => return event,
                    None => continue,
                }
            }
            let Some(line) = self.line.as_mut() else { continue };
            match line.next().await {
                Some(Ok(message)) => {
                    if let Some(event) = self.read(message) {
                        return event;
                    }
                }
                end => {
                    self.line = None;
                    self.lost = true;
                    let detail = match end {
                        Some(Err(fault)) => fault.to_string(),
                        _ => "the engine closed the connection".to_owned(),
                    };
                    return self.engine(Happening::EngineLost { detail });
                }
            }
        }
    }

    /// An error with an event in it is told; one without means try again.
    async fn connect(&mut self) -> Result<(), Option<EngineEvent>> {
        if self.lost {
            tokio::time::sleep(PAUSES[self.tries.min(PAUSES.len() - 1)]).await;
            self.tries += 1;
        }
        // The event stream itself says nothing until something happens, so that the engine is there is asked otherwise.
        if let Err(error) = self.inner.call("ping", ASK, |docker| async move { docker.ping().await }).await {
            let first = !std::mem::replace(&mut self.lost, true);
            return Err(first.then(|| self.engine(Happening::EngineLost { detail: error.to_string() })));
        }
        let connected = self.open();
        match connected {
            Ok(line) => self.line = Some(line),
            Err(error) => {
                let first = !std::mem::replace(&mut self.lost, true);
                return Err(first.then(|| self.engine(Happening::EngineLost { detail: error.to_string() })));
            }
        }
        self.tries = 0;
        if std::mem::replace(&mut self.lost, false) {
            return Err(Some(self.engine(Happening::Reconnected)));
        }
        Ok(())
    }

    fn open(&self) -> Result<BoxStream<'static, Result<EventMessage, Fault>>, RuntimeError> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![format!("{LABEL_INSTALLATION}={}", self.inner.config.installation)]),
        ]);
        let mut options = EventsOptionsBuilder::default().filters(&filters);
        if let Some(since) = self.since {
            options = options.since(&format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000));
        }
        let docker = self.inner.docker()?;
        let options = options.build();
        // The client's stream borrows nothing of the client.
        Ok(docker.events(Some(options)).boxed())
    }

    fn read(&mut self, message: EventMessage) -> Option<EngineEvent> {
        let at = message.time_nano?;
        let actor = message.actor?;
        let action = message.action.unwrap_or_default();
        if self.since.is_none_or(|since| at > since) {
            self.since = Some(at);
            self.seen.clear();
        }
        if !self.seen.insert((actor.id.unwrap_or_default(), action.clone())) {
            return None;
        }
        let attributes = actor.attributes.unwrap_or_default();
        let instance = InstanceId::parse(attributes.get(LABEL_INSTANCE)?).ok()?;
        let number = |name: &str| attributes.get(name).and_then(|text| text.parse().ok());
        let what = match action.as_str() {
            "create" => Happening::Created,
            "start" => Happening::Started,
            "pause" => Happening::Paused,
            "unpause" => Happening::Unpaused,
            "oom" => Happening::OutOfMemory,
            "kill" => Happening::Signalled { signal: number("signal").unwrap_or_default() },
            "die" => Happening::Died { code: attributes.get("exitCode").and_then(|text| text.parse().ok()) },
            "destroy" => Happening::Removed,
            _ => return None,
        };
        Some(EngineEvent { at, instance: Some(instance), what })
    }

    fn engine(&self, what: Happening) -> EngineEvent {
        EngineEvent { at: self.since.unwrap_or_default(), instance: None, what }
    }
}
