//! No secret reaches the log.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::Poller;
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::Request;
use crate::logs::{WEBSOCKET, connect, line, lines};
use crate::redis::Redis;
use crate::websocket::handshake;

/// Secrets that must never appear in the log.
struct Secrets {
    folder: TempDir,
    known: Vec<String>,
}

impl Secrets {
    const SIGNING: &str = "signing-key-that-nobody-may-read-0123456789";
    const API: &str = "api-key-that-nobody-may-read";
    const REDIS: &str = "redis-password-that-nobody-may-read";

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jwt"), Self::SIGNING).unwrap();
        std::fs::write(folder.path().join("keys"), format!("shop:{}\n", Self::API)).unwrap();
        let known = [Self::SIGNING, Self::API, Self::REDIS].map(str::to_owned).to_vec();
        Secrets { folder, known }
    }

    fn config(&self, redis: &str) -> String {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        format!(
            "auth:\n  jwt: {{ algorithms: [HS256], secretFile: '{}' }}\n  queryParam: token\n  \
             apiKeysFile: '{}'\nredis: {{ url: '{redis}' }}\n",
            file("jwt"),
            file("keys")
        )
    }

    /// A token for a user; it is a secret as well.
    fn token(&mut self, server: &Rookery, user: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .args(["token", "--user", user, "--config"])
            .arg(server.config())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        self.keep(&token);
        // What only a part of the token would give away.
        self.keep(token.rsplit('.').next().unwrap());
        token
    }

    fn keep(&mut self, secret: &str) {
        assert!(secret.len() > 10, "too short to be looked for: {secret}");
        self.known.push(secret.to_owned());
    }

    fn assert_kept(&self, server: &Rookery) {
        let log = server.log();
        for secret in &self.known {
            let line = log.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is in the log: {line:?}");
        }
    }
}

#[tokio::test]
async fn the_log_contains_no_secrets() {
    let _permit = shared_permit().await;
    let mut secrets = Secrets::new();
    let redis = Redis::start().await;
    redis.require(Secrets::REDIS).await;
    let url = redis.url().replace("://", &format!("://:{}@", Secrets::REDIS));
    let server = Rookery::start_with(&secrets.config(&url), &[("RUST_LOG", "trace")]).await;
    until("Redis is there", async || server.metric("rookery_redis_up").await == 1.0).await;

    // Valid and invalid tokens, in every place where a token may be.
    let token = secrets.token(&server, "ada");
    let payload = "a-payload-that-nobody-may-read";
    secrets.keep(payload);
    let other = secrets.token(&server, "bob");
    let forged = format!("{}x", &token[..token.len() - 1]);
    let auth = json!({ "token": token }).to_string();
    let asked = connect(&server, &handshake(WEBSOCKET), &auth).await;
    assert!(asked.answer.starts_with("40{"), "{}", asked.answer);
    secrets.keep(&asked.sid);
    let mut member = asked.socket;
    let header = handshake(WEBSOCKET).header("authorization", &format!("Bearer {token}"));
    assert!(connect(&server, &header, "").await.answer.starts_with("40{"));
    let query = handshake(&format!("{WEBSOCKET}&token={token}"));
    assert!(connect(&server, &query, "").await.answer.starts_with("40{"));
    for bad in [forged.as_str(), "no-token-but-perhaps-a-password"] {
        secrets.keep(bad);
        let auth = json!({ "token": bad }).to_string();
        assert!(connect(&server, &handshake(WEBSOCKET), &auth).await.answer.starts_with("44{"));
        let query = handshake(&format!("{WEBSOCKET}&token={bad}"));
        assert!(connect(&server, &query, "").await.answer.starts_with("44{"));
        let header = handshake(WEBSOCKET).header("authorization", &format!("Bearer {bad}"));
        assert!(connect(&server, &header, "").await.answer.starts_with("44{"));
    }
    for fresh in [&token, &other, &forged] {
        member.send(&format!("421[\"auth:refresh\",{{\"token\":\"{fresh}\"}}]")).await;
        within("the answer", async { while !member.text().await.starts_with("431") {} }).await;
    }

    // Polling sessions: their ids are secrets.
    let mut poller = Poller::open(&server, 4).await;
    secrets.keep(&std::mem::take(&mut poller.sid));

    // Payloads, from clients and publishers, whole and broken.
    member.send("422[\"join\",{\"room\":\"room\"}]").await;
    within("the join", async { while !member.text().await.starts_with("432") {} }).await;
    member
        .send(&format!(
            "42[\"publish\",{{\"room\":\"room\",\"event\":\"e\",\"data\":\"{payload}\"}}]"
        ))
        .await;
    within("the event", async { while !member.text().await.contains(payload) {} }).await;
    let body = json!({ "room": "room", "event": "e", "args": [payload] }).to_string();
    for (key, body, status) in [
        (Secrets::API, body.clone(), 200),
        (Secrets::API, format!("{body}, {payload}"), 400),
        ("a-key-that-is-none-but-may-be-elsewhere", body.clone(), 401),
    ] {
        secrets.keep(key);
        let request = Request::post("/api/publish", body)
            .header("content-type", "application/json")
            .header("authorization", &format!("Bearer {key}"));
        assert_eq!(request.send(server.internal).await.unwrap().status, status);
    }
    member.send(&format!("42[\"e\",{payload}")).await;
    member.closed().await;

    // A changed configuration with an error next to a password.
    for (n, url) in ["redis://:PASSWORD@host:port", "http://:PASSWORD@host"].iter().enumerate() {
        let url = url.replace("PASSWORD", Secrets::REDIS);
        let config =
            format!("redis: {{ url: '{url}' }}\nauth: {{ jwt: {{ jwksUrl: 'x{url}' }} }}\n");
        std::fs::write(server.config(), config).unwrap();
        let refused = "rookery_config_reloads_total{outcome=\"refused\"}";
        until("it is refused", async || server.metric(refused).await == (n + 1) as f64).await;
    }

    // Shutdown is logged as well.
    server.terminate();
    line(&server, "received a stop signal; draining").await;
    secrets.assert_kept(&server);
    let debug = lines(&server).iter().filter(|line| line["level"] == "DEBUG").count();
    assert!(debug > 10, "the log was not at its most talkative: {}", server.log());
}

#[tokio::test]
async fn the_log_does_not_contain_the_password_of_the_jwks_url() {
    const PASSWORD: &str = "password-of-the-issuer-that-nobody-may-read";
    let _permit = shared_permit().await;
    let issuer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = issuer.local_addr().unwrap();
    let answers = tokio::spawn(async move {
        while let Ok((mut socket, _)) = issuer.accept().await {
            let answer =
                b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"keys\":[]}";
            assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
            socket.write_all(answer).await.unwrap();
        }
    });
    let config = format!(
        "auth: {{ jwt: {{ algorithms: [RS256], jwksUrl: 'http://rookery:{PASSWORD}@{address}/keys' }} }}\n"
    );
    let server = Rookery::start_with(&config, &[("RUST_LOG", "trace")]).await;
    assert_eq!(line(&server, "fetched the key set of auth.jwt.jwksUrl").await["keys"], 0);
    line(&server, "the key set of auth.jwt.jwksUrl holds no usable key").await;
    // The issuer is gone: a token with an unknown key triggers a fetch, which fails.
    answers.abort();
    let _ = answers.await;
    let unknown = "eyJhbGciOiJSUzI1NiIsImtpZCI6InVua25vd24ifQ.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
    let auth = json!({ "token": unknown }).to_string();
    assert!(connect(&server, &handshake(WEBSOCKET), &auth).await.answer.starts_with("44{"));
    line(&server, "cannot fetch auth.jwt.jwksUrl; the previous keys stay in use").await;
    let log = server.log();
    assert!(!log.contains(PASSWORD) && !log.contains("c2lnbmF0dXJl"), "{log}");
}
