//! Text from clients and backends neither controls a terminal nor forges a line of the log.

use serde_json::json;

use rookery_ops::escape;

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;
use crate::logs::{WEBSOCKET, connect};
use crate::websocket::handshake;

/// Clears a screen, ends the line, forges another, reverses the text.
const HOSTILE: &str =
    "a\u{1b}[2J\u{9b}2J\u{7f}\r\n2026-01-01T00:00:00Z INFO forged\u{2028}\u{202e}b";

/// The part of it that a header can carry.
const HEADER: &str = "\u{9b}2J\u{85}\u{2028}\u{202e}b";

/// Sends the text in every place where clients and backends may put one, and returns the log.
async fn log_of(format: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (secret, keys) = (folder.path().join("secret"), folder.path().join("keys"));
    std::fs::write(&secret, "0123456789".repeat(4)).unwrap();
    std::fs::write(&keys, "ci\u{1b}[2J\u{202e}:0123456789abcdef\n").unwrap();
    let config = format!(
        "telemetry: {{ logFormat: {format} }}\ntrustedProxies: [127.0.0.0/8]\n\
         auth: {{ anonymous: true, apiKeysFile: '{}', queryParam: token,\n\
         jwt: {{ algorithms: [HS256], secretFile: '{}' }} }}\nrooms: [{{ match: open }}]\n",
        keys.display(),
        secret.display()
    );
    let server = Rookery::start_with(&config, &[("RUST_LOG", "debug")]).await;
    let mut member = Member::connect(&server).await;
    for event in ["join", "leave", "publish", "application", HOSTILE] {
        let arg = json!({ "room": HOSTILE, "event": HOSTILE, "data": HOSTILE });
        member.ask(event, arg).await;
    }
    let mut request = handshake(WEBSOCKET);
    for name in ["user-agent", "origin", "x-forwarded-for", "x-forwarded-host", "authorization"] {
        if name != "origin" {
            request = request.header(name, HEADER);
        }
        let alone = Request::get("/socket.io/?EIO=4&transport=polling").header(name, HEADER);
        assert!(alone.send(server.clients).await.is_ok());
    }
    let auth = json!({ "token": HOSTILE }).to_string();
    connect(&server, &request, &auth).await;
    let namespace = format!("/{},", HOSTILE.replace(',', ""));
    connect(&server, &handshake(WEBSOCKET), &namespace).await;
    let encoded = "%1b%5B2J%0d%0aforged%c2%9b";
    for target in ["/api/rooms/", "/api/nothing", "/"] {
        let request = Request::get(&format!("{target}{encoded}?prefix={encoded}"));
        request.header("authorization", HEADER).send(server.internal).await.unwrap();
    }
    for (path, body) in [
        ("/api/disconnect", json!({ "user": HOSTILE })),
        ("/api/rooms/%1b%5B2J%0d%0aforged%c2%9b/join", json!({ "member": HOSTILE })),
        ("/api/publish", json!({ "room": HOSTILE, "event": HOSTILE, "id": HOSTILE })),
    ] {
        let request = Request::post(path, body.to_string())
            .header("content-type", "application/json")
            .header("authorization", "Bearer 0123456789abcdef");
        assert_eq!(request.send(server.internal).await.unwrap().status, 200, "{path}");
    }
    std::fs::write(&keys, format!("{}\n", HOSTILE.replace(['\n', '\r'], ""))).unwrap();
    std::fs::write(server.config(), "limits: { \"conn\\e[2J\\u2028\": \"\\e[2J\\n\\u202e\" }\n")
        .unwrap();
    for told in [
        "a publisher moved or disconnected members",
        "cannot reload API keys",
        "cannot reload the conf",
    ] {
        until(told, async || server.log().contains(told)).await;
    }
    server.log()
}

#[tokio::test]
async fn hostile_text_is_escaped_in_lines_of_json() {
    let _permit = shared_permit().await;
    let log = log_of("json").await;
    for line in log.lines() {
        assert!(!line.chars().any(escape::is_unsafe), "{line:?}");
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(parsed["timestamp"].is_string() && parsed["level"].is_string(), "{line}");
    }
    assert!(log.contains("forged"), "{log}");
}

#[tokio::test]
async fn hostile_text_is_escaped_in_lines_of_text() {
    let _permit = shared_permit().await;
    let log = log_of("text").await;
    for line in log.lines() {
        assert!(!line.chars().any(escape::is_unsafe), "{line:?}");
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{line:?}");
        let level = words.next().unwrap_or_default();
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&level), "{line:?}");
    }
    assert!(log.contains("forged"), "{log}");
}
