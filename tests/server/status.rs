//! `GET /api/status` reports what happened on a real server.

use serde_json::{Value, json};

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;
use crate::redis::Redis;

async fn status(server: &Rookery) -> Value {
    let answer = server.internal("/api/status").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn the_status_reports_what_happened() {
    let _permit = shared_permit().await;
    let server = Rookery::start(
        "limits: { connections: 7 }\nevents: [{ on: join, operation: join, room: '{room}' }]\n",
    )
    .await;
    let at_start = status(&server).await;
    assert_eq!(at_start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(at_start["pod"].as_str().unwrap().len(), 8);
    assert_eq!(at_start["listen"], server.clients.to_string());
    assert_eq!(at_start["connections"], json!({"polling": 0, "websocket": 0, "limit": 7}));
    assert_eq!(at_start["redis"], Value::Null);
    assert_eq!(at_start["draining"], false);
    assert_eq!(at_start["ready"], json!([]));
    let started = at_start["startedAt"].as_str().unwrap();
    assert!(started.starts_with("20") && started.ends_with('Z'), "{started}");

    let mut member = Member::connect(&server).await;
    member.join("a").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("b").await;
    server.publish("a", "n", json!(1)).await;
    member.event().await;
    until("all is counted", async || {
        let now = status(&server).await;
        now["deliveries"]["written"] == 1 && now["rooms"] == 2
    })
    .await;
    let now = status(&server).await;
    assert_eq!(now["connections"], json!({"polling": 1, "websocket": 1, "limit": 7}));
    assert_eq!(now["connects"], json!({"accepted": 2, "refused": 0}));
    let sources = json!({
        "admin": 0, "api": 1, "backend": 0, "bridge": 0, "client": 0, "presence": 0, "redis": 0,
    });
    assert_eq!(now["publications"], sources);
    let outcomes = json!({"dropped_slow": 0, "dropped_volatile": 0, "gone": 0, "written": 1});
    assert_eq!(now["deliveries"], outcomes);
    assert_eq!(now["disconnects"].as_object().unwrap().len(), 10);
    assert!(now["rejected"].as_object().unwrap().len() >= 11);
    assert_eq!(now["startedAt"], at_start["startedAt"]);
    let uptime = |status: &Value| status["uptimeSeconds"].as_f64().unwrap();
    assert!(uptime(&now) > uptime(&at_start) && uptime(&at_start) > 0.0, "{now}");

    drop(member);
    until("the end is counted", async || {
        let now = status(&server).await;
        now["connections"]["websocket"] == 0
            && now["disconnects"].as_object().unwrap().values().any(|n| *n == 1)
    })
    .await;
}

#[tokio::test]
async fn the_redis_status_contains_no_password() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let config = format!("redis: {{ url: '{}' }}\n", redis.url());
    let server = Rookery::start(&config).await;
    until("the link is up", async || status(&server).await["redis"]["up"] == true).await;
    assert_eq!(
        status(&server).await["redis"],
        json!({"up": true, "url": redis.url(), "reconnects": 0, "unsent": 0})
    );
    drop(redis);
    until("the link is down", async || status(&server).await["redis"]["up"] == false).await;
    server.publish("a", "n", json!(1)).await;
    until("it was not sent", async || status(&server).await["redis"]["unsent"] == 1).await;

    let away = "redis: { url: 'redis://ada:sesame@127.0.0.1:1' }\n";
    let server = Rookery::start(away).await;
    let answer = server.internal("/api/status").await;
    assert_eq!(answer.json()["redis"]["url"], "redis://***@127.0.0.1:1");
    assert_eq!(answer.json()["redis"]["up"], false);
    assert!(!answer.text().contains("sesame"));
}

#[tokio::test]
async fn the_status_shows_that_the_instance_is_draining() {
    let _permit = shared_permit().await;
    let server = Rookery::start("drain: { lead: 60s }\n").await;
    let member = Member::connect(&server).await;
    server.terminate();
    until("it is draining", async || status(&server).await["draining"] == true).await;
    assert_eq!(status(&server).await["ready"], json!(["draining: this instance is about to stop"]));
    drop(member);
}

#[tokio::test]
async fn the_status_page_is_served_on_the_internal_listener_only() {
    let _permit = shared_permit().await;
    let server = Rookery::start("{}\n").await;
    let page = server.internal("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'sha256-"));
    let of_clients = Request::get("/").send(server.clients).await.unwrap();
    assert_eq!(of_clients.status, 404);
}
