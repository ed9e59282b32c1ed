//! What is not given, however it is asked for.

use std::path::PathBuf;

use crate::cage::HostMount;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("{what} is not available yet: {detail}")]
    NotAvailable { what: &'static str, detail: &'static str },
    #[error("{} would give the agent the container engine, and with it the whole machine", .path.display())]
    EngineSocket { path: PathBuf },
    #[error("{} may not be mounted: {why}", .path.display())]
    Mount { path: PathBuf, why: &'static str },
    #[error("{} may not be mounted over: {why}", .path.display())]
    Target { path: PathBuf, why: &'static str },
    #[error("the host has no {}, which the agent type asks for", .mount.file())]
    HostMountMissing { mount: HostMount },
    #[error("an agent never runs as root")]
    Root,
    #[error("`{name}` cannot be the name of an environment variable or secret")]
    Name { name: String },
    #[error("the value of {name} has a NUL byte in it")]
    Value { name: String },
    #[error("an agent needs a command")]
    NoCommand,
    #[error("`{image}` is not the name of an image")]
    Image { image: String },
    #[error("{what} must be {must}")]
    Limit { what: &'static str, must: &'static str },
    #[error("`{label}` cannot be a label or its value")]
    Label { label: String },
    #[error("{} is a path of this machine, and the engine is on another", .path.display())]
    NotLocal { path: PathBuf },
}

impl Refusal {
    /// For the API's `code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAvailable { .. } => "not_available",
            Self::EngineSocket { .. } => "engine_socket",
            Self::Mount { .. } | Self::Target { .. } | Self::NotLocal { .. } => "mount_refused",
            Self::HostMountMissing { .. } => "host_mount_missing",
            Self::Root => "root_refused",
            Self::Name { .. } | Self::Value { .. } => "bad_variable",
            Self::NoCommand => "no_command",
            Self::Image { .. } => "bad_image_name",
            Self::Limit { .. } => "bad_limit",
            Self::Label { .. } => "bad_label",
        }
    }
}
