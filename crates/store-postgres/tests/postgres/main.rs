//! The store on a real server, which the tests of this binary share.

mod faults;
mod lost;
mod moves;
mod server;
mod story;
mod world;
mod writers;
