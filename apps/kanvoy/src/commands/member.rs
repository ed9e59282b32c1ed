//! `kanvoy board member …`

use kanvoy_client::{Member, Page};

use super::Context;
use crate::clean;
use crate::cli::MemberCommand;
use crate::exit::Failure;
use crate::show::{Ink, Screen, cell};

pub async fn run(context: &Context, command: MemberCommand) -> Result<(), Failure> {
    let client = context.client()?;
    let screen = context.screen;
    let board = context.board(&client).await?;
    let id = board.id.to_string();
    match command {
        MemberCommand::Add { user } => said(screen, &client.add_member(&id, &user).await?, "belongs to", &board.key),
        MemberCommand::Remove { user } => {
            said(screen, &client.remove_member(&id, &user).await?, "no longer belongs to", &board.key)
        }
        MemberCommand::List => {
            let members = client.members(&id).await?;
            if screen.json {
                return screen.document(&Page { items: members, next_cursor: None });
            }
            if members.is_empty() {
                return screen.line(format!("{} has no members; admins see it all the same.", board.key));
            }
            let row = |member: &Member| {
                vec![cell(&member.name).ink(Ink::Bold), cell(&member.display_name), cell(&member.role)]
            };
            let rows: Vec<_> = members.iter().map(row).collect();
            screen.table(&["NAME", "", "ROLE"], &rows, 1)
        }
    }
}

fn said(screen: Screen, member: &Member, what: &str, board: &str) -> Result<(), Failure> {
    if screen.json {
        return screen.document(member);
    }
    screen.line(format!("{} {what} {board}.", clean::line(&member.name)))
}
