//! Looking for tasks: on one board, or on all that can be seen.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use kanvoy_domain::text;
use kanvoy_store::{Order, TaskQuery, WhichTasks};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::Principal;
use crate::idempotency::Answered;
use crate::params::{Params, cursor};
use crate::problem::Problem;
use crate::shapes::{List, PriorityName, StateName, TaskView, Write};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(search))
}

const MOST_QUERY_CHARS: usize = 1_000;

/// What can be asked of a list of tasks. Lists are repeated or have commas between.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `query` reads")]
pub struct TaskFilter {
    /// In one of these states.
    state: Option<Vec<StateName>>,
    /// With all of these labels.
    label: Option<Vec<String>>,
    /// With all of these words in title, labels, external reference or description.
    #[param(max_length = 1_000)]
    q: Option<String>,
    /// Of one of these priorities.
    priority: Option<Vec<PriorityName>>,
    column_id: Option<uuid::Uuid>,
    agent_type: Option<String>,
    /// The parts of this task.
    parent_id: Option<uuid::Uuid>,
    external_ref: Option<String>,
    archived: Option<ArchivedName>,
    order: Option<OrderName>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = Archived, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes what `query` reads")]
enum ArchivedName {
    False,
    True,
    All,
}

#[derive(ToSchema)]
#[schema(as = Order, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes what `query` reads")]
enum OrderName {
    Oldest,
    Newest,
    /// Changed last, first.
    Updated,
    /// As the cards lie.
    Lie,
}

/// The schemas that parameters alone refer to.
pub fn filter_schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((ArchivedName::name().into_owned(), ArchivedName::schema()));
    schemas.push((OrderName::name().into_owned(), OrderName::schema()));
}

/// Looks for tasks on every board.
#[utoipa::path(
    get,
    path = "/search",
    tag = "tasks",
    params(
        ("board" = Option<String>, Query, description = "Only on this board: its id, or its key."),
        TaskFilter,
    ),
    responses((status = 200, body = List<TaskView>)),
)]
async fn search(State(api): State<Arc<Api>>, who: Principal, params: Params) -> Result<Answered, Problem> {
    let mut query = query(&params)?;
    if let Some(board) = params.text("board") {
        let row = api.board_row(&who, board).await;
        query.board = Some(row.map_err(|problem| problem.about("board"))?.board.id);
    }
    if query.board.is_none() {
        query.within = who.boards();
    }
    // Nobody looks through no boards at all.
    if query.within.as_ref().is_some_and(Vec::is_empty) {
        return Answered::json(StatusCode::OK, &List::<TaskView<'_>> { items: Vec::new(), next_cursor: None });
    }
    tasks_page(&api, &query).await
}

pub(super) async fn tasks_page(api: &Api, query: &TaskQuery) -> Result<Answered, Problem> {
    let page = api.store.tasks(query).await?;
    let items = page.items.iter().map(|row| TaskView::new(row, Write::NONE)).collect();
    Answered::json(StatusCode::OK, &List { items, next_cursor: page.next.as_deref().map(cursor) })
}

pub(super) fn query(params: &Params) -> Result<TaskQuery, Problem> {
    let words = params.text("q").unwrap_or_default();
    if words.chars().count() > MOST_QUERY_CHARS {
        return Err(Problem::parameter("q", format!("is longer than {MOST_QUERY_CHARS} characters")));
    }
    let archived = match params.text("archived") {
        None | Some("false") => WhichTasks::Unarchived,
        Some("true") => WhichTasks::Archived,
        Some("all") => WhichTasks::All,
        Some(_) => return Err(Problem::parameter("archived", "must be false, true or all")),
    };
    let order = match params.text("order") {
        None | Some("oldest") => Order::Oldest,
        Some("newest") => Order::Newest,
        Some("updated") => Order::Updated,
        Some("lie") => Order::Lie,
        Some(_) => return Err(Problem::parameter("order", "must be oldest, newest, updated or lie")),
    };
    let labels: Vec<String> = params.parts("label").map(str::to_owned).collect();
    if labels.len() > text::MAX_LABELS {
        return Err(Problem::parameter("label", format!("is given more than {} times", text::MAX_LABELS)));
    }
    Ok(TaskQuery {
        board: None,
        within: None,
        states: params.many("state")?,
        priorities: params.many("priority")?,
        labels,
        column: params.one("column_id")?,
        agent_type: params.text("agent_type").map(str::to_owned),
        parent: params.one("parent_id")?,
        external_ref: params.text("external_ref").map(str::to_owned),
        words: text::folded(words).split_whitespace().map(str::to_owned).collect(),
        archived,
        order,
        after: params.cursor()?,
        limit: params.limit()?,
    })
}
