//! The room as the engine uses it, with real git. Run as root, the suite runs a second time as an ordinary user.

mod hostile;
mod https;
mod making;
mod merging;
mod reading;
mod remote;
mod removing;
mod users;
mod yard;
