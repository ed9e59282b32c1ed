//! What an engine says of an instance, as typed causes.

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};

use crate::docker::Inner;
use crate::docker::call::{ASK, found};
use crate::error::{ImageFault, RuntimeError};
use crate::runtime::{Exit, ExitCause, Instance, InstanceId, State};

impl Inner {
    pub(super) async fn inspect(&self, instance: &InstanceId) -> Result<Option<Instance>, RuntimeError> {
        let Some(answer) = self.inspect_raw(&instance.container()).await? else { return Ok(None) };
        let stderr = self.held.lock().get(instance).map(|held| held.stderr.text()).unwrap_or_default();
        Ok(Some(read(answer, &stderr)))
    }

    pub(super) async fn inspect_raw(&self, name: &str) -> Result<Option<ContainerInspectResponse>, RuntimeError> {
        found(self.call("inspect", ASK, |docker| async move { docker.inspect_container(name, None).await }).await)
    }
}

fn read(answer: ContainerInspectResponse, stderr: &str) -> Instance {
    let config = answer.config.unwrap_or_default();
    let engine_state = answer.state.unwrap_or_default();
    let state = state(&engine_state);
    Instance {
        engine_id: answer.id.unwrap_or_default(),
        state,
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        image: config.image.unwrap_or_default(),
        started_at: time(engine_state.started_at.as_deref()),
        exit: (state == State::Exited).then(|| exit(&engine_state, stderr)),
    }
}

pub(super) fn state(state: &ContainerState) -> State {
    use ContainerStateStatusEnum as Status;
    match state.status {
        // A failed start leaves the instance `created`, with a code and a reason.
        Some(Status::CREATED) if state.exit_code.unwrap_or_default() != 0 => State::Exited,
        Some(Status::CREATED) => State::Created,
        Some(Status::RUNNING) => State::Running,
        Some(Status::PAUSED) => State::Paused,
        Some(Status::EXITED) => State::Exited,
        _ => State::Other,
    }
}

/// The year 1 is how engines say never.
fn time(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty() && !text.starts_with("0001-")).map(str::to_owned)
}

fn exit(state: &ContainerState, stderr: &str) -> Exit {
    let code = state.exit_code.unwrap_or_default();
    let oom = state.oom_killed.unwrap_or_default();
    let error = state.error.as_deref().unwrap_or_default();
    Exit { code, oom, cause: cause(code, oom, error, stderr), finished_at: time(state.finished_at.as_deref()) }
}

fn cause(code: i64, oom: bool, error: &str, stderr: &str) -> ExitCause {
    if !error.is_empty() {
        return match command_fault(error) {
            Some(CommandFault::NotFound) => ExitCause::CommandNotFound { detail: error.to_owned() },
            Some(CommandFault::NotExecutable) => ExitCause::NotExecutable { detail: error.to_owned() },
            None => ExitCause::NotStarted { detail: error.to_owned() },
        };
    }
    // The engine's init runs the command, so a missing one is its last words and not the engine's.
    if let Some(detail) = stderr.lines().find(|line| line.starts_with("[FATAL tini") && line.contains("exec ")) {
        let detail = detail.trim().to_owned();
        match code {
            127 => return ExitCause::CommandNotFound { detail },
            126 => return ExitCause::NotExecutable { detail },
            _ => {}
        }
    }
    match (code, oom) {
        (137, true) => ExitCause::OutOfMemory,
        (code, true) => ExitCause::ChildOutOfMemory { code },
        (code @ 129..=192, false) => ExitCause::Killed { signal: i32::try_from(code - 128).unwrap_or_default() },
        (code, false) => ExitCause::Exited { code },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandFault {
    NotFound,
    NotExecutable,
}

/// The words of runc and containerd, which are all that there is to tell these apart.
pub(super) fn command_fault(text: &str) -> Option<CommandFault> {
    let text = text.to_ascii_lowercase();
    let about_exec = text.contains("exec:") || text.contains("exec ") || text.contains("starting container process");
    if about_exec && (text.contains("executable file not found") || text.contains("no such file or directory")) {
        // The same words come from a missing mount, which is not the command's fault.
        return (!text.contains("mount")).then_some(CommandFault::NotFound);
    }
    let cannot = ["permission denied", "exec format error", "is a directory"];
    (about_exec && cannot.iter().any(|words| text.contains(words))).then_some(CommandFault::NotExecutable)
}

/// What a failed create or start means.
pub(super) fn launch_fault(error: RuntimeError, image: &str, command: &str) -> RuntimeError {
    let RuntimeError::Engine { call, status, detail } = error else { return error };
    let low = detail.to_ascii_lowercase();
    let image = image.to_owned();
    if status == 404 && low.contains("no such image") {
        return RuntimeError::Image { image, fault: ImageFault::NoSuchImage, detail };
    }
    if low.contains("exec format error") {
        return RuntimeError::Image { image, fault: ImageFault::WrongArchitecture, detail };
    }
    if low.contains("bind source path does not exist") {
        return RuntimeError::MountMissing { detail };
    }
    if low.contains("no space left") {
        return RuntimeError::NoSpace { detail };
    }
    if low.contains("address pool") {
        return RuntimeError::NoSubnet { detail };
    }
    match command_fault(&detail) {
        Some(CommandFault::NotFound) => RuntimeError::CommandNotFound { command: command.to_owned(), detail },
        Some(CommandFault::NotExecutable) => RuntimeError::NotExecutable { command: command.to_owned(), detail },
        None => RuntimeError::Engine { call, status, detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes() {
        let tini = "[FATAL tini (7)] exec /nope failed: No such file or directory\n";
        let denied = "[FATAL tini (7)] exec /etc failed: Permission denied\n";
        let runc = "OCI runtime create failed: exec: \"/nope\": stat /nope: no such file or directory: unknown";
        assert_eq!(cause(0, false, "", ""), ExitCause::Exited { code: 0 });
        assert_eq!(cause(7, false, "", tini), ExitCause::Exited { code: 7 });
        assert_eq!(cause(137, true, "", ""), ExitCause::OutOfMemory);
        assert_eq!(cause(7, true, "", ""), ExitCause::ChildOutOfMemory { code: 7 });
        assert_eq!(cause(137, false, "", ""), ExitCause::Killed { signal: 9 });
        assert_eq!(cause(143, false, "", ""), ExitCause::Killed { signal: 15 });
        assert_eq!(cause(255, false, "", ""), ExitCause::Exited { code: 255 });
        assert!(matches!(cause(127, false, "", tini), ExitCause::CommandNotFound { .. }));
        assert!(matches!(cause(126, false, "", denied), ExitCause::NotExecutable { .. }));
        assert!(matches!(cause(127, false, runc, ""), ExitCause::CommandNotFound { .. }));
        assert!(matches!(cause(128, false, "no room", ""), ExitCause::NotStarted { .. }));
    }

    #[test]
    fn engine_errors_find_their_meaning() {
        let check = |status, detail: &str| {
            launch_fault(RuntimeError::Engine { call: "start", status, detail: detail.into() }, "img", "/agent")
        };
        assert!(matches!(
            check(404, "No such image: img:latest"),
            RuntimeError::Image { fault: ImageFault::NoSuchImage, .. }
        ));
        let missing = "failed to create shim: starting container process caused: exec: \"/agent\": stat /agent: no such file or directory";
        assert!(matches!(check(400, missing), RuntimeError::CommandNotFound { .. }));
        assert!(matches!(
            check(400, "exec: \"/agent\": permission denied: unknown"),
            RuntimeError::NotExecutable { .. }
        ));
        assert!(matches!(
            check(400, "exec /agent: exec format error"),
            RuntimeError::Image { fault: ImageFault::WrongArchitecture, .. }
        ));
        let mount = "invalid mount config for type \"bind\": bind source path does not exist: /x";
        assert!(matches!(check(400, mount), RuntimeError::MountMissing { .. }));
        let pool = "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network";
        assert!(matches!(check(500, pool), RuntimeError::NoSubnet { .. }));
        assert!(matches!(check(500, "write /x: no space left on device"), RuntimeError::NoSpace { .. }));
        assert!(matches!(check(500, "something else"), RuntimeError::Engine { status: 500, .. }));
        let rootfs = "starting container process caused: error mounting \"/x\" to rootfs: no such file or directory";
        assert!(matches!(check(500, rootfs), RuntimeError::Engine { .. }));
    }
}
