//! `kanvoy user …`

use kanvoy_client::{Page, User, UserEdit};

use super::{Context, local_time, login};
use crate::clean;
use crate::cli::UserCommand;
use crate::exit::{Exit, Failure};
use crate::show::{Ink, Screen, cell};

pub async fn run(context: &Context, command: UserCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    let screen = context.screen;
    match command {
        UserCommand::Create { name, display_name, role, no_password } => {
            let password = if no_password { None } else { Some(login::new_password(&name)?) };
            let made = client.create_user(&name, display_name.as_deref(), role.as_str(), password.as_deref()).await?;
            said(screen, &made, "let in")?;
            if !screen.json {
                screen.next(&[format!("kanvoy board member add {} --board KEY", made.name)])?;
            }
        }
        UserCommand::List => {
            let users = client.users().await?;
            if screen.json {
                screen.document(&Page { items: users, next_cursor: None })?;
            } else if users.is_empty() {
                screen.line("There is nobody yet but you.")?;
                screen.next(&["kanvoy user create NAME".to_owned()])?;
            } else {
                let rows: Vec<_> = users.iter().map(row).collect();
                screen.table(&["NAME", "", "ROLE", ""], &rows, 1)?;
            }
        }
        UserCommand::Update { user, display_name, role, enable } => {
            let edit =
                UserEdit { display_name, role: role.map(|role| role.to_string()), disabled: enable.then_some(false) };
            if edit == UserEdit::default() {
                return Err(Failure::usage("nothing to change; see kanvoy user update --help"));
            }
            said(screen, &client.update_user(&user, &edit).await?, "changed")?;
        }
        UserCommand::Disable { user } => {
            let edit = UserEdit { disabled: Some(true), ..UserEdit::default() };
            said(screen, &client.update_user(&user, &edit).await?, "kept out from now on")?;
        }
        UserCommand::Password { user } => {
            let own = user.is_none();
            let current = if own { Some(login::password("Your password now")?) } else { None };
            let named = user.as_deref().unwrap_or("me");
            let new = login::new_password(if own { "yours" } else { named })?;
            let changed = client.set_password(named, &new, current.as_deref()).await?;
            said(screen, &changed, "given a new password; other logins have ended")?;
        }
    }
    Ok(Exit::Done)
}

fn said(screen: Screen, user: &User, what: &str) -> Result<(), Failure> {
    if screen.json {
        return screen.document(user);
    }
    screen.line(format!("{} ({}) {what}.", clean::line(&user.name), clean::line(&user.role)))
}

fn row(user: &User) -> Vec<crate::show::Cell> {
    let disabled = user.disabled_at.as_deref().map(|at| format!("disabled {}", local_time(at)));
    vec![
        cell(&user.name).ink(Ink::Bold),
        cell(&user.display_name),
        cell(&user.role),
        cell(disabled.unwrap_or_default()).ink(Ink::Dim),
    ]
}
