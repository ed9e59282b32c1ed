//! People: who may come in, and by which logins. `me` is the caller, wherever a user's id goes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kanvoy_domain::people::{self, Deed, NewUser, Role, UserEdit};
use kanvoy_domain::session::{Session, SessionKind};
use kanvoy_domain::{SessionId, User, UserId};
use kanvoy_engine::{By, Written};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::{Principal, not_logged_in};
use crate::body::{Json, Post, given};
use crate::idempotency::{Answered, Kept, once};
use crate::params::{Id, Params, cursor};
use crate::problem::{Code, Problem};
use crate::shapes::List;
use crate::shapes::people::{RoleName, SessionView, UserView};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
        .routes(routes!(set_password))
        .routes(routes!(sessions, end_all))
        .routes(routes!(end_one))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ada", "display_name": "Ada Lovelace", "role": "member"}))]
struct CreateUser {
    /// What they log in with: small letters, digits, `.`, `-`, `_`, `+` and `@`.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[schema(max_length = 200)]
    display_name: Option<String>,
    /// `member` when left out.
    role: Option<RoleName>,
    /// Without one they come in by a proxy, or not yet.
    #[schema(min_length = 8, max_length = 1_024, format = Password)]
    password: Option<String>,
}

/// What changes; what is left out stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role": "viewer"}))]
struct EditUser {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    display_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    role: Option<RoleName>,
    /// True keeps them out and ends their logins and tokens; false lets them in again.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    disabled: Option<bool>,
    /// The version that the change was made of; a stale one is refused.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 0)]
    version: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetPassword {
    #[schema(min_length = 8, max_length = 1_024, format = Password)]
    password: String,
    /// Of one's own: what it is now.
    #[schema(max_length = 1_024, format = Password)]
    current: Option<String>,
}

/// Lists everybody, by name. For admins.
#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before."),
    ),
    responses((status = 200, body = List<UserView>)),
)]
async fn list(State(api): State<Arc<Api>>, _: Principal, params: Params) -> Result<Answered, Problem> {
    let page = api.store.users(params.cursor()?.as_deref(), params.limit()?).await?;
    let items = page.items.iter().map(|user| UserView::new(user, None)).collect();
    Answered::json(StatusCode::OK, &List { items, next_cursor: page.next.as_deref().map(cursor) })
}

/// Lets somebody in. For admins.
#[utoipa::path(
    post,
    path = "/users",
    tag = "users",
    request_body = CreateUser,
    responses((status = 201, body = UserView), (status = 409, body = Problem, description = "`taken`.")),
)]
async fn create(
    State(api): State<Arc<Api>>,
    who: Principal,
    Post { body, claim }: Post<CreateUser>,
) -> Result<Response, Problem> {
    let shared = Arc::clone(&api);
    // A claim in the store is a quick hash of the body, which holds a password.
    let by = By::person(&who.person);
    once(&api, &who, claim, Kept::InMemory, move |_| async move { made(&shared, by, body).await }).await
}

async fn made(api: &Api, by: By, body: CreateUser) -> Result<Answered, Problem> {
    let password = match body.password {
        Some(password) => {
            people::password(&password)?;
            Some(api.passwords.hash(password).await?)
        }
        None => None,
    };
    let role = body.role.map_or(Role::Member, Role::from);
    let new = NewUser { name: body.name, display_name: body.display_name, role, password };
    written(StatusCode::CREATED, &api.engine.create_user(&by, new).await?)
}

/// Shows somebody. For admins.
#[utoipa::path(
    get,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, description = "Their id, their name, or `me`.")),
    responses((status = 200, body = UserView)),
)]
async fn show(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Answered, Problem> {
    Answered::json(StatusCode::OK, &UserView::new(&api.user_named(&who, &id).await?, None))
}

/// Changes somebody. For admins.
#[utoipa::path(
    patch,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, description = "Their id, their name, or `me`.")),
    request_body = EditUser,
    responses((status = 200, body = UserView), (status = 409, body = Problem, description = "`stale_version`.")),
)]
async fn edit(
    State(api): State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Json(body): Json<EditUser>,
) -> Result<Answered, Problem> {
    let user = api.user_named(&who, &id).await?;
    let edit = UserEdit { display_name: body.display_name, role: body.role.map(Role::from), disabled: body.disabled };
    changed(&api, &who, user.id, edit, body.version).await
}

/// Keeps somebody out for good. Nobody is removed: events name them. For admins.
#[utoipa::path(
    delete,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, description = "Their id, their name, or `me`.")),
    responses((status = 200, body = UserView)),
)]
async fn remove(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Answered, Problem> {
    let user = api.user_named(&who, &id).await?;
    let edit = UserEdit { disabled: Some(true), ..UserEdit::default() };
    changed(&api, &who, user.id, edit, None).await
}

async fn changed(
    api: &Api,
    who: &Principal,
    id: UserId,
    edit: UserEdit,
    version: Option<u64>,
) -> Result<Answered, Problem> {
    let by = By::person(&who.person);
    let shuts_out = edit.disabled == Some(true);
    let changed = api.engine.update_user(&by, id, edit, version).await?;
    api.people.refresh(&*api.store, id).await?;
    if shuts_out {
        let theirs = api.store.sessions_of(&id.to_string()).await?;
        api.end_logins(&by, &theirs, "disabled").await?;
    }
    written(StatusCode::OK, &changed)
}

/// Gives somebody a password, and ends their other logins. Of oneself, with the one that it is now; of others, for admins.
#[utoipa::path(
    post,
    path = "/users/{id}/password",
    tag = "users",
    params(("id" = String, Path, description = "Their id, their name, or `me`.")),
    request_body = SetPassword,
    responses((status = 200, body = UserView)),
)]
async fn set_password(
    State(api): State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Post { body, claim }: Post<SetPassword>,
) -> Result<Response, Problem> {
    let (shared, asker) = (Arc::clone(&api), who.clone());
    // As above.
    let by = By::person(&who.person);
    once(&api, &who, claim, Kept::InMemory, move |_| async move { set(&shared, &asker, by, &id, body).await }).await
}

async fn set(api: &Api, who: &Principal, by: By, id: &str, body: SetPassword) -> Result<Answered, Problem> {
    let user = api.user_named(who, id).await?;
    people::password(&body.password)?;
    let own = who.live.as_ref().is_some_and(|person| person.id == user.id);
    if own && user.password.is_some() {
        // Whoever finds a browser open must not take the login over.
        api.limits.login(user.name.as_str(), None)?;
        let current = body.current.unwrap_or_default();
        if current.len() > people::MAX_PASSWORD || !api.passwords.fits(user.password, current).await? {
            return Err(Problem::body("/current", "is not your password"));
        }
    }
    let hash = api.passwords.hash(body.password).await?;
    let changed = api.engine.set_password(&by, user.id, hash).await?;
    api.people.refresh(&*api.store, user.id).await?;
    let current = who.session.as_ref().map(|session| session.id);
    let mut others = api.store.sessions_of(&user.id.to_string()).await?;
    others.retain(|session| session.kind == SessionKind::Login && Some(session.id) != current);
    api.end_logins(&By::person(&who.person), &others, "password changed").await?;
    written(StatusCode::OK, &changed)
}

/// Lists somebody's logins and personal tokens. One's own, or for admins.
#[utoipa::path(
    get,
    path = "/users/{id}/sessions",
    tag = "users",
    params(("id" = String, Path, description = "Their id, their name, or `me`.")),
    responses((status = 200, body = List<SessionView>)),
)]
async fn sessions(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Answered, Problem> {
    sessions_page(&who, &api.logins_named(&who, &id).await?)
}

pub(super) fn sessions_page(who: &Principal, sessions: &[Session]) -> Result<Answered, Problem> {
    let current = who.session.as_ref().map(|session| session.id);
    let items = sessions.iter().map(|session| SessionView::new(session, current)).collect();
    Answered::json(StatusCode::OK, &List { items, next_cursor: None })
}

/// Ends all logins of somebody, and their streams. Personal tokens stay good. One's own, or for admins.
#[utoipa::path(
    delete,
    path = "/users/{id}/sessions",
    tag = "users",
    params(("id" = String, Path, description = "Their id, their name, or `me`.")),
    responses((status = 204, description = "They have ended.")),
)]
async fn end_all(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Response, Problem> {
    let mut theirs = api.logins_named(&who, &id).await?;
    theirs.retain(|session| session.kind == SessionKind::Login);
    api.end_logins(&By::person(&who.person), &theirs, "ended").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends one login, or revokes one token, and closes its streams. One's own, or for admins.
#[utoipa::path(
    delete,
    path = "/users/{id}/sessions/{session}",
    tag = "users",
    params(
        ("id" = String, Path, description = "Their id, their name, or `me`."),
        ("session" = uuid::Uuid, Path),
    ),
    responses((status = 204, description = "It has ended.")),
)]
async fn end_one(
    State(api): State<Arc<Api>>,
    who: Principal,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Problem> {
    let Ok(Path((id, session))) = path else { return Err(Problem::not_found("session", "of that name")) };
    let theirs = api.logins_named(&who, &id).await?;
    let missing = || Problem::not_found("session", &session);
    let wanted: SessionId = session.parse().map_err(|_| missing())?;
    let found = theirs.into_iter().find(|session| session.id == wanted).ok_or_else(missing)?;
    api.end_logins(&By::person(&who.person), &[found], "ended").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Api {
    /// By id, name, or `me`. Others are there for admins only.
    pub(crate) async fn user_named(&self, who: &Principal, id: &str) -> Result<User, Problem> {
        let missing = || Problem::not_found("user", id);
        let found = match (id, id.parse::<UserId>()) {
            ("me", _) => match &who.live {
                Some(person) => self.store.user(person.id).await?,
                None => None,
            },
            (_, Ok(id)) => self.store.user(id).await?,
            (name, Err(_)) => self.store.user_named(&name.parse().map_err(|_| missing())?).await?,
        };
        let user = found.ok_or_else(missing)?;
        let own = who.live.as_ref().is_some_and(|person| person.id == user.id);
        if own || who.require(Deed::Administer).is_ok() { Ok(user) } else { Err(missing()) }
    }

    /// Those that still hold. The owner of the machine has logins too, under `me` and `local`.
    async fn logins_named(&self, who: &Principal, id: &str) -> Result<Vec<Session>, Problem> {
        let machine = who.live.is_none() && matches!(id, "me" | "local");
        let person = if machine { who.person.to_string() } else { self.user_named(who, id).await?.id.to_string() };
        let now = self.clock.now();
        let mut all = self.store.sessions_of(&person).await?;
        all.retain(|session| session.expires_at > now);
        Ok(all)
    }

    /// The caller's own, of one kind.
    pub(crate) async fn own_sessions(&self, who: &Principal, kind: SessionKind) -> Result<Vec<Session>, Problem> {
        let mut own = self.logins_named(who, "me").await.map_err(|problem| match problem.is(Code::NotFound) {
            true => not_logged_in(),
            false => problem,
        })?;
        own.retain(|session| session.kind == kind);
        Ok(own)
    }
}

fn written(status: StatusCode, written: &Written<User>) -> Result<Answered, Problem> {
    Answered::json(status, &UserView::new(&written.object, Some(written.seq)))
}
