//! `kanvoy config show`

use serde_json::{Map, Value, json};

use super::Context;
use crate::exit::{Exit, Failure};
use crate::show::{Ink, cell};

pub fn show(context: &Context) -> Result<Exit, Failure> {
    let shown = context.config.shown();
    if context.screen.json {
        let settings: Map<String, Value> = shown
            .iter()
            .map(|(key, value, origin)| ((*key).to_owned(), json!({ "value": value, "origin": origin.to_string() })))
            .collect();
        context.screen.document(&settings)?;
    } else {
        let rows: Vec<_> = shown
            .iter()
            .map(|(key, value, origin)| {
                let value = value.as_deref().map_or_else(|| cell("—").ink(Ink::Dim), cell);
                let missing = *key == "token_file" && !context.config.token_file.value.exists();
                let from = format!("{origin}{}", if missing { " (not there)" } else { "" });
                vec![cell(key), value, cell(from).ink(Ink::Dim)]
            })
            .collect();
        context.screen.table(&["KEY", "VALUE", "FROM"], &rows, 1)?;
    }
    for name in &context.config.unknown_variables {
        crate::show::aside(&format!("{name} is set and means nothing to this version"));
    }
    Ok(Exit::Done)
}
