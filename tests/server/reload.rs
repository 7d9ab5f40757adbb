//! Changes to `rooms` and `limits` are applied while the server runs.

use serde_json::json;

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;

async fn reloads(server: &Rookery, outcome: &str) -> f64 {
    server.metric(&format!("rookery_config_reloads_total{{outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn reloaded_rules_and_limits_apply_to_connected_clients() {
    let _permit = shared_permit().await;
    let server = Rookery::start("rooms: [{ match: '{name}' }]\n").await;
    assert_eq!(server.metric("rookery_config_current").await, 1.0);
    let mut member = Member::connect(&server).await;
    member.join("secret").await;
    std::fs::write(
        server.config(),
        "rooms: [{ match: secret, join: 'false', publish: 'false' }, { match: '{name}' }]\n\
         limits: { roomsPerClient: 2, connections: 1 }\n",
    )
    .unwrap();
    until("the new file counts", async || reloads(&server, "applied").await == 1.0).await;
    let mut code = async |event: &str, room: &str| {
        let (_, answer) = member.ask(event, json!({ "room": room, "event": "e" })).await;
        answer["error"]["code"].as_str().map(str::to_owned)
    };
    // The counter is a little ahead of the rules.
    until("the limit counts", async || {
        let answer = Request::get("/socket.io/?EIO=4&transport=polling");
        answer.send(server.clients).await.unwrap().status == 503
    })
    .await;
    assert_eq!(code("join", "secret").await.as_deref(), Some("forbidden"));
    assert_eq!(code("publish", "secret").await.as_deref(), Some("forbidden"));
    until("the member has left the room that it may not join any more", async || {
        server.metric("rookery_memberships_revoked_total").await == 1.0
    })
    .await;
    assert_eq!(code("join", "a").await, None);
    assert_eq!(code("join", "b").await, None);
    assert_eq!(code("join", "c").await.as_deref(), Some("too_many_rooms"));

    // A bad file changes nothing, and is counted once.
    std::fs::write(server.config(), "rooms: [{ match: '{name}', join: 'no such(' }]\n").unwrap();
    until("it is refused", async || reloads(&server, "refused").await == 1.0).await;
    assert_eq!(server.metric("rookery_config_current").await, 0.0);
    assert_eq!(code("join", "secret").await.as_deref(), Some("forbidden"));
    server.logged("rooms[0].join").await;

    std::fs::write(server.config(), "rooms: [{ match: '{name}' }]\n").unwrap();
    until("the next good one counts", async || reloads(&server, "applied").await == 2.0).await;
    assert_eq!(server.metric("rookery_config_current").await, 1.0);
    until("the room is open again", async || {
        server.internal("/metrics").await;
        code("join", "secret").await.is_none()
    })
    .await;
    assert_eq!(reloads(&server, "refused").await, 1.0);
}

#[tokio::test]
async fn a_file_that_lost_its_rules_opens_no_room_and_the_word_open_does() {
    let _permit = shared_permit().await;
    let server = Rookery::start("rooms: [{ match: '{name}', join: 'false' }]\n").await;
    let mut member = Member::connect(&server).await;
    let mut code = async || {
        let (_, answer) = member.ask("join", json!({ "room": "secret" })).await;
        answer["error"]["code"].as_str().map(str::to_owned)
    };
    std::fs::write(server.config(), "").unwrap();
    until("the emptied file is refused", async || reloads(&server, "refused").await == 1.0).await;
    assert_eq!(code().await.as_deref(), Some("forbidden"));
    server.logged("write `rooms: open`").await;
    std::fs::write(server.config(), "rooms: open\n").unwrap();
    until("the rooms are open", async || {
        server.internal("/metrics").await;
        code().await.is_none()
    })
    .await;
    assert_eq!(reloads(&server, "applied").await, 1.0);
}
