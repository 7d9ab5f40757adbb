//! Many rooms, and a Redis that bounds what waits for a subscriber.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::pod::Pod;
use super::redis_server::RedisServer;
use super::until;

const ROOMS: usize = 50_000;

/// How many channels have subscribers; 0 where the server is too busy to say.
async fn channels(redis: &RedisServer) -> usize {
    let info = redis::cmd("INFO").arg("stats").to_owned();
    let info = info.query_async::<String>(&mut redis.connection().await).await.unwrap_or_default();
    let count = info.lines().find_map(|line| line.strip_prefix("pubsub_channels:"));
    count.map_or(0, |count| count.trim().parse().unwrap())
}

/// The confirmations of all rooms are 4 MB; Redis closes a connection for which 1 MB waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_rooms_come_back_with_redis_without_a_burst_that_it_drops() {
    let mut redis = RedisServer::stopped();
    redis.option("client-output-buffer-limit", "pubsub 1mb 512kb 1");
    redis.run().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let rooms: Vec<String> =
        (0..ROOMS).map(|n| format!("workspace-{n:08}:application-editor")).collect();
    let subscribed = rooms.iter().map(|room| b.subscribe(room));
    let _interests = futures_util::future::join_all(subscribed).await;
    until("all are subscribed", async || channels(&redis).await >= ROOMS).await;
    let reconnects = b.metrics.redis_reconnects.get();

    redis.kill();
    until("the loss is noticed", async || !b.backplane.is_up()).await;
    redis.run().await;
    let restarted = Instant::now();
    // Both connections.
    let is_back =
        async || b.metrics.redis_reconnects.get() >= reconnects + 2 && b.backplane.is_up();
    until("it is connected again", is_back).await;
    println!("{ROOMS} rooms were subscribed {:?} after the restart", restarted.elapsed());
    a.is_up().await;
    until("all are subscribed again", async || channels(&redis).await >= ROOMS).await;
    assert!(a.publish(&[&rooms[ROOMS - 1]], "crosses"));
    b.gets("crosses").await;
    // Once each: Redis closed neither.
    assert_eq!(b.metrics.redis_reconnects.get(), reconnects + 2);
    assert_eq!(b.metrics.redis_output_buffer_disconnections.get(), 0);
}

/// Stands before a Redis, as one that says how many clients it closed over their output buffers: Redis
/// 7.0 counts them nowhere.
struct TellingRedis {
    address: String,
    said: Arc<AtomicU64>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl TellingRedis {
    async fn before(redis: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (said, connections) = (Arc::new(AtomicU64::new(3)), Arc::new(Mutex::new(Vec::new())));
        let (to, answer, open) = (redis.address(), said.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&to).await.unwrap();
                let serving = tokio::spawn(serve(near, far, answer.clone()));
                open.lock().push(serving.abort_handle());
            }
        });
        TellingRedis { address, said, connections }
    }

    /// Closes all connections; `counted`: because their output buffers were full.
    fn close(&self, counted: bool) {
        self.said.fetch_add(u64::from(counted), Ordering::Relaxed);
        self.connections.lock().drain(..).for_each(|connection| connection.abort());
    }
}

/// Passes everything on but INFO, which it answers.
async fn serve(mut near: TcpStream, mut far: TcpStream, said: Arc<AtomicU64>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            Ok(n @ 1..) = near.read(&mut asked) => {
                if asked[..n].windows(8).any(|bytes| bytes == b"\r\nINFO\r\n") {
                    let said = said.load(Ordering::Relaxed);
                    let info = format!("run_id:a\r\nclient_output_buffer_limit_disconnections:{said}\r\n");
                    let answer = format!("${}\r\n{info}\r\n", info.len());
                    near.write_all(answer.as_bytes()).await.unwrap();
                } else if far.write_all(&asked[..n]).await.is_err() {
                    return;
                }
            }
            Ok(n @ 1..) = far.read(&mut answered) => {
                if near.write_all(&answered[..n]).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_redis_closed_over_its_output_buffer_is_counted() {
    let redis = RedisServer::start().await;
    let telling = TellingRedis::before(&redis).await;
    let b = Pod::at("pod-bbbb", &format!("redis://{}", telling.address));
    b.is_up().await;
    for (closes, is_full) in [false, true, false].into_iter().enumerate() {
        let before = b.metrics.redis_output_buffer_disconnections.get();
        telling.close(is_full);
        let reconnects = 2 * (closes as u64 + 1);
        let is_back =
            async || b.metrics.redis_reconnects.get() == reconnects && b.backplane.is_up();
        until("it is connected again", is_back).await;
        let counted = b.metrics.redis_output_buffer_disconnections.get() - before;
        assert_eq!(counted, u64::from(is_full), "{closes}");
    }
}

/// Redis 7.0 closes the connection and does not say why; or the user may not ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_reason_the_connection_is_made_again_all_the_same() {
    let redis = RedisServer::start().await;
    redis.order("ACL SETUSER rookery on nopass ~* &* +@all -info").await;
    let b = Pod::at("pod-bbbb", &format!("redis://rookery:x@{}", redis.address()));
    b.is_up().await;
    let _room = b.subscribe("room").await;
    let mut limited = redis::cmd("CONFIG");
    limited.arg("SET").arg("client-output-buffer-limit").arg("pubsub 1mb 0 0");
    limited.query_async::<()>(&mut redis.connection().await).await.unwrap();
    redis.publish("socket.io#/#room#", &vec![b'x'; 4 << 20]).await;
    let is_back = async || b.metrics.redis_reconnects.get() == 1 && b.backplane.is_up();
    until("it is connected again", is_back).await;
    assert_eq!(b.metrics.redis_output_buffer_disconnections.get(), 0);
}
