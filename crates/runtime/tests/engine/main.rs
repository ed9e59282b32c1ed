//! Against a real engine. `KANVOY_TEST_ENGINE` says which: unset is the local one if it answers (else each test says by name that it
//! was skipped), `required` makes a missing one a failure, `off` skips, anything else is an address as in `DOCKER_HOST`.
//!
//! Every test has an installation of its own, and ends by showing that nothing with its label is left.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

mod absent;
mod causes;
mod confined;
mod images;
mod kept;
mod life;
mod ordinary;
mod remote;
#[path = "../support/mod.rs"]
mod support;
mod world;
