//! API keys: their scopes, and what a change of their file does.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Rookery, shared_permit, until};
use crate::http::{Request, Response};

const ADMIN: &str = "admin-0123456789abcdef";
const SHOP: &str = "shop-0123456789abcdef";

fn config(keys: &Path) -> String {
    format!("auth: {{ anonymous: true, apiKeysFile: '{}' }}\n", keys.display())
}

async fn publish(server: &Rookery, key: &str, room: &str) -> Response {
    let body = json!({ "room": room, "event": "e" }).to_string();
    let request = Request::post("/api/publish", body)
        .header("content-type", "application/json")
        .header("authorization", &format!("Bearer {key}"));
    request.send(server.internal).await.unwrap()
}

#[tokio::test]
async fn a_key_does_what_its_line_says() {
    let _permit = shared_permit().await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let text = format!("# ours\nops:{ADMIN}\n\nshop: {SHOP}  publish rooms=orders:*\n");
    std::fs::write(&keys, text).unwrap();
    let server = Rookery::start(&config(&keys)).await;
    assert_eq!(publish(&server, ADMIN, "any").await.status, 200);
    assert_eq!(publish(&server, SHOP, "orders:7").await.status, 200);
    let refused = publish(&server, SHOP, "any").await;
    assert_eq!(refused.status, 403);
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((&problem["code"], &problem["field"]), (&"forbidden".into(), &"room".into()));
    let list = Request::get("/api/rooms").header("authorization", &format!("Bearer {SHOP}"));
    let refused = list.send(server.internal).await.unwrap();
    assert_eq!(refused.status, 403);
    assert!(String::from_utf8(refused.body).unwrap().contains("`members`"));
    assert!(!server.log().contains(SHOP));
}

#[tokio::test]
async fn an_emptied_file_revokes_all_keys_and_a_missing_one_none() {
    let _permit = shared_permit().await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let full = format!("ops:{ADMIN}\n");
    std::fs::write(&keys, &full).unwrap();
    let server = Rookery::start(&config(&keys)).await;
    let refused = "rookery_api_key_reloads_total{outcome=\"refused\"}";
    std::fs::remove_file(&keys).unwrap();
    until("the missing file counts", async || server.metric(refused).await == 1.0).await;
    assert_eq!(publish(&server, ADMIN, "r").await.status, 200);
    for empty in ["", "# all revoked\n\n"] {
        std::fs::write(&keys, empty).unwrap();
        until("no key is accepted", async || publish(&server, ADMIN, "r").await.status == 401)
            .await;
        std::fs::write(&keys, &full).unwrap();
        until("the key is back", async || publish(&server, ADMIN, "r").await.status == 200).await;
    }
    std::fs::write(&keys, "ops:too-short\n").unwrap();
    until("the short key counts", async || server.metric(refused).await == 2.0).await;
    assert_eq!(publish(&server, ADMIN, "r").await.status, 200);
}

#[test]
fn a_server_does_not_start_with_keys_that_protect_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, file) = (folder.path().join("keys"), folder.path().join("rookery.yaml"));
    std::fs::write(&file, config(&keys)).unwrap();
    for (text, told) in [
        ("", "holds no key"),
        ("# none\n", "holds no key"),
        ("ops:hunter2\n", ":1: the key is shorter than 16 bytes"),
        ("ops:hunter2-0123456789 publish room=a\n", ":1: a word after the key"),
    ] {
        std::fs::write(&keys, text).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_rookery"));
        serve.args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--config"]);
        let run = serve.arg(&file).output().unwrap();
        assert_eq!(run.status.code(), Some(2), "{text:?}");
        let said = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
        assert!(said.contains(told) && !said.contains("hunter2"), "{said}");
    }
}
