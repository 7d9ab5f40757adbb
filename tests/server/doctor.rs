//! `rookery doctor`, through ingresses that are right and ones that are broken.

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Rookery, shared_permit, until, within};
use crate::proxy::{IngressBehavior, Proxy};

const QUICK: &str = "socketio: { pingInterval: 1s, pingTimeout: 20s }\n";

struct Report {
    code: i32,
    text: String,
}

impl Report {
    /// The lines of a check, its fixes included.
    fn check(&self, name: &str) -> Vec<&str> {
        let mut inside = false;
        let lines = self.text.lines().filter(|line| {
            if !line.starts_with(' ') {
                inside = line.split_whitespace().nth(1) == Some(name);
            }
            inside
        });
        lines.collect()
    }

    fn fine(&self, name: &str) {
        let lines = self.check(name);
        assert!(!lines.is_empty(), "no {name} in\n{}", self.text);
        assert!(lines.iter().all(|line| line.starts_with('✓')), "{name}:\n{}", self.text);
    }

    fn wrong(&self, name: &str, parts: &[&str]) {
        let text = self.check(name).join("\n");
        assert!(text.contains('✗'), "{name} is not wrong in\n{}", self.text);
        assert!(text.contains("fix: "), "no fix for {name} in\n{}", self.text);
        for part in parts {
            assert!(text.contains(part), "no `{part}` for {name} in\n{}", self.text);
        }
        assert_eq!(self.code, 1, "{}", self.text);
    }
}

async fn doctor(arguments: &[&str]) -> Report {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command.arg("doctor").args(arguments).env_remove("ROOKERY_TOKEN").kill_on_drop(true);
    let Output { status, stdout, stderr } =
        within("the doctor's report", command.output()).await.unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    Report { code: status.code().unwrap(), text }
}

async fn two() -> (Rookery, Rookery) {
    tokio::join!(Rookery::start(QUICK), Rookery::start(QUICK))
}

#[tokio::test]
async fn doctor_passes_on_one_server_and_leaves_nothing_behind() {
    let _permit = shared_permit().await;
    let server = Rookery::start(QUICK).await;
    let report = doctor(&[&format!("http://{}", server.clients)]).await;
    for check in ["reach", "handshake", "polling", "stickiness", "upgrade", "websocket", "cors"] {
        report.fine(check);
    }
    report.fine("hold");
    assert_eq!(report.check("hold").len(), 3, "{}", report.text);
    report.fine("reconnect");
    assert_eq!(report.code, 0, "{}", report.text);
    until("every session ends", async || server.connections().await == 0.0).await;
    assert_eq!(server.metric("rookery_publications_total{source=\"client\"}").await, 0.0);
}

#[tokio::test]
async fn doctor_passes_with_a_sticky_ingress_and_two_servers() {
    let _permit = shared_permit().await;
    let (a, b) = two().await;
    let behavior = IngressBehavior {
        servers: vec![a.clients, b.clients],
        sticky: Some(("rookery", "; Path=/; HttpOnly")),
        ..IngressBehavior::default()
    };
    let report = doctor(&[&Proxy::start(behavior).await.url()]).await;
    report.fine("stickiness");
    let text = report.check("stickiness").concat();
    assert!(text.contains("cookie `rookery`; without it, one was lost"), "{}", report.text);
    report.fine("upgrade");
    report.fine("hold");
    // Pages of other sites may not connect, as the configuration is.
    let cors = report.check("cors").concat();
    assert!(cors.starts_with('!') && cors.contains("withCredentials"), "{}", report.text);
    assert_eq!(report.code, 0, "{}", report.text);
}

#[tokio::test]
async fn doctor_reports_missing_stickiness_and_names_the_annotation() {
    let _permit = shared_permit().await;
    let (a, b) = two().await;
    let behavior =
        IngressBehavior { servers: vec![a.clients, b.clients], ..IngressBehavior::default() };
    let proxy = Proxy::start(behavior).await;
    let report = doctor(&[&proxy.url()]).await;
    report.wrong("polling", &["Session ID unknown", "service.sticky.cookie", "ingress.sticky"]);
    report.fine("websocket");
    let report = doctor(&[&proxy.url(), "--controller", "haproxy"]).await;
    report.wrong("polling", &["haproxy.org/cookie-persistence"]);
    let report = doctor(&[&proxy.url(), "--websocket-only"]).await;
    assert_eq!(report.code, 0, "{}", report.text);
}

#[tokio::test]
async fn doctor_reports_a_secure_cookie_on_plain_http() {
    let _permit = shared_permit().await;
    let (a, b) = two().await;
    let behavior = IngressBehavior {
        servers: vec![a.clients, b.clients],
        sticky: Some(("rookery", "; Path=/; Secure")),
        ..IngressBehavior::default()
    };
    let report = doctor(&[&Proxy::start(behavior).await.url()]).await;
    report.wrong("polling", &["the cookie `rookery` is Secure", "use https"]);
}

#[tokio::test]
async fn doctor_reports_an_ingress_that_drops_the_upgrade() {
    let _permit = shared_permit().await;
    let server = Rookery::start(QUICK).await;
    let behavior = IngressBehavior {
        servers: vec![server.clients],
        no_upgrade: true,
        ..IngressBehavior::default()
    };
    let report = doctor(&[&Proxy::start(behavior).await.url()]).await;
    report.fine("polling");
    report.fine("stickiness");
    report.wrong("upgrade", &["the WebSocket upgrade is blocked", "Traefik"]);
    report.wrong("websocket", &["the WebSocket upgrade is blocked"]);
    assert_eq!(report.check("hold").len(), 1, "{}", report.text);
    report.fine("reconnect");
}

#[tokio::test]
async fn doctor_reports_an_ingress_that_closes_idle_connections() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { pingInterval: 20s, pingTimeout: 20s }\n").await;
    let behavior = IngressBehavior {
        servers: vec![server.clients],
        idle: Some(Duration::from_secs(3)),
        ..IngressBehavior::default()
    };
    let report = doctor(&[&Proxy::start(behavior).await.url(), "--controller=haproxy"]).await;
    report.fine("upgrade");
    report.wrong("hold", &["was cut off after", "timeout-tunnel", "socketio.pingInterval"]);
    let lines = report.check("hold");
    assert_eq!(lines.iter().filter(|line| line.starts_with('✗')).count(), 3, "{}", report.text);
}

#[tokio::test]
async fn doctor_recognizes_responses_that_are_not_from_rookery() {
    let _permit = shared_permit().await;
    for (answer, says) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "ingress.host"),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "kubectl get rk"),
        ("HTTP/1.1 308 Permanent Redirect\r\ncontent-length: 0\r\n\r\n", "redirects"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "something other than Rookery"),
    ] {
        let proxy =
            Proxy::start(IngressBehavior { answer: Some(answer), ..IngressBehavior::default() })
                .await;
        doctor(&[&proxy.url()]).await.wrong("handshake", &[says]);
    }
}

#[tokio::test]
async fn doctor_waits_for_a_service_that_is_starting() {
    let _permit = shared_permit().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let url = format!("http://{address}");
    doctor(&[&url]).await.wrong("reach", &["connection refused"]);
    let server = Rookery::start(QUICK).await;
    let look = tokio::spawn(async move { doctor(&[&url, "--wait", "1m"]).await });
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let to = server.clients;
    let relay = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let report = look.await.unwrap();
    relay.abort();
    assert_eq!(report.code, 0, "{}", report.text);
}

#[tokio::test]
async fn doctor_reports_an_untrusted_certificate_unless_insecure() {
    let _permit = shared_permit().await;
    let server = Rookery::start(QUICK).await;
    let made = rcgen::generate_simple_self_signed(["chat.example.com".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let behavior = IngressBehavior {
        servers: vec![server.clients],
        tls: Some(Arc::new(config).into()),
        ..IngressBehavior::default()
    };
    let proxy = Proxy::start(behavior).await;
    let to = format!("--connect-to={}", proxy.address);
    let url = "https://chat.example.com";
    doctor(&[url, &to]).await.wrong("reach", &["certificate", "ingress.tls.secretName"]);
    let report = doctor(&[url, &to, "--insecure"]).await;
    report.fine("upgrade");
    assert_eq!(report.code, 0, "{}", report.text);
    let plain = format!("http://{}", server.clients);
    doctor(&[&plain.replace("http:", "https:")]).await.wrong("reach", &["served with TLS"]);
}

#[tokio::test]
async fn doctor_suggests_fixes_for_tokens_paths_and_origins() {
    let _permit = shared_permit().await;
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa.pub.pem");
    let server = Rookery::start(&format!(
        "{QUICK}auth: {{ anonymous: false, jwt: {{ algorithms: [RS256], publicKeyFile: {key} }} }}\n"
    ))
    .await;
    let url = format!("http://{}", server.clients);
    doctor(&[&url]).await.wrong("polling", &["unauthenticated", "tests.tokenSecret"]);
    doctor(&[&url, "--path", "/chat"]).await.wrong("handshake", &["--path"]);
    let named = Rookery::start(&format!(
        "{}\n",
        QUICK
            .trim_end()
            .replace(" }", ", cors: { origins: [\"https://a.example\"], credentials: true } }")
    ))
    .await;
    let url = format!("http://{}", named.clients);
    let report = doctor(&[&url, "--origin", "https://a.example"]).await;
    report.fine("cors");
    let report = doctor(&[&url, "--origin", "https://b.example"]).await;
    report.wrong("cors", &["https://b.example", "socketio.cors.origins"]);
}

#[tokio::test]
async fn doctor_reports_an_ingress_that_adds_cors_headers() {
    let _permit = shared_permit().await;
    let server = Rookery::start(QUICK).await;
    let behavior = IngressBehavior {
        servers: vec![server.clients],
        header: Some("access-control-allow-origin: *"),
        ..IngressBehavior::default()
    };
    let report = doctor(&[&Proxy::start(behavior).await.url()]).await;
    report.wrong("cors", &["twice"]);
}

#[tokio::test]
async fn invalid_doctor_usage_exits_with_2() {
    for arguments in [
        vec![],
        vec!["chat.example.com"],
        vec!["http://a", "--connect-to", "http://b"],
        vec!["http://a", "--controller", "nginx"],
        vec!["http://a", "--hold", "soon"],
        vec!["http://a", "--origin", "https://a/page"],
    ] {
        let report = doctor(&arguments).await;
        assert_eq!(report.code, 2, "{arguments:?}: {}", report.text);
    }
}
