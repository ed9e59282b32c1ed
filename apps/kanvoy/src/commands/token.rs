//! `kanvoy token …`

use kanvoy_client::{Login, Page};

use super::{Context, local_time};
use crate::clean;
use crate::cli::TokenCommand;
use crate::exit::{Exit, Failure};
use crate::show::{Ink, aside, cell};

pub async fn run(context: &Context, command: TokenCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    let screen = context.screen;
    match command {
        TokenCommand::Create(args) => {
            let scopes: Vec<String> = args.scopes.iter().map(ToString::to_string).collect();
            let made = client.create_token(&args.name, &scopes, args.days).await?;
            if screen.json {
                screen.document(&made)?;
            } else {
                screen.line(clean::line(&made.token))?;
                aside("Shown this once; keep it where only its program can read it.");
            }
        }
        TokenCommand::List => {
            let tokens = client.tokens().await?;
            if screen.json {
                screen.document(&Page { items: tokens, next_cursor: None })?;
            } else if tokens.is_empty() {
                screen.line("You have no personal tokens.")?;
            } else {
                let row = |token: &Login| {
                    vec![
                        cell(token.name.clone().unwrap_or_default()).ink(Ink::Bold),
                        cell(token.scopes.join(",")),
                        cell(token.expires_at.as_deref().map(local_time).unwrap_or_default()),
                        cell(token.id.to_string()).ink(Ink::Dim),
                    ]
                };
                let rows: Vec<_> = tokens.iter().map(row).collect();
                screen.table(&["NAME", "SCOPES", "UNTIL", ""], &rows, 0)?;
            }
        }
        TokenCommand::Revoke { token } => {
            let all = client.tokens().await?;
            let mut found = all.iter().filter(|it| it.id.to_string() == token || it.name.as_deref() == Some(&token));
            let one = found.next().ok_or_else(|| {
                Failure::new(Exit::NotFound, format!("you have no token {token}")).with_next("kanvoy token list")
            })?;
            if found.next().is_some() {
                return Err(Failure::usage(format!("several tokens are called {token}; name one by its id")));
            }
            client.revoke_token(one.id).await?;
            screen.line(format!("Token {} is good no more.", clean::line(&token)))?;
        }
    }
    Ok(Exit::Done)
}
