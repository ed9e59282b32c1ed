//! What can go wrong with an engine, one variant for each thing somebody will branch on.

use std::time::Duration;

use serde::Serialize;

use crate::cage::Refusal;

/// Never carries a secret: messages of the engine name images, paths and addresses, nothing that was given as a secret.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuntimeError {
    #[error("no container engine answers at {socket}: {hint}")]
    EngineAbsent { socket: String, why: Absence, hint: String },
    #[error("the container engine did not answer `{call}` within {after:?}")]
    Deadline { call: &'static str, after: Duration },
    #[error("{}: {detail}", .fault.sentence(.image))]
    Image { image: String, fault: ImageFault, detail: String },
    #[error("the command `{command}` was not found in the image: {detail}")]
    CommandNotFound { command: String, detail: String },
    #[error("the command `{command}` could not be executed: {detail}")]
    NotExecutable { command: String, detail: String },
    #[error("a path to be mounted does not exist on the engine's machine: {detail}")]
    MountMissing { detail: String },
    #[error("the container engine has no space left: {detail}")]
    NoSpace { detail: String },
    #[error("the container engine has no subnet left for another network: {detail}")]
    NoSubnet { detail: String },
    #[error("the name {name} is taken by a container that is not ours")]
    NameTaken { name: String },
    #[error("there is no instance {instance}")]
    NoSuchInstance { instance: String },
    #[error("instance {instance} is not running")]
    NotRunning { instance: String },
    #[error("the engine has lost the keeper's volume; prepare again")]
    KeeperMissing,
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("{what} is not available with this runtime")]
    Unsupported { what: &'static str },
    #[error("the container engine answered `{call}` with {status}: {detail}")]
    Engine { call: &'static str, status: u16, detail: String },
    #[error("`{call}` failed on the way to the container engine: {detail}")]
    Broken { call: &'static str, detail: String },
    #[error("{what}: {detail}")]
    Local { what: &'static str, detail: String },
}

impl RuntimeError {
    /// May the same launch succeed later without anybody changing anything? A missing image or command may not.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::EngineAbsent { .. }
                | Self::Deadline { .. }
                | Self::Broken { .. }
                | Self::NoSubnet { .. }
                | Self::KeeperMissing
                | Self::Image { fault: ImageFault::RegistryUnreachable | ImageFault::Stalled, .. }
                | Self::Engine { status: 500..=599, .. }
        )
    }
}

/// Why an image cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageFault {
    NoSuchImage,
    NoAccess,
    NoSpace,
    WrongArchitecture,
    RegistryUnreachable,
    /// The registry answered, then nothing came for longer than it may.
    Stalled,
    /// The name cannot be the name of an image.
    BadName,
    Other,
}

impl ImageFault {
    fn sentence(self, image: &str) -> String {
        match self {
            Self::NoSuchImage => format!("there is no image {image}"),
            Self::NoAccess => format!("the registry gives no access to image {image}; log in to it, or make it public"),
            Self::NoSpace => format!("the engine's disk is full, so image {image} could not be stored"),
            Self::WrongArchitecture => format!("image {image} is made for another processor than the engine's"),
            Self::RegistryUnreachable => format!("the registry of image {image} cannot be reached"),
            Self::Stalled => format!("the registry stopped sending image {image}"),
            Self::BadName => format!("`{image}` is not the name of an image"),
            Self::Other => format!("image {image} cannot be had"),
        }
    }
}

/// Why no engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    NotInstalled,
    NotRunning,
    NoPermission,
    Unreachable,
    /// It speaks TLS and we do not, or the other way round, or a certificate is not accepted.
    Tls,
    /// Something answers there, but it is no container engine.
    NotAnEngine,
}
