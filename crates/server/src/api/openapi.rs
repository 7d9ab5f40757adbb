//! The API's description: OpenAPI 3.1, made from the handlers.

use std::sync::Arc;

use axum::{Extension, Router};
use http::header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi, ToResponse};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{Shared, batch, explain, latency, members, publish, rooms, status};

/// What the description says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rookery HTTP API",
        description = "Publish to rooms, and see and steer who is in them. Errors are problem \
                       documents (RFC 9457)."
    ),
    modifiers(&BearerKey),
    security(("key" = [])),
    components(schemas(Problem), responses(ProblemResponse)),
    tags(
        (name = "publish", description = "Send events to rooms"),
        (name = "rooms", description = "See rooms, their members and their latency"),
        (name = "members", description = "Move and dismiss members"),
        (name = "rules", description = "Ask what the room rules say"),
        (name = "instance", description = "See what one instance is doing"),
        (name = "description", description = "This description"),
    ),
)]
struct Base;

/// Refused: `detail` says why, `field` where.
#[derive(ToResponse)]
#[response(content_type = "application/problem+json")]
pub(super) struct ProblemResponse(#[allow(dead_code)] Problem);

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A key of auth.apiKeysFile. Without that file no key is asked for, and the API \
                 answers only on loopback.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The description, as `/api/openapi.json` serves it.
pub fn document() -> Document {
    let mut document = handlers().into_openapi();
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            add_common_problems(operation);
        }
    }
    document
}

/// Every route of the API; the description knows the same ones.
pub(super) fn routes() -> Router<Arc<Shared>> {
    let json = document().to_json().expect("the description has only text and numbers");
    Router::from(handlers()).layer(Extension(Description(json.into())))
}

fn handlers() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(publish::publish))
        .routes(routes!(batch::publish_batch))
        .routes(routes!(rooms::list_rooms))
        .routes(routes!(rooms::list_members))
        .routes(routes!(latency::room_latency))
        .routes(routes!(latency::list_latencies))
        .routes(routes!(members::join_room))
        .routes(routes!(members::leave_room))
        .routes(routes!(members::disconnect))
        .routes(routes!(explain::explain))
        .routes(routes!(status::status))
        .routes(routes!(describe))
}

#[derive(Clone)]
struct Description(Arc<str>);

/// Describe this API
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
async fn describe(
    Extension(Description(json)): Extension<Description>,
) -> ([(http::HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "application/json")], json.as_ref().to_owned())
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// The answers that every operation may give, and those of every one that has a body.
fn add_common_problems(operation: &mut Operation) {
    let always = ["400", "401", "403"];
    let with_body = ["408", "413", "415", "429"];
    let more = if operation.request_body.is_some() { &with_body[..] } else { &[] };
    for status in always.iter().chain(more) {
        let problem = RefOr::Ref(Ref::from_response_name("ProblemResponse"));
        operation.responses.responses.entry((*status).to_owned()).or_insert(problem);
    }
}
