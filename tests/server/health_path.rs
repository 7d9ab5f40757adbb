//! `healthPath`: whether the instance is ready, at the port that clients connect to.

use crate::harness::{Rookery, shared_permit, until};
use crate::http::{Request, Response};

async fn ask(server: &Rookery, method: &str, target: &str) -> Response {
    Request::new(method, target).send(server.clients).await.unwrap()
}

/// Status and body.
async fn health(server: &Rookery) -> (u16, String) {
    let answer = ask(server, "GET", "/healthz").await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn the_health_path_answers_as_readyz_without_details_or_a_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start(
        "healthPath: /healthz
drain: { lead: 5m }
",
    )
    .await;
    let answer = ask(&server, "GET", "/healthz?from=balancer").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (
            200, "ready
"
        )
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = ask(&server, "POST", "/healthz").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    for other in ["/healthz/", "/health", "/readyz", "/"] {
        assert_eq!(ask(&server, "GET", other).await.status, 404, "{other}");
    }
    assert_eq!(server.connections().await, 0.0);
    server.terminate();
    until("the instance is not ready", async || health(&server).await.0 == 503).await;
    assert_eq!(
        health(&server).await.1,
        "not ready
"
    );
    assert_eq!(server.internal("/readyz").await.status, 503);
}

#[tokio::test]
async fn an_instance_that_stays_ready_while_it_drains_says_so_to_load_balancers_too() {
    let _permit = shared_permit().await;
    let config = "healthPath: /healthz
drain: { lead: 5m, keepReady: true }
";
    let server = Rookery::start(config).await;
    server.terminate();
    until("the drain begins", async || server.log().contains("draining")).await;
    assert_eq!(health(&server).await.0, 200);
}

#[tokio::test]
async fn without_a_health_path_there_is_none() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    assert_eq!(ask(&server, "GET", "/healthz").await.status, 404);
}
