//! An id that others see opens no session, in no phase of its transport.

use serde_json::{Value, json};

use crate::client::Poller;
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;
use crate::websocket::WebSocket;

/// The ids that the API lists of a room.
async fn listed(server: &Rookery, room: &str) -> Vec<String> {
    let answer = server.internal(&format!("/api/rooms/{room}")).await.json();
    let members = answer["members"].as_array().unwrap().iter();
    members.map(|member| member["id"].as_str().unwrap().to_owned()).collect()
}

/// What a stranger tries who knows an id: to hear, to speak, to close, to take the session over.
async fn assert_closed_to_strangers(server: &Rookery, id: &str) {
    for eio in [3, 4] {
        let target = |transport| format!("/socket.io/?EIO={eio}&transport={transport}&sid={id}");
        let get = Request::get(&target("polling")).send(server.clients).await.unwrap();
        assert_eq!(get.status, 400, "{}", get.text());
        for body in ["1", "1:1", r#"42["join",{"room":"x"}]"#, "2probe"] {
            let post = Request::post(&target("polling"), body).send(server.clients).await.unwrap();
            assert_eq!(post.status, 400, "{}", post.text());
        }
        let refused = WebSocket::open(server.clients, &target("websocket")).await.err();
        assert_eq!(refused.expect("no WebSocket opens").status, 400);
    }
}

async fn assert_heard(server: &Rookery, id: &str, event: &str, socket: &mut WebSocket) {
    assert_eq!(server.publish(id, event, json!(1)).await, 1, "{id} addresses one member");
    let mut text = socket.text().await;
    while text == "2" || text == "3" {
        text = socket.text().await;
    }
    assert_eq!(text, format!("42[\"{event}\",1]"));
}

#[tokio::test]
async fn the_public_id_of_a_polling_session_opens_nothing_before_during_and_after_its_upgrade() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [3, 4] {
        let poller = Poller::connect(&server, eio).await;
        poller.join("r").await;
        let [public] = listed(&server, "r").await.try_into().unwrap();
        assert_ne!(public, poller.sid);
        assert_closed_to_strangers(&server, &public).await;
        server.publish(&public, "polled", json!(1)).await;
        assert_eq!(poller.events().await, [("polled".to_owned(), json!(1))]);
        if eio == 3 {
            assert_eq!(server.publish(&poller.sid, "by sid", json!(1)).await, 1);
            assert_eq!(poller.events().await, [("by sid".to_owned(), json!(1))]);
        }

        let mut socket = poller.upgrade().await.unwrap();
        assert_eq!(listed(&server, "r").await, [&*public]);
        assert_closed_to_strangers(&server, &public).await;
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe");
        assert_eq!(listed(&server, "r").await, [&*public]);
        assert_closed_to_strangers(&server, &public).await;
        socket.send("5").await;

        let shown = if eio == 3 { &poller.sid } else { &public };
        until("it has moved", async || {
            server.metric("rookery_connections{transport=\"websocket\"}").await == 1.0
        })
        .await;
        assert_eq!(listed(&server, "r").await, [&**shown]);
        for id in [&public, &poller.sid] {
            assert_closed_to_strangers(&server, id).await;
        }
        assert_heard(&server, &public, "upgraded", &mut socket).await;
        assert_heard(&server, shown, "again", &mut socket).await;
        drop(socket);
        until("it is gone", async || server.connections().await == 0.0).await;
    }
}

#[tokio::test]
async fn the_id_of_a_session_that_starts_with_a_websocket_opens_nothing_and_is_public_in_revision_3()
 {
    let _permit = shared_permit().await;
    let server = Rookery::start("namespaces: [/, /admin]\n").await;
    for eio in [3, 4] {
        let target = format!("/socket.io/?EIO={eio}&transport=websocket");
        let mut socket = WebSocket::open(server.clients, &target).await.unwrap();
        let open = socket.text().await;
        let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let sid = open["sid"].as_str().unwrap();
        if eio == 4 {
            socket.send("40").await;
        }
        assert!(socket.text().await.starts_with("40"));
        socket.send(r#"421["join",{"room":"r"}]"#).await;
        assert!(socket.text().await.starts_with("431["));
        let [public] = listed(&server, "r").await.try_into().unwrap();
        assert_eq!(public == sid, eio == 3);
        for id in [&*public, sid] {
            assert_closed_to_strangers(&server, id).await;
        }
        assert_heard(&server, &public, "e", &mut socket).await;
        drop(socket);
        until("it is gone", async || server.connections().await == 0.0).await;
    }
}
