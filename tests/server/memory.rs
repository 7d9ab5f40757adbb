//! `limits.memory`: the process refuses new clients, then sheds the largest queues, before the
//! system kills it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::client::Member;
use crate::harness::{Rookery, exclusive_permit, shared_permit, until};
use crate::http::Request;
use crate::websocket::{WebSocket, frame};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

#[tokio::test]
async fn above_the_limit_new_clients_are_sent_elsewhere_and_others_stay() {
    let _permit = shared_permit().await;
    let sticky = "drain: { stickyCookie: route }\n";
    let server = Rookery::start(&format!("{sticky}limits: {{ memory: 8GiB }}\n")).await;
    assert_eq!(server.metric("rookery_memory_limit_bytes").await, f64::from(1 << 30) * 8.0);
    until("a sample was taken", async || server.metric("rookery_memory_bytes").await > 0.0).await;
    let mut member = Member::connect(&server).await;
    member.join("room").await;

    fs::write(server.config(), format!("{sticky}limits: {{ memory: 1MiB }}\n")).unwrap();
    let ready = async || server.internal("/readyz").await;
    until("it is told", async || ready().await.text().contains("new clients are refused")).await;
    let answer = ready().await;
    assert_eq!(answer.status, 200, "its clients must stay");
    assert!(answer.text().starts_with("ready\nmemory: "), "{}", answer.text());
    let answer = Request::get(POLLING).send(server.clients).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert!(answer.header("set-cookie").unwrap().starts_with("route=;"));
    assert!(WebSocket::open(server.clients, WEBSOCKET).await.is_err());
    assert_eq!(server.rejected("memory").await, 2.0);
    server.publish("room", "event", json!(1)).await;
    assert_eq!(member.event().await.1, json!(1));
    assert_eq!(server.disconnects("memory").await, 0.0);

    fs::write(server.config(), format!("{sticky}limits: {{ memory: 8GiB }}\n")).unwrap();
    until("new clients are let in", async || {
        Request::get(POLLING).send(server.clients).await.unwrap().status == 200
    })
    .await;
    assert_eq!(ready().await.text(), "ready\n");
}

#[tokio::test]
async fn above_the_second_mark_the_largest_queues_go_first() {
    let _permit = shared_permit().await;
    let limits =
        |memory: &str| format!("limits: {{ queue: 64MiB, writeStall: 10m, memory: {memory} }}\n");
    let server = Rookery::start(&limits("8GiB")).await;
    let mut healthy = Member::connect(&server).await;
    healthy.join("room").await;
    let mut stalled = Member::connect(&server).await;
    stalled.join("flood").await;
    let text = "x".repeat(256 << 10);
    until("much waits for the stalled client", async || {
        server.publish("flood", "event", json!(text)).await;
        server.metric("rookery_outbox_bytes").await > f64::from(4 << 20)
    })
    .await;
    fs::write(server.config(), limits("1MiB")).unwrap();
    until("the stalled client is gone", async || server.connections().await == 1.0).await;
    assert_eq!(server.disconnects("memory").await, 1.0);
    assert!(server.deliveries("gone").await > 0.0, "what it missed is counted");
    server.publish("room", "event", json!(1)).await;
    assert_eq!(healthy.event().await.1, json!(1));
}

/// A memory cgroup of its own, removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` where this process may not make one.
    fn with_limit(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let parents = own.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            match controllers {
                "" => Some((Path::new("/sys/fs/cgroup").join(path), "memory.max")),
                "memory" => {
                    let folder = Path::new("/sys/fs/cgroup/memory").join(path);
                    Some((folder, "memory.limit_in_bytes"))
                }
                _ => None,
            }
        });
        parents.into_iter().find_map(|(parent, file)| {
            let made = Cgroup(parent.join(format!("rookery-test-{}-{bytes}", std::process::id())));
            fs::create_dir(&made.0).ok()?;
            // Opening must not create the file: then it would be no cgroup.
            let limit = fs::OpenOptions::new().write(true).open(made.0.join(file));
            std::io::Write::write_all(&mut limit.ok()?, bytes.to_string().as_bytes()).ok()?;
            Some(made)
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn a_swarm_does_not_get_a_server_killed_whose_container_is_small() {
    let _permit = exclusive_permit().await;
    const LIMIT: u64 = 160 << 20;
    let Some(cgroup) = Cgroup::with_limit(LIMIT) else {
        eprintln!("skipped: this process may not make a memory cgroup");
        return;
    };
    let config = "limits: { queue: 64MiB, writeStall: 10m, connectRate: 100000/s }\n";
    let mut server = Rookery::start_in(&cgroup.0, config).await;
    let limit = server.metric("rookery_memory_limit_bytes").await;
    assert_eq!(limit, (LIMIT / 100 * 80) as f64);
    assert_eq!(server.metric("rookery_connections_limit").await, (limit / 32_768.0).floor());
    let mut healthy = Member::connect(&server).await;
    healthy.join("quiet").await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut member = Member::connect(&server).await;
        member.join("flood").await;
        stalled.push(member);
    }
    // Sessions that nobody uses, and queues that nobody reads, until each is refused.
    let mut heard = 0;
    let text = "x".repeat(512 << 10);
    until("queues were shed", async || {
        for _ in 0..50 {
            let _ = Request::get(POLLING).send(server.clients).await.unwrap();
        }
        server.publish("flood", "event", json!(text)).await;
        server.publish("quiet", "event", json!(heard)).await;
        assert_eq!(healthy.event().await.1, json!(heard), "members hear everything");
        heard += 1;
        server.disconnects("memory").await > 0.0
    })
    .await;
    until("new clients were refused", async || {
        let _ = Request::get(POLLING).send(server.clients).await.unwrap();
        server.rejected("memory").await + server.rejected("connections").await > 0.0
    })
    .await;
    assert!(!server.has_ended());
    drop(server);
    drop(cgroup);
}

#[tokio::test]
async fn a_swarm_whose_messages_never_end_does_not_get_a_server_killed() {
    let _permit = exclusive_permit().await;
    let Some(cgroup) = Cgroup::with_limit(192 << 20) else {
        eprintln!("skipped: this process may not make a memory cgroup");
        return;
    };
    let mut server = Rookery::start_in(&cgroup.0, "limits: { connectRate: 100000/s }\n").await;
    let mut healthy = Member::connect(&server).await;
    healthy.join("quiet").await;
    let mut message = frame(0x81, &[b'x'; 1 << 20]);
    message.truncate(1_000_000);
    let mut hostile = Vec::new();
    for n in 0..300 {
        let Ok(mut socket) = WebSocket::open(server.clients, WEBSOCKET).await else { continue };
        let _ = socket.write(&message).await;
        hostile.push(socket);
        if n % 10 == 0 {
            server.publish("quiet", "event", json!(n)).await;
            assert_eq!(healthy.event().await.1, json!(n), "members hear everything");
        }
    }
    assert!(hostile.len() > 200, "{}", hostile.len());
    until("some were refused", async || server.rejected("bodies").await > 100.0).await;
    assert!(!server.has_ended());
    drop(server);
    drop(cgroup);
}
