//! What can be typed: the whole tree of commands with its help. Nothing here does anything.

mod people;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use kanvoy_domain::{Priority, State};
pub use people::{AuthCommand, MemberCommand, TokenCommand, UserCommand};

use crate::config::serving::{DatabaseUrl, DockerHost, HostName, Listen, LogFormat, Runtime, WebUrl};

const EXAMPLES: &str = "\
Examples:
  kanvoy serve                                  start the daemon; it prints a link for the browser
  kanvoy board create \"My project\" --key MP     make a board
  kanvoy task create \"Fix the login\" --label bug
  kanvoy task watch 1                           follow card 1 live
  kanvoy status                                 where things stand, and what to type next

A task is its number on the current board (12), KEY-12, or its id. The current board is --board, KANVOY_BOARD, or the
only one there is.

Exit codes: 0 done, 1 failed, 2 bad request or usage, 3 no daemon, 4 not logged in or not allowed, 5 not found,
6 conflict, 7 try again later.";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold());

/// A kanban board worked by AI agents.
#[derive(Debug, Parser)]
#[command(name = "kanvoy", version, after_help = EXAMPLES, styles = STYLES, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true, infer_long_args = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The daemon to talk to; by itself the one of the data directory [env: KANVOY_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<WebUrl>,
    /// A file that holds the token; by itself DIR/token [env: KANVOY_TOKEN_FILE, or the token in KANVOY_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where database, token and lock lie [env: KANVOY_DATA_DIR] [default: $XDG_DATA_HOME/kanvoy]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The current board, by key or id [env: KANVOY_BOARD]
    #[arg(long, short, global = true, value_name = "KEY")]
    pub board: Option<String>,
    /// Answer with JSON: one document, or one line for each event of a stream
    #[arg(long, global = true)]
    pub json: bool,
    /// The configuration file [env: KANVOY_CONFIG] [default: kanvoy.toml here, in DIR, or in $XDG_CONFIG_HOME/kanvoy]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: the board, its log, the API
    Serve(Box<ServeArgs>),
    /// Where things stand, and what to type next
    Status,
    /// Boards: make, list, show, change, archive, delete
    #[command(subcommand)]
    Board(BoardCommand),
    /// The columns of a board
    #[command(subcommand)]
    Column(ColumnCommand),
    /// Tasks: make, find, change, move, watch
    #[command(subcommand)]
    Task(TaskCommand),
    /// Find tasks by their words, on the current board or on all
    Search(SearchArgs),
    /// The log of a board, of the system, or all of them live
    Events(EventsArgs),
    /// Write a board with its whole log to a file
    Export(ExportArgs),
    /// Make a board from an exported file
    Import(ImportArgs),
    /// Log in and out, who you are to the daemon, and links for a browser
    #[command(subcommand)]
    Auth(AuthCommand),
    /// People: let them in, change them, keep them out
    #[command(subcommand)]
    User(UserCommand),
    /// Your personal tokens, for programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// The database itself: copy it, check it
    #[command(subcommand)]
    Db(DbCommand),
    /// What is configured, and where each value comes from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check daemon, data directory, database, disk, clock and engine; each finding with its remedy
    Doctor,
    /// A completion script for your shell
    ///
    /// For example: kanvoy completions bash > ~/.local/share/bash-completion/completions/kanvoy
    Completions { shell: clap_complete::Shell },
    /// Which version this is
    Version,
}

const SERVE_NOTES: &str = "\
KANVOY_ADMIN_PASSWORD_FILE names a file with the password that the user `admin` gets when there is none yet.
Every flag is also a key in kanvoy.toml, with _ for -; kanvoy config show says what holds and why.
SIGTERM or Ctrl-C ends it in order, within seconds and with exit code 0; a second one at once.";

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = SERVE_NOTES)]
pub struct ServeArgs {
    /// Where to listen; beyond loopback only when somebody can log in: see KANVOY_ADMIN_PASSWORD_FILE below [env:
    /// KANVOY_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<Listen>,
    /// What agents run in; agents come in a later version [env: KANVOY_RUNTIME] [default: docker]
    #[arg(long, value_enum)]
    pub runtime: Option<Runtime>,
    /// Allow agents without a container; agents come in a later version [env: KANVOY_ALLOW_PROCESS]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub allow_process: Option<bool>,
    /// The container engine [env: KANVOY_DOCKER_HOST, DOCKER_HOST] [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "URL")]
    pub docker_host: Option<DockerHost>,
    /// The database, sqlite:FILE; others come in a later version [env: KANVOY_DATABASE_URL] [default: sqlite:kanvoy.db
    /// in the data directory]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<DatabaseUrl>,
    /// A name under which browsers and programs may call, beside the loopback names; may be given again [env:
    /// KANVOY_ALLOWED_HOST, separated by commas]
    #[arg(long, value_name = "HOST")]
    pub allowed_host: Vec<HostName>,
    /// The address that people use when a proxy stands in between [env: KANVOY_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<WebUrl>,
    /// End the agents first when stopping; agents come in a later version [env: KANVOY_DRAIN]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub drain: Option<bool>,
    #[command(flatten)]
    pub access: crate::config::access::AccessArgs,
    /// How to write the log to stderr; auto is text on a terminal and JSON elsewhere [env: KANVOY_LOG_FORMAT]
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// What to log: error, warn, info, debug, trace, or rules such as kanvoy_api=debug,info [env: KANVOY_LOG]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum BoardCommand {
    /// Make a board
    Create {
        name: String,
        /// The short name in task numbers, as in KEY-12; made from the name when not given
        #[arg(long)]
        key: Option<String>,
        /// What it is about; - reads it from stdin
        #[arg(long, short)]
        description: Option<String>,
        #[arg(long, value_name = "URL")]
        repository_url: Option<String>,
        #[arg(long, value_name = "BRANCH")]
        default_branch: Option<String>,
    },
    /// List the boards
    #[command(visible_alias = "ls")]
    List {
        /// The archived ones too
        #[arg(long)]
        archived: bool,
    },
    /// Show a board with its columns; the current one when none is named
    Show { board: Option<String> },
    /// Change what is said of a board
    Update(BoardUpdateArgs),
    /// Who belongs to a board
    #[command(subcommand)]
    Member(MemberCommand),
    /// Put a board away; it can be read but not changed
    Archive { board: Option<String> },
    /// Take a board out again
    Unarchive { board: Option<String> },
    /// Hide a board and all its tasks, or remove them for good
    Delete {
        board: String,
        #[command(flatten)]
        how: DeleteArgs,
    },
}

#[derive(Debug, Args)]
pub struct BoardUpdateArgs {
    pub board: Option<String>,
    #[arg(long)]
    pub name: Option<String>,
    /// What it is about; - reads it from stdin
    #[arg(long, short)]
    pub description: Option<String>,
    /// Empty clears it
    #[arg(long, value_name = "URL")]
    pub repository_url: Option<String>,
    /// Empty clears it
    #[arg(long, value_name = "BRANCH")]
    pub default_branch: Option<String>,
    /// Who reviews work before it is done: nobody or person
    #[arg(long)]
    pub review: Option<String>,
    /// Whether work is verified before it is done
    #[arg(long, value_name = "BOOL")]
    pub verify: Option<bool>,
    /// How many events are kept; 0 keeps all
    #[arg(long, value_name = "N")]
    pub keep_events: Option<u64>,
    /// For how many days events are kept; 0 keeps them for ever
    #[arg(long, value_name = "DAYS")]
    pub keep_days: Option<u64>,
    #[command(flatten)]
    pub expect: ExpectArgs,
}

#[derive(Clone, Debug, Default, Args)]
pub struct ExpectArgs {
    /// Refuse when somebody changed it since this version
    #[arg(long = "version", value_name = "N", id = "expected_version")]
    pub version: Option<u64>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct DeleteArgs {
    /// Remove it for good, with what is kept of it; cannot be undone
    #[arg(long)]
    pub purge: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum ColumnCommand {
    /// List the columns of the board as they stand
    #[command(visible_alias = "ls")]
    List,
    /// Add a column
    Add {
        name: String,
        #[command(flatten)]
        layout: ColumnLayoutArgs,
    },
    /// Change a column, named by its name or id
    Update {
        column: String,
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        layout: ColumnLayoutArgs,
        #[command(flatten)]
        expect: ExpectArgs,
    },
    /// Remove a column; its cards go to where their state is at home
    Remove { column: String },
}

#[derive(Clone, Debug, Default, Args)]
pub struct ColumnLayoutArgs {
    /// A state that it holds; may be given again, or several separated by commas
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub states: Vec<State>,
    /// How many cards it should hold at most; 0 for any number
    #[arg(long, value_name = "N")]
    pub wip_limit: Option<u32>,
    /// Its place among the columns, from 1
    #[arg(long, value_name = "N")]
    pub position: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Make a task
    #[command(visible_alias = "add")]
    Create(Box<TaskCreateArgs>),
    /// List tasks of the current board
    #[command(visible_alias = "ls")]
    List(TaskListArgs),
    /// Show a task
    Show { task: String },
    /// Change what is said of a task
    Update(Box<TaskUpdateArgs>),
    /// Move a card to a column, or to another place in its column
    Move {
        task: String,
        /// The column, by name or id
        column: Option<String>,
        /// Put it directly before this task
        #[arg(long, value_name = "TASK", conflicts_with = "after")]
        before: Option<String>,
        /// Put it directly after this task
        #[arg(long, value_name = "TASK")]
        after: Option<String>,
        #[command(flatten)]
        expect: ExpectArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Bring a task into a state
    State {
        task: String,
        #[arg(value_parser = state)]
        state: State,
        /// Why, for the log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        expect: ExpectArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Put a task away
    Archive { task: String },
    /// Take a task out again
    Unarchive { task: String },
    /// Hide a task, or remove it for good
    Delete {
        task: String,
        #[command(flatten)]
        how: DeleteArgs,
    },
    /// Follow a task live, from its beginning
    ///
    /// Stays through restarts of the daemon. With --wait it ends when the task does, with an exit code to branch on.
    Watch {
        task: String,
        /// Begin after this event
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// What happened to a task
    Events {
        task: String,
        #[command(flatten)]
        which: EventFilterArgs,
    },
    /// Why a task is where it is, and what can be done
    Explain { task: String },
}

const CREATE_EXAMPLES: &str = "\
Examples:
  kanvoy task create \"Fix the login\" --label bug,ui --priority high
  kanvoy task create \"Write the report\" --blocked-by 3 --description - < report.md
  kanvoy task create \"Later\" --state backlog --json | jq .number";

#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub struct TaskCreateArgs {
    pub title: String,
    /// What is to be done; - reads it from stdin
    #[arg(long, short)]
    pub description: Option<String>,
    #[arg(long, short, value_parser = priority)]
    pub priority: Option<Priority>,
    /// May be given again, or several separated by commas
    #[arg(long = "label", short, value_name = "LABEL", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// TODO (ready) or BACKLOG (parked)
    #[arg(long, short, value_parser = state)]
    pub state: Option<State>,
    /// The agent type to work on it; agents come in a later version
    #[arg(long = "agent", value_name = "TYPE")]
    pub agent_type: Option<String>,
    #[arg(long, value_name = "URL")]
    pub repository_url: Option<String>,
    #[arg(long)]
    pub branch: Option<String>,
    /// A task that must be done first; may be given again
    #[arg(long, value_name = "TASK", value_delimiter = ',')]
    pub blocked_by: Vec<String>,
    /// The task that it is a part of
    #[arg(long, value_name = "TASK")]
    pub parent: Option<String>,
    /// Its name elsewhere; unique on the board
    #[arg(long, value_name = "REF")]
    pub external_ref: Option<String>,
    #[command(flatten)]
    pub wait: WaitArgs,
}

#[derive(Debug, Args)]
pub struct TaskUpdateArgs {
    pub task: String,
    #[arg(long)]
    pub title: Option<String>,
    /// What is to be done; - reads it from stdin
    #[arg(long, short)]
    pub description: Option<String>,
    #[arg(long, short, value_parser = priority)]
    pub priority: Option<Priority>,
    /// Add a label; may be given again
    #[arg(long = "label", short, value_name = "LABEL", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Take a label away; may be given again
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub remove_label: Vec<String>,
    /// Empty clears it; agents come in a later version
    #[arg(long = "agent", value_name = "TYPE")]
    pub agent_type: Option<String>,
    /// Empty clears it
    #[arg(long, value_name = "URL")]
    pub repository_url: Option<String>,
    /// Empty clears it
    #[arg(long)]
    pub branch: Option<String>,
    /// The tasks that must be done first, all of them; empty for none
    #[arg(long, value_name = "TASK", value_delimiter = ',')]
    pub blocked_by: Option<Vec<String>>,
    /// The task that it is a part of; empty for none
    #[arg(long, value_name = "TASK")]
    pub parent: Option<String>,
    /// Empty clears it
    #[arg(long, value_name = "REF")]
    pub external_ref: Option<String>,
    #[command(flatten)]
    pub expect: ExpectArgs,
}

#[derive(Clone, Debug, Args)]
pub struct TaskFilterArgs {
    /// Only in these states; may be given again, or several separated by commas
    #[arg(long = "state", short, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub states: Vec<State>,
    /// Only with all of these labels
    #[arg(long = "label", short, value_name = "LABEL", value_delimiter = ',')]
    pub labels: Vec<String>,
    #[arg(long = "priority", short, value_name = "PRIORITY", value_delimiter = ',', value_parser = priority)]
    pub priorities: Vec<Priority>,
    /// Only for this agent type
    #[arg(long = "agent", value_name = "TYPE")]
    pub agent_type: Option<String>,
    #[arg(long, value_name = "REF")]
    pub external_ref: Option<String>,
    /// The archived ones too
    #[arg(long, conflicts_with = "archived")]
    pub all: bool,
    /// Only the archived ones
    #[arg(long)]
    pub archived: bool,
    /// How many at most
    #[arg(long, default_value = "200", value_name = "N")]
    pub limit: NonZeroUsize,
}

#[derive(Debug, Args)]
pub struct TaskListArgs {
    #[command(flatten)]
    pub filter: TaskFilterArgs,
    /// Only with all of these words
    #[arg(long, short, value_name = "WORDS")]
    pub query: Option<String>,
    /// Only in this column, by name or id
    #[arg(long)]
    pub column: Option<String>,
    /// Only the parts of this task
    #[arg(long, value_name = "TASK")]
    pub parent: Option<String>,
    #[arg(long, value_enum, default_value = "lie")]
    pub order: Order,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Order {
    Oldest,
    Newest,
    /// Changed last, first
    Updated,
    /// As the cards lie on the board
    Lie,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    #[arg(required = true)]
    pub words: Vec<String>,
    #[command(flatten)]
    pub filter: TaskFilterArgs,
}

#[derive(Clone, Debug, Default, Args)]
pub struct WaitArgs {
    /// Wait until the task is in this state; without a state, until it is done (exit code 1 when it fails or is
    /// cancelled instead)
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "STATE", value_parser = state)]
    #[arg(default_missing_value = "COMPLETED")]
    pub wait: Option<State>,
    /// Give up waiting after this long, such as 90s, 5m, 2h (exit code 7)
    #[arg(long, requires = "wait", value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub struct EventFilterArgs {
    /// Only what is later than this event
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub after: u64,
    /// How many at most
    #[arg(long, default_value = "200", value_name = "N")]
    pub limit: NonZeroUsize,
    /// Only these kinds, such as task.created; with a leading ! all but it
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub types: Vec<String>,
}

const EVENTS_EXAMPLES: &str = "\
Examples:
  kanvoy events --board MP --types task.state_changed
  kanvoy events --follow --json | jq -c .type       every log, live
  kanvoy events --follow --board MP --after 0       a board from its beginning, then live";

#[derive(Debug, Args)]
#[command(after_help = EVENTS_EXAMPLES)]
pub struct EventsArgs {
    /// Go on live; without --after only what happens from now on
    #[arg(long, short)]
    pub follow: bool,
    /// The system's log instead of a board's; with --follow, every log
    #[arg(long, conflicts_with = "board")]
    pub system: bool,
    /// Only what is later than this event; following everything, a list such as ID:3,system:7
    #[arg(long, value_name = "SEQ")]
    pub after: Option<String>,
    /// How many at most, when not following
    #[arg(long, default_value = "200", value_name = "N")]
    pub limit: NonZeroUsize,
    /// Only these kinds, such as task.created; with a leading ! all but it
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub types: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The board, by key or id; the current one when not named
    pub board_to_export: Option<String>,
    /// Where to write; stdout when not given
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// An exported file; - reads stdin
    pub file: PathBuf,
    /// Another key than the exported board had
    #[arg(long)]
    pub key: Option<String>,
    /// Another name than the exported board had
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Copy the database, whole and consistent, while the daemon runs or not
    Backup {
        /// A file that does not exist yet; by itself one with the time in its name in DIR/backups
        file: Option<PathBuf>,
    },
    /// Look for damage; reads all of it
    Check,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print each value and where it comes from; secrets are hidden
    Show,
}

/// `in-progress`, `in_progress` and `IN_PROGRESS` are the same.
fn state(text: &str) -> Result<State, String> {
    let spelled = text.trim().to_ascii_uppercase().replace(['-', ' '], "_");
    spelled.parse().map_err(|error: kanvoy_domain::state::NotAState| error.to_string())
}

fn priority(text: &str) -> Result<Priority, String> {
    text.trim().to_ascii_lowercase().parse().map_err(|error: kanvoy_domain::task::NotAPriority| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "a number and a unit, such as 90s, 5m or 2h".to_owned())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "" | "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        "d" => number.checked_mul(86_400),
        _ => return Err(format!("{unit} is no unit of time here: ms, s, m, h or d")),
    };
    seconds.map(Duration::from_secs).ok_or_else(|| "that is longer than time itself".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_states_are_read_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("soon").is_err());
        assert!(duration("5 fortnights").is_err());
        assert_eq!(state("in-progress"), Ok(State::InProgress));
        assert!(state("doing").is_err());
    }

    #[test]
    fn a_wait_needs_no_state_and_takes_one_after_an_equals_sign() {
        let wait = |args: &[&str]| {
            let cli = Cli::try_parse_from(args).expect("is understood");
            match cli.command {
                Command::Task(TaskCommand::Create(args)) => args.wait.wait,
                other => panic!("not a task: {other:?}"),
            }
        };
        assert_eq!(wait(&["kanvoy", "task", "create", "a", "--wait"]), Some(State::Completed));
        assert_eq!(wait(&["kanvoy", "task", "create", "a", "--wait=review"]), Some(State::Review));
        assert_eq!(wait(&["kanvoy", "task", "create", "--wait", "a"]), Some(State::Completed));
    }
}
