//! Authorizes reads of metrics with SubjectAccessReviews, and caches the decisions.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

use super::front_proxy::User;
use super::responses::{GROUP, VERSION};

/// How long an allowed decision is cached.
const ALLOWED_TTL: Duration = Duration::from_secs(300);

/// How long a denied decision is cached.
const DENIED_TTL: Duration = Duration::from_secs(30);

/// Maximum number of cached decisions. Beyond it, the one that expires first is dropped.
const MAX_CACHED: usize = 1024;

/// Deadline of one review.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// The metric that a request reads (Kubernetes, "Authorization", section "Request verbs and
/// authorization attributes": in `pods/NAME/METRIC`, the metric is a subresource).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetricRequest {
    /// Namespace of the pods.
    pub namespace: String,
    /// Name of one pod, or `*` for all.
    pub name: String,
    /// Name of the metric.
    pub metric: String,
}

/// Why a read could not be authorized.
#[derive(Debug, Error)]
pub enum AuthorizeError {
    /// The review failed.
    #[error("cannot ask the cluster whether the user may: {0}")]
    Cluster(#[from] Box<kube::Error>),
    /// The review exceeded [`REQUEST_TIMEOUT`].
    #[error("the cluster does not say in time whether the user may")]
    Deadline,
}

/// Authorizes users by asking the cluster. Caches its decisions.
pub struct Authorizer {
    reviews: Api<SubjectAccessReview>,
    decisions: Mutex<DecisionCache>,
}

impl Authorizer {
    /// Creates an authorizer with an empty cache.
    pub fn new(client: Client) -> Self {
        Authorizer { reviews: Api::all(client), decisions: Mutex::default() }
    }

    /// Whether `user` may read `target`.
    ///
    /// # Errors
    /// If there is no cached decision and the review fails. Failures are not cached.
    pub async fn allows(
        &self,
        user: &User,
        target: &MetricRequest,
    ) -> Result<bool, AuthorizeError> {
        let key = (user.clone(), target.clone());
        if let Some(answer) = self.decisions.lock().get(&key, Instant::now()) {
            return Ok(answer);
        }
        let review = review(user, target);
        let params = PostParams::default();
        let request = self.reviews.create(&params, &review);
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, request).await;
        let answer = answer.map_err(|_| AuthorizeError::Deadline)?.map_err(Box::new)?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        self.decisions.lock().insert(key, allowed, Instant::now());
        Ok(allowed)
    }
}

fn review(user: &User, target: &MetricRequest) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(target.namespace.clone()),
                verb: Some("get".into()),
                group: Some(GROUP.into()),
                version: Some(VERSION.into()),
                resource: Some("pods".into()),
                subresource: Some(target.metric.clone()),
                name: Some(target.name.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

type CacheKey = (User, MetricRequest);

/// Decisions with their expiry times.
#[derive(Default)]
struct DecisionCache(HashMap<CacheKey, (bool, Instant)>);

impl DecisionCache {
    fn get(&self, key: &CacheKey, now: Instant) -> Option<bool> {
        self.0.get(key).filter(|(_, until)| *until > now).map(|(allowed, _)| *allowed)
    }

    fn insert(&mut self, key: CacheKey, allowed: bool, now: Instant) {
        if self.0.len() >= MAX_CACHED {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() >= MAX_CACHED {
            let first = self.0.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                self.0.remove(&first);
            }
        }
        let life = if allowed { ALLOWED_TTL } else { DENIED_TTL };
        self.0.insert(key, (allowed, now + life));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn key(name: &str) -> CacheKey {
        let user = User { name: name.into(), groups: vec!["devs".into()], ..User::default() };
        let target = MetricRequest {
            namespace: "apps".into(),
            name: "*".into(),
            metric: "rookery_connections".into(),
        };
        (user, target)
    }

    #[test]
    fn an_allowed_decision_is_cached_for_five_minutes_and_a_denied_one_for_thirty_seconds() {
        let now = Instant::now();
        let mut decisions = DecisionCache::default();
        decisions.insert(key("ann"), true, now);
        decisions.insert(key("bob"), false, now);
        assert_eq!(decisions.get(&key("ann"), now + 299 * S), Some(true));
        assert_eq!(decisions.get(&key("ann"), now + 300 * S), None);
        assert_eq!(decisions.get(&key("bob"), now + 29 * S), Some(false));
        assert_eq!(decisions.get(&key("bob"), now + 30 * S), None);
        let mut other = key("ann");
        other.0.groups.clear();
        assert_eq!(decisions.get(&other, now), None);
    }

    #[test]
    fn the_cache_is_bounded_and_drops_what_expires_first() {
        let now = Instant::now();
        let mut decisions = DecisionCache::default();
        decisions.insert(key("denied"), false, now);
        for n in 1..MAX_CACHED {
            decisions.insert(key(&n.to_string()), true, now);
        }
        decisions.insert(key("one more"), true, now);
        assert_eq!(decisions.0.len(), MAX_CACHED);
        assert_eq!(decisions.get(&key("denied"), now), None);
        decisions.insert(key("later"), true, now + 300 * S);
        assert_eq!(decisions.0.len(), 1);
    }

    #[tokio::test]
    async fn the_cluster_is_asked_once_with_the_attributes_of_the_path() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let count = count.clone();
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                let path = request.uri().path().to_owned();
                assert_eq!(path, "/apis/authorization.k8s.io/v1/subjectaccessreviews");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut review: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(
                    review["spec"],
                    json!({
                        "user": "ann",
                        "groups": ["devs"],
                        "extra": {},
                        "resourceAttributes": {
                            "namespace": "apps",
                            "verb": "get",
                            "group": "custom.metrics.k8s.io",
                            "version": "v1beta2",
                            "resource": "pods",
                            "subresource": "rookery_connections",
                            "name": "*",
                        },
                    })
                );
                review["status"] = json!({"allowed": true});
                let body = Body::from(serde_json::to_vec(&review).unwrap());
                Ok::<_, std::convert::Infallible>(Response::new(body))
            }
        });
        let authorizer = Authorizer::new(Client::new(service, "default"));
        let (user, target) = key("ann");
        assert!(authorizer.allows(&user, &target).await.unwrap());
        assert!(authorizer.allows(&user, &target).await.unwrap());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
