//! Real TLS over loopback: who is let in, and what they get.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use kube::client::Body;
use prometheus::{IntCounterVec, Opts, Registry};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::custom_metrics::authorize::Authorizer;
use crate::custom_metrics::certificates::ServingCertificate;
use crate::custom_metrics::front_proxy::FrontProxy;
use crate::custom_metrics::{routes, tls};
use crate::pods::Pods;

const NAME: &str = "rookery-operator.system.svc";

/// An authority of client certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "front-proxy-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A client's certificate and key, in PEM.
    fn identity(&self, name: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    fn front_proxy(&self) -> Arc<FrontProxy> {
        let data = BTreeMap::from([
            ("requestheader-client-ca-file".to_owned(), self.pem.clone()),
            ("requestheader-allowed-names".to_owned(), r#"["front-proxy-client"]"#.to_owned()),
        ]);
        Arc::new(FrontProxy::parse(&data).unwrap())
    }
}

/// The API on loopback, in front of a cluster that lets `ann` read metrics and nobody else.
struct Served {
    address: SocketAddr,
    certificate: watch::Sender<Option<Arc<ServingCertificate>>>,
    front_proxy: watch::Sender<Option<Arc<FrontProxy>>>,
    bundle: String,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Served {
    async fn start(authority: &Authority) -> Self {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let client = cluster();
        let registry = Registry::new();
        let pods = Pods::start(&client, &[], &registry, &tracker, stop.clone()).unwrap();
        let front_proxy = watch::Sender::new(Some(authority.front_proxy()));
        let api = routes::Api {
            pods,
            authorizer: Authorizer::new(client),
            front_proxy: front_proxy.subscribe(),
            requests: IntCounterVec::new(Opts::new("requests", "requests"), &["code"]).unwrap(),
        };
        let first = ServingCertificate::for_names(&[NAME.to_owned()], Timestamp::now());
        let bundle = first.bundle.clone();
        let certificate = watch::Sender::new(Some(Arc::new(first)));
        let config = watch::Sender::new(None);
        let mut configured = config.subscribe();
        let run = tls::run(certificate.subscribe(), front_proxy.subscribe(), config, stop.clone());
        tracker.spawn(run);
        configured.wait_for(Option::is_some).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = routes::router(Arc::new(api));
        tracker.spawn(serve(listener, router, configured, stop.clone(), Duration::ZERO));
        Served { address, certificate, front_proxy, bundle, tracker, stop }
    }

    /// A client that trusts the API and shows `identity`.
    fn client(&self, identity: Option<&str>) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.bundle.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .resolve(NAME, self.address);
        match identity {
            Some(pem) => client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap()),
            None => client,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.address.port())
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn cluster() -> kube::Client {
    let service = tower::service_fn(|request: Request<Body>| async move {
        use http_body_util::BodyExt as _;
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        review["status"] = json!({"allowed": review["spec"]["user"] == "ann"});
        let body = Body::from(serde_json::to_vec(&review).unwrap());
        Ok::<_, Infallible>(http::Response::new(body))
    });
    kube::Client::new(service, "default")
}

const VERSION: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const METRIC: &str =
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/apps/pods/*/rookery_connections";

async fn get(client: &reqwest::Client, url: String, user: Option<&str>) -> (StatusCode, Value) {
    let mut request = client.get(url);
    if let Some(user) = user {
        request = request.header("X-Remote-User", user);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn users_are_served_as_the_cluster_authorizes_them() {
    let authority = Authority::new();
    let served = Served::start(&authority).await;
    let identity = authority.identity("front-proxy-client");
    let client = served.client(Some(&identity)).build().unwrap();
    let (code, list) = get(&client, served.url(VERSION), Some("anyone")).await;
    assert_eq!((code, &list["kind"]), (StatusCode::OK, &json!("APIResourceList")));
    let (code, list) = get(&client, served.url(METRIC), Some("ann")).await;
    assert_eq!((code, &list["kind"]), (StatusCode::OK, &json!("MetricValueList")));
    let (code, status) = get(&client, served.url(METRIC), Some("bob")).await;
    assert_eq!((code, &status["reason"]), (StatusCode::FORBIDDEN, &json!("Forbidden")));
    let other = METRIC.replace("rookery_connections", "cpu");
    let (code, status) = get(&client, served.url(&other), Some("ann")).await;
    assert_eq!((code, &status["kind"]), (StatusCode::NOT_FOUND, &json!("Status")));
    let (code, _) = get(&client, served.url(&METRIC.replace('*', "one")), Some("ann")).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    let bad = format!("{METRIC}?labelSelector=%2Cx");
    let (code, status) = get(&client, served.url(&bad), Some("ann")).await;
    assert_eq!((code, &status["code"]), (StatusCode::BAD_REQUEST, &json!(400)));
    let (code, _) = get(&client, served.url("/api/v1/pods"), Some("ann")).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    served.end().await;
}

#[tokio::test]
async fn http_1_and_http_2_are_served() {
    let authority = Authority::new();
    let served = Served::start(&authority).await;
    let identity = authority.identity("front-proxy-client");
    for (client, version) in [
        (served.client(Some(&identity)), http::Version::HTTP_2),
        (served.client(Some(&identity)).http1_only(), http::Version::HTTP_11),
    ] {
        let request = client.build().unwrap().get(served.url(VERSION));
        let answer = request.header("X-Remote-User", "ann").send().await.unwrap();
        assert_eq!((answer.version(), answer.status()), (version, StatusCode::OK));
    }
    served.end().await;
}

#[tokio::test]
async fn requests_not_from_the_front_proxy_are_rejected() {
    let authority = Authority::new();
    let served = Served::start(&authority).await;
    let stranger = authority.identity("somebody");
    for identity in [None, Some(stranger.as_str())] {
        let client = served.client(identity).build().unwrap();
        let (code, status) = get(&client, served.url(VERSION), Some("ann")).await;
        assert_eq!((code, &status["reason"]), (StatusCode::UNAUTHORIZED, &json!("Unauthorized")));
        let health = client.get(served.url("/healthz")).send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);
    }
    let identity = authority.identity("front-proxy-client");
    let client = served.client(Some(&identity)).build().unwrap();
    let (code, _) = get(&client, served.url(VERSION), None).await;
    assert_eq!(code, StatusCode::UNAUTHORIZED, "no user is named");
    let forged = Authority::new().identity("front-proxy-client");
    let client = served.client(Some(&forged)).build().unwrap();
    let error = client.get(served.url(VERSION)).header("X-Remote-User", "ann").send().await;
    assert!(error.is_err(), "a certificate of another authority ends the handshake");
    served.end().await;
}

#[tokio::test]
async fn idle_connections_give_way_and_leave_the_api_servers_alone() {
    let authority = Authority::new();
    let served = Served::start(&authority).await;
    let flood = async || {
        let mut idle = Vec::new();
        for _ in 0..2 * places::MAX_UNKNOWN {
            idle.push(TcpStream::connect(served.address).await.unwrap());
        }
        idle
    };
    let mut idle = flood().await;
    let identity = authority.identity("front-proxy-client");
    let client = served.client(Some(&identity)).build().unwrap();
    assert_eq!(get(&client, served.url(VERSION), Some("ann")).await.0, StatusCode::OK);
    let end = idle[0].read(&mut [0]).await;
    assert!(matches!(end, Ok(0) | Err(_)), "the oldest idle connection is closed");
    idle.extend(flood().await);
    assert_eq!(get(&client, served.url(VERSION), Some("ann")).await.0, StatusCode::OK);
    served.end().await;
}

#[tokio::test]
async fn a_new_client_authority_applies_at_once_and_closes_connections_of_the_old_one() {
    let (old, new) = (Authority::new(), Authority::new());
    let served = Served::start(&old).await;
    let identity = old.identity("front-proxy-client");
    let client = served.client(Some(&identity)).build().unwrap();
    assert_eq!(get(&client, served.url(VERSION), Some("ann")).await.0, StatusCode::OK);
    served.front_proxy.send_replace(Some(new.front_proxy()));
    let url = || served.url(VERSION);
    while client.get(url()).header("X-Remote-User", "ann").send().await.is_ok() {
        tokio::task::yield_now().await;
    }
    let identity = new.identity("front-proxy-client");
    let client = served.client(Some(&identity)).build().unwrap();
    assert_eq!(get(&client, url(), Some("ann")).await.0, StatusCode::OK);
    served.end().await;
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart() {
    let authority = Authority::new();
    let mut served = Served::start(&authority).await;
    let identity = authority.identity("front-proxy-client");
    let renewed = ServingCertificate::for_names(&[NAME.to_owned()], Timestamp::now());
    served.bundle = renewed.bundle.clone();
    let ask = async || {
        let client = served.client(Some(&identity)).build().unwrap();
        let request = client.get(served.url(VERSION)).header("X-Remote-User", "ann");
        request.send().await
    };
    assert!(ask().await.is_err(), "the old certificate is not of the new authority");
    served.certificate.send_replace(Some(Arc::new(renewed)));
    while ask().await.is_err() {
        tokio::task::yield_now().await;
    }
    served.end().await;
}
