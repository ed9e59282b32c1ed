//! `kanvoy auth …`

use serde_json::Value;

use super::{Context, zoned_time};
use crate::clean;
use crate::cli::AuthCommand;
use crate::exit::{Exit, Failure};

pub async fn run(context: &Context, command: AuthCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    let screen = context.screen;
    match command {
        AuthCommand::Link => {
            let link = client.browser_link().await?;
            if screen.json {
                screen.document(&link)?;
            } else {
                screen.line(clean::line(&link.url))?;
                if let Some(until) = &link.expires_at {
                    crate::show::aside(&format!("Good for one use, until {}.", zoned_time(until)));
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
    (!value.is_null()).then(|| value.to_string())
}
