//! What the keeper and those who talk to it agree on: [`frames`] on the wire and in the journal, and the [`words`] of the
//! control channel. No IO and no libc here, so that the daemon's side reads exactly what the keeper writes.
//!
//! It is defined here, on the keeper's side, and imported by the runtime, for the keeper is the one that ends up inside
//! containers which outlive a daemon's upgrade: what an old keeper speaks cannot be changed any more.

pub mod frames;
pub mod words;
