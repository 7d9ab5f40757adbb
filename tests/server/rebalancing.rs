//! Instances with more sessions than others give some away; every client is moved once at most.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::{Rookery, exclusive_permit, until};
use crate::http::Response;
use crate::redis::Redis;
use crate::websocket::{Frame, WebSocket, handshake};

const CLIENTS: usize = 400;

const CONFIG: &str = "drain: { lead: 1s, window: 2s, stickyCookie: pin }\n\
                      rebalance: { threshold: 20%, rate: 50/s, after: 2s }\n";

async fn server(redis: &Redis) -> Rookery {
    let config = format!("redis: {{ url: \"{}\" }}\n{CONFIG}", redis.url());
    let server = Rookery::start_with(&config, &[("ROOKERY_REVISION", "chat/web/a")]).await;
    until("it is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
    server
}

/// An ingress that chooses at random, and keeps clients with its cookie at one instance.
#[derive(Clone, Default)]
struct Ingress(Arc<Mutex<Vec<SocketAddr>>>);

impl Ingress {
    fn choose(&self, pin: Option<usize>) -> (usize, SocketAddr) {
        let instances = self.0.lock().unwrap();
        let random = RandomState::new().hash_one(0) as usize;
        let chosen = pin.unwrap_or(random % instances.len());
        (chosen, instances[chosen])
    }
}

#[derive(Default)]
struct Counts {
    connects: AtomicUsize,
    /// The most that one client connected.
    most: AtomicUsize,
    refusals: AtomicUsize,
}

/// A client with a cookie jar that stays connected.
async fn client(ingress: Ingress, counts: Arc<Counts>) {
    let (mut pin, mut connects) = (None, 0);
    loop {
        let (chosen, address) = ingress.choose(pin);
        let mut request = handshake("/socket.io/?EIO=4&transport=websocket");
        if let Some(pin) = pin {
            request = request.header("cookie", &format!("a=b; pin={pin}"));
        }
        match WebSocket::request(address, &request).await {
            Ok(mut socket) => {
                pin = Some(chosen);
                connects += 1;
                socket.send("40").await;
                counts.connects.fetch_add(1, Ordering::Relaxed);
                counts.most.fetch_max(connects, Ordering::Relaxed);
                while let Some(frame) = socket.next().await {
                    match frame {
                        Frame::Text(text) if text == "2" => socket.send("3").await,
                        Frame::Close => break,
                        _ => {}
                    }
                }
            }
            Err(refused) => {
                assert_eq!(refused.status, 503, "{}", refused.text());
                assert!(is_unpinned(&refused), "{refused:?}");
                counts.refusals.fetch_add(1, Ordering::Relaxed);
                pin = None;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_unpinned(refused: &Response) -> bool {
    refused.header("set-cookie").is_some_and(|cookie| cookie.starts_with("pin=; Path=/; Max-Age=0"))
}

async fn connections(servers: &[Rookery]) -> Vec<f64> {
    let mut all = Vec::new();
    for server in servers {
        all.push(server.connections().await);
    }
    all
}

#[tokio::test]
async fn two_full_instances_share_their_clients_with_two_new_ones() {
    let _permit = exclusive_permit().await;
    let redis = Redis::start().await;
    let (ingress, counts) = (Ingress::default(), Arc::new(Counts::default()));
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(server(&redis).await);
        ingress.0.lock().unwrap().push(servers.last().unwrap().clients);
    }
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(ingress.clone(), counts.clone()));
    }
    let total = async |servers: &[Rookery]| connections(servers).await.iter().sum::<f64>();
    until("all are connected", async || total(&servers).await == CLIENTS as f64).await;
    assert_eq!(counts.connects.load(Ordering::Relaxed), CLIENTS);

    for _ in 0..2 {
        servers.push(server(&redis).await);
        ingress.0.lock().unwrap().push(servers.last().unwrap().clients);
    }
    until("the first ones are seen to be full", async || {
        servers[0].metric("rookery_imbalance_ratio").await > 1.5
    })
    .await;
    let finished = |server: &Rookery| server.log().contains("finished rebalancing");
    until("both gave clients away", async || servers[..2].iter().all(finished)).await;
    until("all are back", async || total(&servers).await == CLIENTS as f64).await;

    let all = connections(&servers).await;
    assert!(all.iter().all(|n| (70.0..=130.0).contains(n)), "{all:?}");
    assert!(counts.most.load(Ordering::Relaxed) <= 2, "a client was moved twice");
    let mut moved = 0.0;
    for (i, server) in servers.iter().enumerate() {
        let closed = server.disconnects("rebalance").await;
        assert!(i < 2 || closed == 0.0, "only the full ones close sessions");
        moved += closed;
    }
    assert_eq!(moved, (counts.connects.load(Ordering::Relaxed) - CLIENTS) as f64);
    let refused = counts.refusals.load(Ordering::Relaxed);
    assert!(refused as f64 <= 3.0 * moved, "{refused} refusals of {moved} clients");
    clients.abort_all();
}
