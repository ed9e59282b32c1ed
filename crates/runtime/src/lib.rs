//! Where agents run: a cage made by a container engine, or a plain process. Knows nothing of tasks, boards or the database.
//!
//! Start reading at [`Runtime`], then [`cage`]; [`docker`] and [`process`] are the implementations, and [`keeper`] speaks with
//! the first process of an instance over any two byte streams.

pub mod attached;
pub mod cage;
pub mod docker;
mod error;
pub mod keeper;
mod launch;
pub mod process;
mod runtime;

pub use attached::{Attached, Grip, StderrTail};
pub use cage::{Cage, CageSpec, Facts, Refusal, compile};
pub use docker::DockerRuntime;
pub use error::{Absence, ImageFault, RuntimeError};
pub use launch::{Launched, launch};
pub use process::ProcessRuntime;
pub use runtime::*;
