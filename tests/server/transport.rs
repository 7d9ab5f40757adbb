//! The upgrade from polling to a WebSocket (Engine.IO protocol, "Upgrade").

use serde_json::json;

use crate::client::{Member, Poller, parse_event};
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;
use crate::websocket::{Frame, WebSocket};

#[tokio::test]
async fn an_upgrade_keeps_the_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [4, 3] {
        let poller = Poller::connect(&server, eio).await;
        poller.join("r").await;
        let mut socket = poller.upgrade().await.unwrap();
        // From the probe on, GETs are answered soon.
        let (noop, ()) = tokio::join!(poller.packets(), async {
            socket.send("2probe").await;
            assert_eq!(socket.text().await, "3probe");
        });
        assert_eq!(noop, ["6"]);
        assert_eq!(poller.packets().await, ["6"]);
        // What is published before the client's `5` and not fetched comes after it.
        server.publish("r", "e", json!(0)).await;
        assert_eq!(poller.events().await, [("e".to_owned(), json!(0))]);
        server.publish("r", "e", json!(1)).await;
        socket.send("5").await;
        assert_eq!(socket.text().await, "42[\"e\",1]");
        server.publish("r", "e", json!(2)).await;
        assert_eq!(socket.text().await, "42[\"e\",2]");

        // Polling is over for this session, and so is another WebSocket.
        assert_eq!(poller.get().await.status, 400);
        assert_eq!(poller.post("3").await.status, 400);
        let refused = poller.upgrade().await.err().unwrap();
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!(3)));
        assert_eq!(server.metric("rookery_connections{transport=\"websocket\"}").await, 1.0);
        assert_eq!(server.metric("rookery_connections{transport=\"polling\"}").await, 0.0);
        // The session is alive.
        server.publish("r", "e", json!(3)).await;
        assert_eq!(socket.text().await, "42[\"e\",3]");
        drop(socket);
        until("the session is gone", async || server.connections().await == 0.0).await;
    }
}

#[tokio::test]
async fn packets_sent_right_after_the_upgrade_packet_are_not_lost() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    let mut socket = poller.upgrade().await.unwrap();
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    let mut burst = crate::websocket::frame(0x81, b"5");
    for n in 0..5 {
        let ask = format!("42{n}[\"join\",{{\"room\":\"r{n}\"}}]");
        burst.extend(crate::websocket::frame(0x81, ask.as_bytes()));
    }
    socket.write(&burst).await.unwrap();
    for n in 0..5 {
        assert!(socket.text().await.starts_with(&format!("43{n}[")));
    }
}

#[tokio::test]
async fn a_whole_probe_in_one_write_succeeds() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    let mut socket = poller.upgrade().await.unwrap();
    let burst: Vec<u8> = ["2probe", "5", r#"421["join",{"room":"r"}]"#]
        .iter()
        .flat_map(|text| crate::websocket::frame(0x81, text.as_bytes()))
        .collect();
    socket.write(&burst).await.unwrap();
    assert_eq!(socket.text().await, "3probe");
    assert!(socket.text().await.starts_with("431["));
}

#[tokio::test]
async fn only_one_upgrade_is_probed_at_a_time() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    let first = poller.upgrade().await.unwrap();
    assert_eq!(poller.upgrade().await.err().unwrap().status, 400);
    drop(first);
    until("another may be tried", async || match poller.upgrade().await {
        Ok(mut socket) => {
            socket.send("2probe").await;
            socket.next().await == Some(Frame::Text("3probe".into()))
        }
        Err(_) => false,
    })
    .await;
}

#[tokio::test]
async fn a_client_may_upgrade_without_a_probe() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [4, 3] {
        // As socket.io-client-csharp does: it connects after the upgrade only.
        let poller = Poller::open(&server, eio).await;
        let mut socket = poller.upgrade().await.unwrap();
        let packets = ["5", "40", r#"421["join",{"room":"r"}]"#];
        // Revision 3 has no CONNECT of the namespace `/`.
        let packets = packets.iter().filter(|packet| eio == 4 || **packet != "40");
        let frames = packets.flat_map(|text| crate::websocket::frame(0x81, text.as_bytes()));
        socket.write(&frames.collect::<Vec<u8>>()).await.unwrap();
        assert!(socket.text().await.starts_with("40"));
        assert!(socket.text().await.starts_with("431["));
        server.publish("r", "e", json!(1)).await;
        assert_eq!(socket.text().await, "42[\"e\",1]");
        drop(socket);
        until("the session is gone", async || server.connections().await == 0.0).await;
    }
}

#[tokio::test]
async fn a_client_may_probe_again() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("r").await;
    let mut socket = poller.upgrade().await.unwrap();
    for _ in 0..2 {
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe");
    }
    socket.send("5").await;
    server.publish("r", "e", json!(1)).await;
    assert_eq!(socket.text().await, "42[\"e\",1]");
}

#[tokio::test]
async fn an_invalid_probe_is_closed_and_polling_continues() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    for wrong in ["2", "3probe", "6", "40", "2probe2", "bAQID"] {
        let mut socket = loop {
            // The try before may be closing still.
            match poller.upgrade().await {
                Ok(socket) => break socket,
                Err(refused) => assert_eq!(refused.status, 400),
            }
        };
        socket.send(wrong).await;
        assert_eq!(socket.closed().await, [Frame::Close], "{wrong}");
        assert_eq!(socket.close, Some(1000u16.to_be_bytes().to_vec()), "{wrong}");
    }
    assert_eq!(server.rejected("upgrade").await, 6.0);
    poller.join("r").await;
    server.publish("r", "e", json!(1)).await;
    assert_eq!(poller.events().await, [("e".to_owned(), json!(1))]);
}

/// Node's server counts nothing, so this is what an operator sees of it.
#[tokio::test]
async fn a_cut_upgrade_is_counted_and_logged_and_polling_continues() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [4, 3] {
        let poller = Poller::connect(&server, eio).await;
        let before = server.rejected("upgrade").await;
        for (cut, packets) in [(1.0, &[][..]), (2.0, &["2probe"]), (3.0, &["2probe", "2probe"])] {
            let mut socket = loop {
                match poller.upgrade().await {
                    Ok(socket) => break socket,
                    Err(refused) => assert_eq!(refused.status, 400),
                }
            };
            for packet in packets {
                socket.send(packet).await;
                assert_eq!(socket.text().await, "3probe");
            }
            drop(socket);
            let counted = async || server.rejected("upgrade").await == before + cut;
            until("it is counted", counted).await;
        }
        poller.join("r").await;
        server.publish("r", "e", json!(1)).await;
        assert_eq!(poller.events().await, [("e".to_owned(), json!(1))]);
        poller.send("1").await;
        until("it has left", async || server.connections().await == 0.0).await;
    }
    until("it is logged", async || server.log().contains("the connection broke before an upgrade"))
        .await;
}

#[tokio::test]
async fn a_poll_is_answered_with_at_most_16_packets() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [4, 3] {
        let poller = Poller::connect(&server, eio).await;
        poller.join("r").await;
        for n in 0..50 {
            server.publish("r", "n", json!(n)).await;
        }
        let mut heard = Vec::new();
        while heard.len() < 50 {
            let packets = poller.packets().await;
            assert!(packets.len() <= 16, "{} packets", packets.len());
            heard.extend(packets.iter().filter_map(|packet| parse_event(packet)));
        }
        let expected: Vec<_> = (0..50).map(|n| ("n".to_owned(), json!(n))).collect();
        assert_eq!(heard, expected);
        poller.send("1").await;
        until("it has left", async || server.connections().await == 0.0).await;
    }
}

#[tokio::test]
async fn transports_can_be_restricted() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { transports: [websocket] }\n").await;
    let polling = "/socket.io/?EIO=4&transport=polling";
    let answer = Request::get(polling).send(server.clients).await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(0)));
    Member::connect(&server).await;

    let server = Rookery::start("socketio: { transports: [polling] }\n").await;
    let poller = Poller::connect(&server, 4).await;
    assert_eq!(poller.open["upgrades"], json!([]));
    assert_eq!(poller.upgrade().await.err().unwrap().json()["code"], json!(0));
    let fresh = WebSocket::open(server.clients, "/socket.io/?EIO=4&transport=websocket").await;
    assert_eq!(fresh.err().unwrap().json()["code"], json!(0));
}
