//! The words of the board and their rules: what a board, a column, a task and an event are, and what may become of them.
//!
//! Knows nothing of databases, sockets, containers or agents. Has no IO, no async and no clock of its own: time and ids
//! come in as arguments, so that every rule here can be tested with a table.
//!
//! Start reading at [`state`] (the lifecycle), then [`task`] and [`board`].

pub mod actor;
pub mod board;
pub mod event;
pub mod graph;
pub mod ids;
pub mod people;
pub mod rank;
pub mod session;
pub mod state;
pub mod task;
pub mod text;
pub mod time;

pub use actor::{Actor, ActorKind};
pub use board::{Board, Column, NewBoard, Retention, Settings};
pub use event::{EventData, EventKind, Log, NewEvent, Seq};
pub use ids::{BoardId, ColumnId, RunId, SessionId, TaskId, UserId};
pub use people::{Membership, User};
pub use rank::Rank;
pub use state::{Refusal, State};
pub use task::{NewTask, Priority, Task, TaskNumber, Version};
pub use text::Invalid;
pub use time::Timestamp;
