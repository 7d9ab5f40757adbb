//! Routes of the API. Everything but the probes requires a request forwarded by the API server.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use http::StatusCode;
use kube::core::{Selector, SelectorExt as _};
use percent_encoding::percent_decode_str;
use prometheus::IntCounterVec;
use serde_json::Value;
use tokio::sync::watch;
use tracing::warn;

use super::authorize::{Authorizer, MetricRequest};
use super::front_proxy::{FrontProxy, User};
use super::responses::{self, GROUP, VERSION};
use super::selector;
use crate::pods::{PodMetric, Pods, Reading, readings, redistributed};

/// State shared by the routes.
pub struct Api {
    /// The pods whose connection counts are served.
    pub pods: Pods,
    /// Authorizes users to read metrics.
    pub authorizer: Authorizer,
    /// The front proxy configuration; `None` until it is known.
    pub front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    /// Counter of requests, by response `code`.
    pub requests: IntCounterVec,
}

/// Common name of the verified client certificate of the connection; `None` without one.
#[derive(Clone, Debug)]
pub struct ClientCommonName(pub Option<Arc<str>>);

/// Builds the router, for connections with a [`ClientCommonName`]. Failures are answered with
/// `Status` objects: 401 for requests not forwarded by the API server, 403 for users without
/// permission, 404 for unknown paths and metrics.
pub fn router(api: Arc<Api>) -> Router {
    let group = format!("/apis/{GROUP}");
    let version = format!("{group}/{VERSION}");
    let one = format!("{version}/namespaces/{{namespace}}/pods/{{name}}/{{metric}}");
    Router::new()
        .route("/apis", get(|| async { Json(responses::groups()) }))
        .route(&group, get(|| async { Json(responses::group()) }))
        .route(&version, get(|| async { Json(responses::resources()) }))
        .route(&one, get(values))
        .route("/openapi/v2", get(|| async { Json(responses::openapi_v2()) }))
        .route("/openapi/v3", get(|| async { Json(responses::openapi_v3()) }))
        .route(
            &format!("/openapi/v3/apis/{GROUP}/{VERSION}"),
            get(|| async { Json(responses::openapi_v3_version()) }),
        )
        .fallback(|| async { ApiError::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(middleware::from_fn_with_state(api.clone(), authenticate))
        .route("/healthz", get(|| async { "ok" }))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .layer(middleware::from_fn_with_state(api.clone(), count))
        .with_state(api)
}

async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    api.requests.with_label_values(&[answer.status().as_str()]).inc();
    answer
}

/// Authenticates the user that the API server names in the headers.
async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let front_proxy = api.front_proxy.borrow().clone();
    let client = request.extensions().get::<ClientCommonName>().and_then(|name| name.0.clone());
    let user = match front_proxy {
        Some(front_proxy) => front_proxy.user(client.as_deref(), request.headers()),
        None => Err("it is not known yet how the API server presents itself"),
    };
    match user {
        Ok(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        Err(reason) => ApiError::unauthorized(reason).into_response(),
    }
}

async fn values(
    State(api): State<Arc<Api>>,
    Extension(user): Extension<User>,
    Path((namespace, name, metric)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let target = MetricRequest { namespace, name, metric };
    match api.authorizer.allows(&user, &target).await {
        Ok(true) => {}
        Ok(false) => return Err(ApiError::forbidden(&user, &target)),
        Err(error) => {
            warn!(%error, "cannot authorize a request to the metrics API");
            return Err(ApiError::unavailable(&error.to_string()));
        }
    }
    let Some(metric) = PodMetric::by_name(&target.metric) else {
        let message = format!("there is no metric {:?} of pods", target.metric);
        return Err(ApiError::not_found(&message));
    };
    let query = query.unwrap_or_default();
    let found = readings_of(&api.pods, &target, metric, &selector_of(&query, "labelSelector")?);
    // The metrics have no labels of their own.
    let of_metric = selector_of(&query, "metricLabelSelector")?;
    if target.name != "*" && found.iter().all(|reading| reading.value.is_none()) {
        let message = format!("pod {:?} has no fresh {}", target.name, metric.name());
        return Err(ApiError::not_found(&message));
    }
    let chosen = if of_metric.matches(&Default::default()) { &found[..] } else { &[] };
    Ok(Json(responses::values(chosen, metric)))
}

fn readings_of(
    pods: &Pods,
    target: &MetricRequest,
    metric: PodMetric,
    selector: &Selector,
) -> Vec<Reading> {
    let mut found = pods.matching(&target.namespace, selector);
    if target.name == "*" {
        return redistributed(&found, metric);
    }
    found.retain(|pod| target.name == pod.name);
    readings(&found, metric)
}

/// The selector in the query parameter `key`; one that selects everything if it is absent.
fn selector_of(query: &str, key: &str) -> Result<Selector, ApiError> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = pairs.into_iter().find(|(name, _)| *name == key) else {
        return Ok(Selector::default());
    };
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8_lossy();
    selector::parse(&text).map_err(|error| ApiError::bad_request(&error.to_string()))
}

/// An error response: a `Status` object.
#[derive(Debug)]
struct ApiError {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: &str) -> Self {
        ApiError { code, reason, message: message.to_owned() }
    }

    fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    fn forbidden(user: &User, target: &MetricRequest) -> Self {
        let message = format!(
            "user {:?} may not get pods/{} named {:?} of {GROUP} in namespace {:?}: bind the user \
             to a role that allows it",
            user.name, target.metric, target.name, target.namespace
        );
        Self::new(StatusCode::FORBIDDEN, "Forbidden", &message)
    }

    fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    fn method_not_allowed() -> Self {
        let message = "the metrics API can only be read";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    fn unavailable(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = responses::failure(self.code.as_u16(), self.reason, &self.message);
        (self.code, Json(status)).into_response()
    }
}
