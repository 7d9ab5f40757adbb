use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::get;
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::super::testing::{self, ada, jwk, sign, signing_key};
use super::super::{AuthError, KeyReloads, Verifier};
use super::*;
use rookery_config::Jwt;

/// An issuer that answers as a test tells it to.
struct Issuer {
    answer: Mutex<(u16, String)>,
    hits: AtomicUsize,
    /// Delays answers while it is locked.
    gate: tokio::sync::Mutex<()>,
}

impl Issuer {
    fn serve(&self, ids: &[(&str, &str)]) {
        let keys = ids.iter().map(|(id, pem)| jwk(pem, Algorithm::RS256, Some(id)));
        *self.answer.lock() = (200, json!({"keys": keys.collect::<Vec<_>>()}).to_string());
    }

    fn fail(&self, status: u16, body: &str) {
        *self.answer.lock() = (status, body.to_owned());
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

async fn answer(Shared(issuer): Shared<Arc<Issuer>>) -> impl IntoResponse {
    issuer.hits.fetch_add(1, Ordering::SeqCst);
    drop(issuer.gate.lock().await);
    let (status, body) = issuer.answer.lock().clone();
    (StatusCode::from_u16(status).unwrap(), [(LOCATION, "/again")], body)
}

/// A verifier with its running task, and the issuer whose key set it fetches.
struct Setup {
    issuer: Arc<Issuer>,
    verifier: Arc<Verifier>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Setup {
    /// Starts an issuer that answers 503 until `serve` or `fail`.
    async fn new(timing: Timing) -> Self {
        Self::with_max_age(timing, Jwt::default_jwks_max_age().0).await
    }

    async fn with_max_age(timing: Timing, max_age: Duration) -> Self {
        let issuer = Arc::new(Issuer {
            answer: Mutex::new((503, String::new())),
            hits: AtomicUsize::new(0),
            gate: tokio::sync::Mutex::new(()),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let routes = Router::new().fallback(get(answer)).with_state(issuer.clone());
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let server = axum::serve(listener, routes);
        tasks.spawn(cancel.clone().run_until_cancelled_owned(async { server.await.unwrap() }));
        let config = Jwt {
            algorithms: vec![rookery_config::Algorithm::RS256],
            secret_file: None,
            public_key_file: None,
            jwks_url: Some(url),
            issuer: None,
            audience: None,
            jwks_max_age: rookery_config::units::Period(max_age),
            user_claim: "sub".to_owned(),
        };
        let verifier = Verifier::with_timing(&config, &KeyReloads::default(), timing).unwrap();
        Setup { issuer, verifier, cancel, tasks }
    }

    fn run(&self) {
        self.tasks.spawn(self.verifier.clone().run(self.cancel.clone()));
    }

    fn jwks(&self) -> &Jwks {
        self.verifier.jwks.as_ref().unwrap()
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        let mut state = self.jwks().state.subscribe();
        timeout(PATIENCE, state.wait_for(|state| condition(state))).await.unwrap().unwrap();
    }

    async fn verify(&self, id: Option<&str>, pem: &str) -> Result<(), AuthError> {
        let token = sign(Algorithm::RS256, &signing_key(pem), id, &ada());
        self.verifier.verify(&token).await.map(|_| ())
    }

    async fn end(self) {
        self.cancel.cancel();
        self.tasks.close();
        timeout(PATIENCE, self.tasks.wait()).await.unwrap();
    }
}

/// Longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fetches once at the start, and once more for an unknown key.
fn once() -> Timing {
    let hour = Duration::from_secs(3600);
    Timing {
        file_check: hour,
        first_fetch: hour,
        refresh: hour,
        unknown_key: hour,
        fetch_timeout: PATIENCE,
    }
}

fn unknown() -> Result<(), AuthError> {
    Err(AuthError::Unauthenticated("the token is signed with an unknown key".to_owned()))
}

#[tokio::test]
async fn the_first_set_is_retried_until_the_verifier_is_ready() {
    let setup = Setup::new(Timing { first_fetch: Duration::from_millis(5), ..once() }).await;
    assert!(!setup.verifier.is_ready());
    setup.run();
    setup.until(|state| state.completed >= 2).await;
    assert!(!setup.verifier.is_ready(), "the issuer is away");
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.until(|state| state.fetched.is_some()).await;
    assert!(setup.verifier.is_ready());
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, Ok(()));
    assert_eq!(setup.verify(None, testing::RSA).await, Ok(()));
    setup.end().await;
}

#[tokio::test]
async fn a_token_waits_for_the_first_set() {
    let setup = Setup::new(once()).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    let (verified, ()) = tokio::join!(setup.verify(None, testing::RSA), async { setup.run() });
    assert_eq!(verified, Ok(()));
    assert_eq!(setup.issuer.hits(), 1);
    setup.end().await;
}

#[tokio::test]
async fn a_token_with_a_new_key_is_accepted_at_once() {
    let setup = Setup::new(once()).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    setup.issuer.serve(&[("two", testing::RSA2)]);
    assert_eq!(setup.verify(Some("two"), testing::RSA2).await, Ok(()));
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, unknown(), "withdrawn");
    setup.end().await;
}

#[tokio::test]
async fn unknown_keys_cause_at_most_one_fetch_per_period() {
    let setup = Setup::new(once()).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    let token = sign(Algorithm::RS256, &signing_key(testing::RSA2), Some("two"), &ada());
    let all = (0..20).map(|_| setup.verifier.verify(&token));
    for result in futures_util::future::join_all(all).await {
        assert_eq!(result.map(|_| ()), unknown());
    }
    setup.issuer.serve(&[("two", testing::RSA2)]);
    assert_eq!(setup.verify(Some("two"), testing::RSA2).await, unknown());
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, Ok(()));
    assert_eq!(setup.issuer.hits(), 2);
    setup.end().await;
}

#[tokio::test]
async fn a_fetch_in_progress_is_awaited_and_not_repeated() {
    let setup = Setup::new(Timing { unknown_key: Duration::ZERO, ..once() }).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    let gate = setup.issuer.gate.lock().await;
    setup.run();
    setup.until(|state| state.pending).await;
    let mut verified = Box::pin(setup.verify(Some("one"), testing::RSA));
    assert!(futures_util::poll!(&mut verified).is_pending());
    assert!(setup.jwks().fetch_now.notified().now_or_never().is_none(), "no other is asked for");
    drop(gate);
    assert_eq!(verified.await, Ok(()));
    assert_eq!(setup.issuer.hits(), 1);
    setup.end().await;
}

#[tokio::test]
async fn after_the_period_an_unknown_key_causes_another_fetch() {
    let setup = Setup::new(Timing { unknown_key: Duration::ZERO, ..once() }).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    setup.issuer.serve(&[("two", testing::RSA2)]);
    assert_eq!(setup.verify(Some("two"), testing::RSA2).await, Ok(()));
    setup.issuer.serve(&[("three", testing::RSA)]);
    assert_eq!(setup.verify(Some("three"), testing::RSA).await, Ok(()));
    setup.end().await;
}

#[tokio::test]
async fn keys_stay_in_use_while_the_issuer_fails() {
    let setup = Setup::new(Timing { refresh: Duration::from_millis(5), ..once() }).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    setup.issuer.fail(500, "");
    let completed_before = setup.jwks().state.borrow().completed;
    setup.until(|state| state.completed >= completed_before + 3).await;
    assert!(setup.verifier.is_ready());
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, Ok(()));
    setup.end().await;
}

#[tokio::test]
async fn the_set_is_refreshed_periodically() {
    let setup = Setup::new(Timing { refresh: Duration::from_millis(5), ..once() }).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.keys.has("one")).await;
    setup.issuer.serve(&[("two", testing::RSA2)]);
    setup.until(|state| state.keys.has("two")).await;
    setup.end().await;
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_cancel_a_fetch() {
    let setup = Setup::new(once()).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    setup.issuer.serve(&[("two", testing::RSA2)]);
    let gate = setup.issuer.gate.lock().await;
    {
        let verified = setup.verify(Some("two"), testing::RSA2);
        let requested = setup.until(|state| state.pending);
        tokio::select! {
            _ = verified => panic!("the issuer has not answered yet"),
            () = requested => {}
        }
    }
    drop(gate);
    setup.until(|state| state.keys.has("two")).await;
    setup.end().await;
}

#[tokio::test]
async fn a_fetch_that_hangs_times_out() {
    let setup = Setup::new(Timing { fetch_timeout: Duration::from_millis(50), ..once() }).await;
    let gate = setup.issuer.gate.lock().await;
    setup.run();
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, unknown());
    setup.until(|state| state.completed == 1).await;
    assert!(!setup.verifier.is_ready());
    drop(gate);
    setup.end().await;
}

#[tokio::test]
async fn answers_that_are_not_key_sets_are_errors() {
    let setup = Setup::new(once()).await;
    let large = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(MAX_BYTES));
    for (status, body, why) in [
        (404, "", "404"),
        (503, "{\"keys\": []}", "503"),
        (302, "", "redirect"),
        (200, "<html>", "not a JSON Web Key Set"),
        (200, large.as_str(), "larger"),
    ] {
        setup.issuer.fail(status, body);
        let error = setup.jwks().fetch().await.map(|_| ()).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("127.0.0.1"), "{error}");
    }
    setup.issuer.fail(200, "{\"keys\": []}");
    assert_eq!(setup.jwks().fetch().await.unwrap().len(), 0);
    setup.end().await;
}

#[test]
fn the_set_is_fetched_as_often_as_documented() {
    let timing = Timing::default();
    assert_eq!(timing.first_fetch, Duration::from_secs(1));
    assert_eq!(timing.refresh, Duration::from_secs(5 * 60));
    assert_eq!(timing.unknown_key, Duration::from_secs(10));
}

#[tokio::test]
async fn a_failed_refresh_is_not_retried_before_its_time() {
    let setup = Setup::new(Timing { first_fetch: Duration::ZERO, ..once() }).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    let hits = setup.issuer.hits();
    setup.issuer.fail(500, "");
    assert_eq!(setup.verify(Some("two"), testing::RSA2).await, unknown());
    assert_eq!(setup.verify(Some("two"), testing::RSA2).await, unknown());
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, Ok(()));
    assert_eq!(setup.issuer.hits(), hits + 1);
    setup.end().await;
}

#[tokio::test]
async fn keys_that_were_not_fetched_for_too_long_are_not_trusted() {
    // Unknown keys cause no fetch, so only the age decides.
    let timing = Timing { first_fetch: Duration::from_millis(5), ..once() };
    let setup = Setup::with_max_age(timing, Duration::from_millis(300)).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    setup.issuer.fail(500, "");
    setup.until(|state| state.stale_logged).await;
    for id in [Some("one"), None, Some("two")] {
        assert_eq!(setup.verify(id, testing::RSA).await, Err(AuthError::StaleKeys), "{id:?}");
    }
    assert!(setup.verifier.is_ready(), "the other instances are no better off");
    assert!(setup.verifier.key_set_age().unwrap() >= Duration::from_millis(300));
    let fetches = setup.jwks().state.borrow().completed;
    setup.until(|state| state.completed >= fetches + 2).await;

    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.until(|state| !state.is_stale(Duration::from_millis(300)) && !state.failed).await;
    assert!(!setup.jwks().state.borrow().stale_logged);
    setup.end().await;
}

#[tokio::test]
async fn a_token_has_a_key_set_fetched_that_is_too_old() {
    let setup = Setup::with_max_age(once(), Duration::ZERO).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    let hits = setup.issuer.hits();
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, Err(AuthError::StaleKeys));
    assert_eq!(setup.issuer.hits(), hits + 1);
    setup.end().await;
}

#[tokio::test]
async fn keys_are_trusted_up_to_their_age() {
    let setup = Setup::with_max_age(once(), Duration::MAX).await;
    setup.issuer.serve(&[("one", testing::RSA)]);
    setup.run();
    setup.until(|state| state.fetched.is_some()).await;
    assert_eq!(setup.verify(Some("one"), testing::RSA).await, Ok(()));
    assert_eq!(setup.verify(Some("two"), testing::RSA2).await, unknown());
    setup.end().await;
}
