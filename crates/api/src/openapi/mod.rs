//! The description of the API, made from the code: every route, and every answer that it can give.

use axum::http::Method;
use kanvoy_domain::people::Deed;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Info, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};

use crate::auth::needs::{Need, need};
use crate::problem::Code;
use crate::routes;

pub use events::Event;

mod events;

const CONVENTIONS: &str = include_str!("conventions.md");

/// What the document begins with, before the routes are put in.
pub(crate) fn head() -> OpenApi {
    let mut info = Info::new("Kanvoy", "1");
    info.description = Some(CONVENTIONS.to_owned());
    let mut document = OpenApiBuilder::new().info(info).build();
    document.security = Some(vec![
        SecurityRequirement::new::<_, [&str; 0], _>("token", []),
        SecurityRequirement::new::<_, [&str; 0], _>("cookie", []),
    ]);
    document
}

/// The whole document.
pub fn document() -> OpenApi {
    let (_, mut document) = routes::described().split_for_parts();
    let mut components = document.components.take().unwrap_or_default();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let token = token.description(Some(
        "The access token of a login (`POST /auth/login`), a personal token (`POST /tokens`), or the machine's own in the \
         data directory's file `token`. What a route asks of its caller stands beside it, and in `x-kanvoy-need`.",
    ));
    components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    let cookie = ApiKeyValue::with_description(
        "kanvoy_session",
        "Set by `POST /auth/login`, or by a one-time link: see `POST /auth/link`.",
    );
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let mut schemas = Vec::new();
    Event::schemas(&mut schemas);
    events::data_schemas(&mut schemas);
    routes::search::filter_schemas(&mut schemas);
    schemas.push(("Event".to_owned(), Event::schema()));
    crate::problem::Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    document.components = Some(components);
    for (path, item) in &mut document.paths.paths {
        complete(path, item);
    }
    document
}

pub fn json() -> String {
    document().to_pretty_json().unwrap_or_default()
}

/// The answers that routes of a kind have in common, so that each names only what is its own.
fn complete(path: &str, item: &mut PathItem) {
    if let Some(operation) = &mut item.post {
        operation.parameters.get_or_insert_default().push(RefOr::T(key_parameter()));
    }
    let methods = [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::PUT, &mut item.put),
        (Method::DELETE, &mut item.delete),
    ];
    for (method, operation) in methods {
        let writes = !method.is_safe();
        let Some(operation) = operation else { continue };
        access(method, path, operation);
        answers(path, operation, writes);
        // The same verb of two nouns has two names.
        if let (Some(tag), Some(verb)) = (operation.tags.iter().flatten().next(), &operation.operation_id) {
            operation.operation_id = Some(format!("{tag}_{verb}"));
        }
    }
}

/// What the route asks of its caller, where programs look for it and where people do.
fn access(method: Method, path: &str, operation: &mut Operation) {
    let need = need(&method, path);
    let said = match need {
        Need::Nothing => return,
        Need::Login => "Anybody who is logged in.",
        Need::Deed(Deed::Read) => {
            "Needs the scope `read`. Members of the board, and admins; for others it is not there."
        }
        Need::Deed(Deed::Write) => {
            "Needs the role `member` and the scope `write`. Members of the board, and admins; for others it is not there."
        }
        Need::Deed(Deed::Found) => "Needs the role `member` and the scope `write`.",
        Need::Deed(Deed::OwnAccount) => "Needs the scope `admin`, as every login has it.",
        Need::Deed(Deed::Audit) => "Needs the role `admin`.",
        Need::Deed(Deed::Administer) => "Needs the role `admin` and the scope `admin`.",
    };
    let description = operation.description.take().map(|text| format!("{text}\n\n")).unwrap_or_default();
    operation.description = Some(format!("{description}{said}"));
    let extensions = operation.extensions.get_or_insert_default();
    extensions.insert("x-kanvoy-need".to_owned(), need.word().into());
}

fn answers(path: &str, operation: &mut Operation, writes: bool) {
    let open = operation.security.is_some();
    let has_body = operation.request_body.is_some();
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has_query = parameters.iter().any(|it| match it {
        RefOr::T(it) => it.parameter_in == utoipa::openapi::path::ParameterIn::Query,
        RefOr::Ref(_) => false,
    });
    let is_import = path == routes::transfer::IMPORT;
    let is_stream = path.ends_with("/stream");
    let mut also = vec![Code::HostNotAllowed, Code::Internal, Code::TooLarge, Code::Unavailable];
    if !open {
        also.extend([Code::Unauthenticated, Code::TooManyRequests]);
    }
    if path.contains('{') {
        also.push(Code::NotFound);
    }
    if has_body {
        also.extend([Code::MalformedJson, Code::UnsupportedMediaType, Code::InvalidBody]);
    }
    if writes {
        also.push(Code::Contended);
    }
    if has_query || is_import {
        also.push(Code::InvalidParameter);
    }
    if is_stream {
        also.push(Code::BadRequest);
    }
    if writes || has_query {
        also.push(Code::Forbidden);
    }
    if path.ends_with("/search") {
        also.push(Code::NotFound);
    }
    if path.ends_with("/auth/login") || path.ends_with("/auth/refresh") {
        also.push(Code::TooManyRequests);
    }
    for code in also {
        let status = code.status();
        let said = status.canonical_reason().unwrap_or_default();
        operation.responses.responses.entry(status.as_str().to_owned()).or_insert_with(|| RefOr::T(problem(said)));
    }
    // Whatever a route says of itself, its problems are problem documents.
    for (status, response) in &mut operation.responses.responses {
        let refused = status.starts_with('4') || (status.starts_with('5') && path != "/readyz");
        if let (true, RefOr::T(response)) = (refused, response) {
            response.content = problem("").content;
        }
    }
}

fn key_parameter() -> utoipa::openapi::path::Parameter {
    use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
    use utoipa::openapi::{ObjectBuilder, Required, Type};
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(200)).build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The same key with the same body gets the same answer, and the thing is done once."))
        .schema(Some(text))
        .build()
}

fn problem(description: &str) -> Response {
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}
