//! The table of methods. Each is the handler of a route, told by name what the route takes from its path, query and body.

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::{Extensions, Methods, RpcModule};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::value::RawValue;

use super::envelope::MOST_ANSWER_BYTES;
use super::errors::error;
use super::fields::Fields;
use super::{Caller, subscriptions};
use crate::body::{Json, Post};
use crate::idempotency::Answered;
use crate::params::Id;
use crate::problem::{Code, Problem};
use crate::routes::{boards, search, tasks};

/// What a list of tasks can be asked for, and beside it the board of a search.
const FILTER: &[&str] = &[
    "state",
    "label",
    "q",
    "priority",
    "column_id",
    "agent_type",
    "parent_id",
    "external_ref",
    "archived",
    "order",
    "limit",
    "cursor",
    "board",
];

/// Made once: nothing in it belongs to a caller.
pub static METHODS: LazyLock<Methods> = LazyLock::new(|| {
    // A name that is given twice is a mistake in the table below, and the first test to call anything finds it.
    table().unwrap_or_else(|error| unreachable!("{error}")).into()
});

/// A call, as its method sees it.
#[derive(Clone)]
pub struct Asked {
    pub caller: Caller,
    pub method: &'static str,
    /// The idempotency key that its body's header gives it.
    pub key: Option<String>,
}

/// What a method answers with: what its route would.
type Told<T> = Result<T, Problem>;

fn table() -> Result<RpcModule<()>, RegisterMethodError> {
    let mut module = RpcModule::new(());
    let table = &mut module;
    method(table, "board.create", board_create)?;
    method(table, "board.get", board_get)?;
    method(table, "board.list", board_list)?;
    method(table, "task.create", task_create)?;
    method(table, "task.get", task_get)?;
    method(table, "task.list", task_list)?;
    method(table, "task.update", task_update)?;
    method(table, "task.state", task_state)?;
    method(table, "task.move", task_move)?;
    method(table, "search", search_tasks)?;
    subscriptions::add(table)?;
    Ok(module)
}

async fn board_create(asked: Asked, mut fields: Fields) -> Told<Response> {
    let claim = fields.claim(&asked)?;
    let Caller { api, who, .. } = asked.caller;
    boards::create(State(api), who, Post { body: fields.body()?, claim }).await
}

async fn board_get(asked: Asked, mut fields: Fields) -> Told<Answered> {
    let board = fields.id("board")?;
    fields.end()?;
    boards::show(State(asked.caller.api), asked.caller.who, Id(board)).await
}

async fn board_list(asked: Asked, fields: Fields) -> Told<Answered> {
    let params = fields.query(&["archived", "limit", "cursor"])?;
    boards::list(State(asked.caller.api), asked.caller.who, params).await
}

async fn task_create(asked: Asked, mut fields: Fields) -> Told<Response> {
    let claim = fields.claim(&asked)?;
    let board = fields.id("board")?;
    let Caller { api, who, .. } = asked.caller;
    tasks::create(State(api), who, Id(board), Post { body: fields.body()?, claim }).await
}

async fn task_get(asked: Asked, mut fields: Fields) -> Told<Answered> {
    let task = fields.id("task")?;
    fields.end()?;
    tasks::show(State(asked.caller.api), asked.caller.who, Id(task)).await
}

async fn task_list(asked: Asked, mut fields: Fields) -> Told<Answered> {
    let board = fields.id("board")?;
    let params = fields.query(FILTER)?;
    tasks::list(State(asked.caller.api), asked.caller.who, Id(board), params).await
}

async fn task_update(asked: Asked, mut fields: Fields) -> Told<Answered> {
    let task = fields.id("task")?;
    tasks::edit(State(asked.caller.api), asked.caller.who, Id(task), Json(fields.body()?)).await
}

async fn task_state(asked: Asked, mut fields: Fields) -> Told<Answered> {
    let task = fields.id("task")?;
    tasks::set_state(State(asked.caller.api), asked.caller.who, Id(task), Json(fields.body()?)).await
}

async fn task_move(asked: Asked, mut fields: Fields) -> Told<Response> {
    let claim = fields.claim(&asked)?;
    let task = fields.id("task")?;
    let Caller { api, who, .. } = asked.caller;
    tasks::move_card(State(api), who, Id(task), Post { body: fields.body()?, claim }).await
}

async fn search_tasks(asked: Asked, fields: Fields) -> Told<Answered> {
    let params = fields.query(FILTER)?;
    search::search(State(asked.caller.api), asked.caller.who, params).await
}

fn method<F, R>(
    table: &mut RpcModule<()>,
    name: &'static str,
    verb: impl Fn(Asked, Fields) -> F + Clone + Send + Sync + 'static,
) -> Result<(), RegisterMethodError>
where
    F: Future<Output = Told<R>> + Send + 'static,
    R: IntoResponse + Send,
{
    let carried_out = move |params: Params<'static>, _, extensions: Extensions| {
        let verb = verb.clone();
        async move {
            let told = async {
                let asked = asked(&extensions)?;
                let fields = Fields::read(params.as_str())?;
                result(verb(asked, fields).await?).await
            };
            told.await.map_err(|problem: Problem| error(&problem))
        }
    };
    table.register_async_method::<Result<Box<RawValue>, ErrorObjectOwned>, _, _>(name, carried_out).map(drop)
}

pub fn asked(extensions: &Extensions) -> Result<Asked, Problem> {
    extensions.get::<Asked>().cloned().ok_or_else(|| Problem::internal("a method was called by nobody"))
}

/// What a route answers, taken as it is.
async fn result(response: impl IntoResponse + Send) -> Result<Box<RawValue>, Problem> {
    // It lies in memory already: nothing is waited for, and its size was bounded when it was made.
    let body = axum::body::to_bytes(response.into_response().into_body(), usize::MAX).await;
    let body = body.map_err(Problem::internal)?;
    if body.len() > MOST_ANSWER_BYTES {
        let detail = format!("the answer would have more than {MOST_ANSWER_BYTES} bytes; ask for less with limit");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    let text = String::from_utf8(body.into()).map_err(Problem::internal)?;
    RawValue::from_string(text).map_err(Problem::internal)
}
