//! Who belongs to a board. Whoever works on it says who else does.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use kanvoy_domain::{BoardId, User, UserId};
use kanvoy_engine::By;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::Principal;
use crate::body::Post;
use crate::idempotency::{Answered, Kept, once};
use crate::params::Id;
use crate::problem::Problem;
use crate::shapes::List;
use crate::shapes::people::MemberView;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(remove))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"user": "ada"}))]
struct AddMember {
    /// Their id, or the name that they log in with.
    #[schema(min_length = 1, max_length = 64)]
    user: String,
}

/// Lists the members of a board. Admins see every board, members or not.
#[utoipa::path(
    get,
    path = "/boards/{id}/members",
    tag = "members",
    params(("id" = String, Path, description = "The board's id, or its key.")),
    responses((status = 200, body = List<MemberView>)),
)]
async fn list(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Answered, Problem> {
    let board = api.board_row(&who, &id).await?.board.id;
    let members = api.store.members(board).await?;
    let items = members.iter().map(|member| MemberView::new(member, None)).collect();
    Answered::json(StatusCode::OK, &List { items, next_cursor: None })
}

/// Makes somebody a member of a board. Nothing happens when they are one already.
#[utoipa::path(
    post,
    path = "/boards/{id}/members",
    tag = "members",
    params(("id" = String, Path, description = "The board's id, or its key.")),
    request_body = AddMember,
    responses((status = 201, body = MemberView)),
)]
async fn add(
    State(api): State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Post { body, claim }: Post<AddMember>,
) -> Result<Response, Problem> {
    let board = api.board_row(&who, &id).await?.board.id;
    let shared = Arc::clone(&api);
    once(&api, &who, claim, Kept::InStore, move |by| async move { added(&shared, by, board, &body.user).await }).await
}

async fn added(api: &Api, by: By, board: BoardId, user: &str) -> Result<Answered, Problem> {
    let nobody = || Problem::body("/user", "is nobody here");
    let user = api.anybody(user).await?.filter(|user| user.disabled_at.is_none()).ok_or_else(nobody)?;
    let added = api.engine.add_member(&by, board, user.id).await?;
    api.people.refresh(&*api.store, user.id).await?;
    Answered::json(StatusCode::CREATED, &MemberView::new(&added.object, Some(added.seq)))
}

/// Takes somebody off a board, and closes their streams of it.
#[utoipa::path(
    delete,
    path = "/boards/{id}/members/{user}",
    tag = "members",
    params(
        ("id" = String, Path, description = "The board's id, or its key."),
        ("user" = String, Path, description = "Their id, or the name that they log in with."),
    ),
    responses((status = 200, body = MemberView)),
)]
async fn remove(
    State(api): State<Arc<Api>>,
    who: Principal,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Answered, Problem> {
    let Ok(Path((id, user))) = path else { return Err(Problem::not_found("member", "of that name")) };
    let board = api.board_row(&who, &id).await?.board.id;
    let missing = || Problem::not_found("member", &user);
    let found = api.anybody(&user).await?.ok_or_else(missing)?;
    let removed = api.engine.remove_member(&By::person(&who.person), board, found.id).await?;
    api.people.refresh(&*api.store, found.id).await?;
    Answered::json(StatusCode::OK, &MemberView::new(&removed.object, Some(removed.seq)))
}

impl Api {
    async fn anybody(&self, named: &str) -> Result<Option<User>, Problem> {
        if let Ok(id) = named.parse::<UserId>() {
            return Ok(self.store.user(id).await?);
        }
        let Ok(name) = named.parse() else { return Ok(None) };
        Ok(self.store.user_named(&name).await?)
    }
}
