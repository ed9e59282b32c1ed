//! What was probably meant, after a line that could not be understood.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What can be done to a task, and is typed without the word.
const OF_A_TASK: &[&str] =
    &["add", "archive", "create", "explain", "list", "ls", "move", "show", "state", "unarchive", "update", "watch"];

pub fn after(error: &clap::Error) -> Option<String> {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let typed = word(ContextKind::InvalidSubcommand)?;
            OF_A_TASK.contains(&typed).then(|| format!("kanvoy task {typed}"))
        }
        ErrorKind::UnknownArgument => {
            let typed = word(ContextKind::InvalidArg)?;
            let usage = error.get(ContextKind::Usage)?.to_string();
            let of_create = usage.contains("task create") && !typed.starts_with('-');
            of_create.then(|| "kanvoy task create \"…\"    # a title of several words stands in quotes".to_owned())
        }
        _ => None,
    }
}
