//! What the handlers share: [`ApiState`], which the wiring supplies, and [`Shared`], which adds
//! what the API keeps for itself.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::FromRef;
use bytes::Bytes;
use http::StatusCode;
use tokio_util::task::TaskTracker;

use super::access::{Access, Caller};
use super::body::{BodyBudget, BodyLimits};
use super::cluster::Cluster;
use super::idempotency::IdempotencyStore;
use super::input;
use super::instance_status::StatusSource;
use super::need::Need;
use super::problem::Problem;
use super::query::Params;
use super::random::RandomSource;
use crate::telemetry::metrics::Metrics;
use rookery_ops::throttle::{Throttle, limited};
use rookery_policy::{Namespace, Namespaces, Rules};

/// What the HTTP API needs from the rest of the process. Cloning is shallow.
#[derive(Clone)]
pub struct ApiState {
    /// Where publications, queries and membership changes go.
    pub cluster: Arc<dyn Cluster>,
    /// The room rules in force, for `explain`.
    pub rules: Arc<ArcSwap<Rules>>,
    /// The answers to publications that carried an id.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Which requests are allowed.
    pub access: Access,
    /// The namespaces that clients may connect to.
    pub namespaces: Arc<Namespaces>,
    /// The name of the claim that holds the user, for `explain`.
    pub user_claim: Arc<str>,
    /// Reads the status of this instance.
    pub status: StatusSource,
    /// `socketio.maxPayload`: the largest packet that a publication may become, in bytes.
    pub max_payload: usize,
    /// Counts and times requests.
    pub metrics: Arc<Metrics>,
    /// Finishes publications whose requests are dropped.
    pub tasks: TaskTracker,
}

/// The state of the handlers.
pub(super) struct Shared {
    pub(super) api: ApiState,
    /// Memory for request bodies.
    pub(super) bodies: BodyBudget,
    /// The OpenAPI description of the routes, as JSON.
    pub(super) description: Bytes,
    /// The randomness of generated ids.
    pub(super) random: RandomSource,
    /// Throttles the log lines about requests that are not allowed.
    pub(super) refusals: Throttle,
    /// Throttles the log lines about joins and leaves.
    pub(super) moves: Throttle,
}

impl Shared {
    pub(super) fn new(api: ApiState, bodies: BodyBudget, description: Bytes) -> Self {
        let throttle = || Throttle::new(&api.metrics.log_lines_suppressed);
        let (refusals, moves) = (throttle(), throttle());
        let random = RandomSource::default();
        Shared { api, bodies, description, random, refusals, moves }
    }

    /// The namespace that the body or the query names; `/` if neither does.
    ///
    /// # Errors
    /// 400 if it is not offered, 403 if the caller's key is not for it.
    pub(super) fn namespace(
        &self,
        caller: &Caller,
        body: Option<&str>,
        query: &Params,
    ) -> Result<Arc<str>, Problem> {
        Ok(self.namespace_with_params(caller, body, query)?.name().clone())
    }

    /// As [`Shared::namespace`], with what its pattern captured.
    pub(super) fn namespace_with_params(
        &self,
        caller: &Caller,
        body: Option<&str>,
        query: &Params,
    ) -> Result<Namespace, Problem> {
        let namespace = input::namespace(&self.api.namespaces, body, query.get("namespace"))?;
        self.permit(caller, Need::Namespace(namespace.name())).map_err(|p| p.field("namespace"))?;
        Ok(namespace)
    }

    /// Checks that the caller's key, if one is needed, has what the request needs.
    ///
    /// # Errors
    /// 403, which is logged.
    pub(super) fn permit(&self, caller: &Caller, need: Need<'_>) -> Result<(), Problem> {
        let Some(key) = caller.0.as_deref().filter(|key| !need.is_met_by(key)) else {
            return Ok(());
        };
        limited!(
            self.refusals,
            warn,
            publisher = key.name,
            error = %need,
            "refused an API request that its key does not permit"
        );
        Err(Problem::new(StatusCode::FORBIDDEN, need.to_string()).code("forbidden"))
    }
}

impl FromRef<Arc<Shared>> for BodyLimits {
    fn from_ref(shared: &Arc<Shared>) -> Self {
        BodyLimits { budget: shared.bodies.clone(), max_payload: shared.api.max_payload }
    }
}
