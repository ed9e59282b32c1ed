//! Commands about people: users, members of boards, tokens, and one's own login.

use clap::{Args, Subcommand};
use kanvoy_domain::people::Role;
use kanvoy_domain::session::Scope;

#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Log in with name and password; later commands use that login
    ///
    /// The password is asked for, or read from stdin where there is no terminal; it is never an argument.
    Login { name: String },
    /// End the login, and forget it here
    Logout,
    /// Make a link that lets a browser in, once
    Link,
    /// Who the daemon takes you for
    Me,
    /// Sign logins with a new key from now on; those signed with the last one stay good until the next time
    RotateKeys,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Let somebody in; their password is asked for, or read from stdin where there is no terminal
    Create {
        name: String,
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// viewer, member or admin
        #[arg(long, default_value = "member")]
        role: Role,
        /// They come in by way of a proxy, or get their password later
        #[arg(long)]
        no_password: bool,
    },
    /// List everybody
    #[command(visible_alias = "ls")]
    List,
    /// Change somebody
    Update {
        user: String,
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// viewer, member or admin
        #[arg(long)]
        role: Option<Role>,
        /// Let them in again
        #[arg(long)]
        enable: bool,
    },
    /// Keep somebody out, and end their logins and tokens
    Disable { user: String },
    /// Set a password: one's own, or as an admin anybody's; read from the terminal or stdin
    Password {
        /// Yourself when not named
        user: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Make somebody a member of the current board
    Add { user: String },
    /// Take somebody off the current board
    Remove { user: String },
    /// List the members of the current board
    #[command(visible_alias = "ls")]
    List,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a personal token for a program; it is shown once
    Create(TokenCreateArgs),
    /// List your personal tokens
    #[command(visible_alias = "ls")]
    List,
    /// Revoke a token, named by its name or id
    Revoke { token: String },
}

#[derive(Debug, Args)]
pub struct TokenCreateArgs {
    /// What it is for
    pub name: String,
    /// read, write or admin; may be given again, or several separated by commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', default_value = "write")]
    pub scopes: Vec<Scope>,
    /// After how many days it ends; 365 when not given
    #[arg(long, value_name = "DAYS")]
    pub days: Option<u32>,
}
