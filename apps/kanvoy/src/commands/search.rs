//! `kanvoy search`

use kanvoy_client::TaskFilter;

use super::Context;
use super::task::{filter_of, table};
use crate::cli::SearchArgs;
use crate::exit::{Exit, Failure};
use crate::show::aside;

pub async fn run(context: &Context, args: SearchArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    let filter = TaskFilter { words: Some(args.words.join(" ")), ..filter_of(&args.filter) };
    // Only a board that was named narrows the search.
    let named = match &context.config.board.value {
        Some(board) => Some(client.board(board).await?.id.to_string()),
        None => None,
    };
    let page = client.search(named.as_deref(), &filter, args.filter.limit.get()).await?;
    if context.screen.json {
        context.screen.document(&page)?;
        return Ok(Exit::Done);
    }
    let boards = client.boards(true).await?;
    table(context.screen, &page.items, |task| {
        let board = boards.iter().find(|board| board.id == task.board_id);
        let column = board.and_then(|board| board.columns.iter().find(|column| column.id == task.column_id));
        let name = board.map_or_else(|| task.id.to_string(), |board| format!("{}-{}", board.key, task.number));
        (name, column.map(|column| column.name.clone()).unwrap_or_default())
    })?;
    if page.next_cursor.is_some() {
        aside("There are more; say --limit N.");
    }
    Ok(Exit::Done)
}
