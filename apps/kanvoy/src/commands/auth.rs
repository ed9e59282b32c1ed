//! `kanvoy auth …`

use kanvoy_client::{Client, ClientOptions};
use serde_json::Value;

use super::{Context, local_time, login};
use crate::clean;
use crate::cli::AuthCommand;
use crate::exit::{Exit, Failure};

pub async fn run(context: &Context, command: AuthCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    let screen = context.screen;
    match command {
        AuthCommand::Login { name } => {
            let url = context.address();
            let password = login::password(&format!("Password of {name}"))?;
            let nobody = Client::new(ClientOptions { url: url.clone(), token: None, patience: super::PATIENCE })?;
            login::keep(&context.config, &url, &nobody.log_in(&name, &password).await?)?;
            let me = context.client()?.me().await?;
            if screen.json {
                screen.document(&me)?;
            } else {
                screen.line(format!("Logged in as {}.", clean::line(&name)))?;
            }
        }
        AuthCommand::Logout => {
            let url = context.address();
            if login::kept_for(&context.config, &url).is_none() {
                return Err(Failure::new(Exit::Auth, "nobody has logged in here").with_next("kanvoy auth login NAME"));
            }
            let ended = client.log_out().await;
            login::forget(&context.config);
            ended?;
            screen.line("Logged out.")?;
        }
        AuthCommand::RotateKeys => {
            let keys = client.rotate_keys().await?;
            if screen.json {
                screen.document(&keys)?;
            } else {
                screen.line("Logins are signed with a new key from now on; the last one is still believed.")?;
            }
        }
        AuthCommand::Link => {
            let link = client.browser_link().await?;
            if screen.json {
                screen.document(&link)?;
            } else {
                screen.line(clean::line(&link.url))?;
                if let Some(until) = &link.expires_at {
                    crate::show::aside(&format!("Good for one use, until {}.", local_time(until)));
                }
            }
        }
        AuthCommand::Me => {
            let me = client.me().await?;
            if screen.json {
                screen.document(&me)?;
            } else {
                let pairs: Vec<(&str, Option<String>)> = me
                    .rest
                    .iter()
                    .map(|(key, value)| {
                        (key.as_str(), value.as_str().map_or_else(|| shown(value), |v| Some(v.to_owned())))
                    })
                    .collect();
                screen.pairs(&pairs)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn shown(value: &Value) -> Option<String> {
    if let Some(words) = value.as_array() {
        return Some(words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
    }
    (!value.is_null()).then(|| value.to_string())
}
