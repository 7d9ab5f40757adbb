//! Webhooks: their order, headers and signature, and which are sent.

use std::process::Command;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::backend::{Answer, Backend, Call, echo};
use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until};
use crate::webhooks::{OPEN, engine, packet, serve};

#[tokio::test]
async fn one_clients_events_reach_the_backend_in_order_and_different_clients_in_parallel() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["args"][0].as_u64() {
        // The earlier, the slower.
        Some(n) => Answer::After(Duration::from_millis(40 - 2 * n), json!({ "ack": [n] })),
        None => echo(body),
    })
    .await;
    let server = serve(&backend, "").await;
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(Member::connect(&server).await);
    }
    for member in &mut members {
        for n in 0..20 {
            member.socket.send(&format!("42{n}{}", json!(["n", n]))).await;
        }
    }
    for member in &mut members {
        for n in 0..20 {
            assert_eq!(member.packet().await.unwrap(), format!("43{n}[{n}]"));
        }
    }
    for connect in backend.of_type("connect") {
        let mut calls = backend.of_type("event");
        calls.retain(|call| call.body["id"] == connect.body["id"]);
        let order: Vec<_> =
            calls.iter().map(|call| call.body["args"][0].as_u64().unwrap()).collect();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
    let most = backend.most_in_flight();
    assert!((2..=4).contains(&most), "{most}");
}

/// The signature that a request must have.
pub fn signature(call: &Call, key: &[u8]) -> String {
    let header = call.header("rookery-signature");
    let time = header.strip_prefix("t=").unwrap().split(',').next().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signed = [time.as_bytes(), b".", &call.bytes].concat();
    let hex: String =
        hmac::sign(&key, &signed).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

#[tokio::test]
async fn requests_are_signed_and_the_key_is_read_again_when_it_changes() {
    let _permit = shared_permit().await;
    let key = NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "the first key\n").unwrap();
    let backend = Backend::echo().await;
    let more = format!(", signingKeyFile: '{}'", key.path().display());
    let server = serve(&backend, &more).await;
    let mut member = Member::connect(&server).await;
    member.ask("é", json!("ü")).await;
    for call in backend.calls() {
        assert_eq!(call.header("rookery-signature"), signature(&call, b"the first key"));
        assert_eq!(call.header("content-type"), "application/json");
    }
    std::fs::write(key.path(), "the second").unwrap();
    until("the other key is used", async || {
        member.ask("a", json!(1)).await;
        let last = backend.of_type("event").pop().unwrap();
        last.header("rookery-signature") == signature(&last, b"the second")
    })
    .await;
    std::fs::write(key.path(), "").unwrap();
    until("an empty file is logged", async || {
        server.log().contains("cannot reload the key that signs webhooks")
    })
    .await;
    member.ask("a", json!(1)).await;
    let last = backend.of_type("event").pop().unwrap();
    assert_eq!(last.header("rookery-signature"), signature(&last, b"the second"));
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_and_a_traceparent() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server = serve(&backend, "").await;
    let mut member = Member::connect(&server).await;
    for n in 0..5 {
        member.ask("a", json!(n)).await;
    }
    let calls = backend.calls();
    let mut ids: Vec<_> = calls.iter().map(|call| call.header("rookery-event-id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), calls.len());
    for call in &calls {
        let traceparent: Vec<_> = call.header("traceparent").split('-').collect();
        assert_eq!(traceparent.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert!(call.headers.get("rookery-signature").is_none());
    }
}

#[tokio::test]
async fn the_user_and_the_claims_of_the_token_are_sent() {
    let _permit = shared_permit().await;
    let secret = NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "a-secret-of-at-least-thirty-two-bytes").unwrap();
    let backend = Backend::echo().await;
    let secret = secret.path().display();
    let auth = format!(
        "auth: {{ queryParam: token, jwt: {{ algorithms: [HS256], secretFile: '{secret}' }} }}\n"
    );
    let server = Rookery::start(&format!("{OPEN}{auth}{}", backend.config(""))).await;
    let output = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["token", "--user", "ann", "--claims", r#"{"role":"x"}"#, "--config"])
        .arg(server.config())
        .output()
        .unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    let member = Member::connect_with(&server, &format!("&token={}", token.trim())).await;
    drop(member.socket);
    backend.called("disconnect", 1).await;
    for call in backend.calls() {
        assert_eq!(call.body["user"], "ann");
        assert_eq!(call.body["claims"]["role"], "x");
    }
    // A client whose token is refused is none of the backend's business.
    let mut socket = engine(&server).await;
    socket.send("40").await;
    assert!(packet(&mut socket).await.contains("unauthenticated"));
    assert_eq!(backend.of_type("connect").len(), 1);
}

#[tokio::test]
async fn only_the_hooks_that_are_configured_are_called() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server = serve(&backend, ", hooks: [disconnect]").await;
    let mut member = Member::connect(&server).await;
    let (_, answer) = member.ask("a", json!(1)).await;
    assert_eq!(answer["error"]["code"], "unknown_operation");
    drop(member.socket);
    backend.called("disconnect", 1).await;
    assert_eq!(backend.calls().len(), 1);
}
