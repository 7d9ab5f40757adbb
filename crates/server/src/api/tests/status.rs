//! `GET /api/status`, and the page that shows it.

use serde_json::json;

use super::*;
use crate::api::instance_status::{Connections, Connects, Counts, RedisStatus, Status};

pub(super) fn fixed_status() -> Status {
    Status {
        version: "1.2.3",
        pod: "podAAAAA".into(),
        listen: "127.0.0.1:3000".parse().unwrap(),
        started_at: "2023-11-14T22:13:20.000Z".to_owned(),
        uptime_seconds: 1.5,
        connections: Connections { polling: 1, websocket: 2, limit: 50_000 },
        rooms: 3,
        publications: Counts::from([("api", 4)]),
        deliveries: Counts::from([("written", 5)]),
        connects: Connects { accepted: 6, refused: 7 },
        disconnects: Counts::from([("slow", 8)]),
        rejected: Counts::from([("rooms", 9)]),
        redis: Some(RedisStatus {
            up: true,
            url: "redis://***@redis:6379".to_owned(),
            reconnects: 10,
            unsent: 11,
        }),
        draining: false,
        ready: vec!["redis: not connected".to_owned()],
    }
}
#[tokio::test]
async fn status_has_the_documented_fields() {
    let server = Server::start(&World::new()).await;
    let response = server.get("/api/status").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        answer(response, 200).await,
        json!({
            "version": "1.2.3",
            "pod": "podAAAAA",
            "listen": "127.0.0.1:3000",
            "startedAt": "2023-11-14T22:13:20.000Z",
            "uptimeSeconds": 1.5,
            "connections": {"polling": 1, "websocket": 2, "limit": 50_000},
            "rooms": 3,
            "publications": {"api": 4},
            "deliveries": {"written": 5},
            "connects": {"accepted": 6, "refused": 7},
            "disconnects": {"slow": 8},
            "rejected": {"rooms": 9},
            "redis": {"up": true, "url": "redis://***@redis:6379", "reconnects": 10, "unsent": 11},
            "draining": false,
            "ready": ["redis: not connected"],
        })
    );
    let description = answer(server.get("/api/openapi.json").send().await.unwrap(), 200).await;
    let schema = &description["components"]["schemas"]["Status"];
    assert_eq!(schema["properties"].as_object().unwrap().len(), 15);
    assert_eq!(schema["properties"]["publications"]["type"], "object");
}

#[tokio::test]
async fn status_requires_a_key_and_the_page_does_not() {
    let server = Server::with(&World::new(), Setup { access: one_key(), ..Setup::default() }).await;
    let refused = server.get("/api/status").send().await.unwrap();
    assert!(answer(refused, 401).await["detail"].as_str().unwrap().contains("Bearer KEY"));
    let wrong = server.get("/api/status").bearer_auth("open").send().await.unwrap();
    assert!(answer(wrong, 401).await["detail"].as_str().unwrap().contains("Unknown API key"));
    answer(server.get("/api/status").bearer_auth(KEY).send().await.unwrap(), 200).await;

    let page = server.get("/").header("accept", "application/json").send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let text = page.text().await.unwrap();
    assert!(text.contains("<h1>Rookery") && !text.contains("podAAAAA"), "the page holds no data");
    let head = server.client.head(server.url("/")).send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn the_refusal_without_keys_names_the_setting() {
    let access = Access::new(None, "0.0.0.0:9090".parse().unwrap());
    let server = Server::with(&World::new(), Setup { access, ..Setup::default() }).await;
    let refused = answer(server.get("/api/status").send().await.unwrap(), 403).await;
    assert!(refused["detail"].as_str().unwrap().contains("set auth.apiKeysFile"));
    assert_eq!(server.get("/").send().await.unwrap().status(), 200);
    // An unknown path is still a problem document.
    let nothing = server.get("/index.html").send().await.unwrap();
    assert_eq!(nothing.headers()["content-type"], "application/problem+json");
    answer(nothing, 404).await;
}
