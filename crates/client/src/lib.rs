//! A typed client of Kanvoy's API, for the command line, for tests and for other programs.
//!
//! Knows nothing of the server's crates: its shapes are its own, and they take what a newer server adds without
//! complaint. Start reading at [`Client`] for requests and [`Events`] for streams.

mod boards;
mod client;
mod error;
mod events;
mod local;
mod people;
mod shapes;
mod tasks;
mod transfer;

pub use client::{Client, ClientOptions, Health, is_loopback};
pub use error::{ClientError, FieldProblem, Problem};
pub use events::{Cursor, Events, Follow, Heard};
pub use people::{Login, Member, NewToken, Tokens, User, UserEdit};
pub use reqwest::Url;
pub use shapes::{
    Board, BoardEdit, Column, ColumnEdit, Event, EventPage, Link, Me, Move, NewBoard, NewTask, Page, Task, TaskEdit,
    TaskFilter, Waiting,
};
