//! The routes of the API and their OpenAPI 3.1 description, derived from the handlers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use http::header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Problem, ProblemResponse};
use super::routes::{batch, explain, latency, members, presence, publish, rooms, status};
use super::scopes;
use super::state::Shared;

/// The description without its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rookery HTTP API",
        description = "Publishes events to rooms, and lists and changes their members. Errors \
                       are problem documents (RFC 9457)."
    ),
    modifiers(&BearerAuth),
    security(("key" = [])),
    components(schemas(Problem), responses(ProblemResponse)),
    tags(
        (name = "publish", description = "Publish events to rooms"),
        (name = "rooms", description = "List rooms, their members and their latency"),
        (name = "members", description = "Move and disconnect members"),
        (name = "rules", description = "Explain the room rules"),
        (name = "instance", description = "Get the state of one instance"),
        (name = "description", description = "This description"),
    ),
)]
struct Base;

struct BearerAuth;

impl Modify for BearerAuth {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A key from auth.apiKeysFile. The roles of an operation are the scope that the key \
                 needs; `admin` includes the others. Without that file, no key is needed and the \
                 API is served only on loopback.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The description, as `/api/openapi.json` serves it.
pub fn document() -> Document {
    let mut document = handlers().into_openapi();
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            add_common_problems(operation);
            add_scope(operation, path);
        }
    }
    document
}

/// Every route of the API, the same ones as in the description.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::from(handlers())
}

fn handlers() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(publish::publish))
        .routes(routes!(batch::publish_batch))
        .routes(routes!(rooms::list_rooms))
        .routes(routes!(rooms::list_members))
        .routes(routes!(latency::room_latency))
        .routes(routes!(latency::list_latencies))
        .routes(routes!(presence::room_presence))
        .routes(routes!(members::join_room))
        .routes(routes!(members::leave_room))
        .routes(routes!(members::disconnect))
        .routes(routes!(explain::explain))
        .routes(routes!(status::status))
        .routes(routes!(describe))
}

/// Describe this API
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
async fn describe(
    State(shared): State<Arc<Shared>>,
) -> ([(http::HeaderName, &'static str); 1], Bytes) {
    ([(header::CONTENT_TYPE, "application/json")], shared.description.clone())
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// States the scope that a key needs for the operation. OpenAPI 3.1, section 4.8.30: the names of a
/// requirement are roles where the scheme is not OAuth 2.
fn add_scope(operation: &mut Operation, path: &str) {
    let scope = scopes::required(path).expect("every route is listed with its scope");
    let scope = scope.map(|scope| scope.label());
    operation.security = Some(vec![SecurityRequirement::new("key", scope)]);
}

/// Adds the problems that any operation may answer, and those of any operation with a body.
fn add_common_problems(operation: &mut Operation) {
    let always = ["400", "401", "403"];
    let with_body = ["408", "413", "415", "429"];
    let more = if operation.request_body.is_some() { &with_body[..] } else { &[] };
    for status in always.iter().chain(more) {
        let problem = RefOr::Ref(Ref::from_response_name("ProblemResponse"));
        operation.responses.responses.entry((*status).to_owned()).or_insert(problem);
    }
}
