//! `X-Forwarded-For` in the forms that proxies write, and `trustedProxies`.

use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// The status of a handshake that a proxy forwards with these headers.
async fn handshake(server: &Rookery, forwarded: &[&str]) -> u16 {
    let request = forwarded
        .iter()
        .fold(Request::get(POLLING), |request, value| request.header("x-forwarded-for", value));
    request.send(server.clients).await.unwrap().status
}

#[tokio::test]
async fn one_client_is_counted_once_however_its_address_is_written() {
    let _permit = shared_permit().await;
    let limits = "limits: { perIp: { connections: 1 } }\n";
    for networks in ["127.0.0.0/8", "'::ffff:127.0.0.0/104'"] {
        let server = Rookery::start(&format!("trustedProxies: [{networks}]\n{limits}")).await;
        assert_eq!(handshake(&server, &["9.9.9.9:4711"]).await, 200);
        for again in [
            &["9.9.9.9"][..],
            &["\"9.9.9.9:80\""],
            &["::ffff:9.9.9.9"],
            &["\"[::ffff:9.9.9.9]:80\", 127.0.0.3:90"],
            &["7.7.7.7", "9.9.9.9", "[::ffff:127.0.0.2]:1"],
            &["9.9.9.9, , ", ","],
        ] {
            assert_eq!(handshake(&server, again).await, 503, "{networks} {again:?}");
        }
        assert_eq!(handshake(&server, &["[2001:db8::1]:443"]).await, 200);
        assert_eq!(handshake(&server, &["2001:db8::1"]).await, 503);
        assert_eq!(server.metric("rookery_forwarded_unreadable_total").await, 0.0);
    }
}

#[tokio::test]
async fn what_is_not_an_address_is_logged_and_counted() {
    let _permit = shared_permit().await;
    let server = Rookery::start("trustedProxies: [127.0.0.0/8]\n").await;
    for forwarded in ["unknown", "9.9.9.9, _hidden", "9.9.9.9, unknown, 127.0.0.2"] {
        assert_eq!(handshake(&server, &[forwarded]).await, 200, "{forwarded}");
    }
    assert_eq!(handshake(&server, &["unknown, 9.9.9.9"]).await, 200);
    assert_eq!(server.metric("rookery_forwarded_unreadable_total").await, 3.0);
    until("it is logged", async || server.log().contains("X-Forwarded-For")).await;
    assert!(!server.log().contains("_hidden"), "what a client may have sent is not logged");
}
