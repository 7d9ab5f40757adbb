//! A primary that is demoted behind an address that stays the same, as behind a Kubernetes Service.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use super::pod::Pod;
use super::redis_server::RedisServer;
use super::{know_each_other, until};

/// Forwards connections; new ones go to the server that is chosen last, and old ones stay.
struct Service {
    url: String,
    target: Arc<Mutex<String>>,
}

impl Service {
    async fn of(server: &RedisServer) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let target = Arc::new(Mutex::new(server.address()));
        let chosen = target.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let target = chosen.lock().clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Service { url, target }
    }

    fn choose(&self, server: &RedisServer) {
        *self.target.lock() = server.address();
    }
}

async fn follow(replica: &RedisServer, primary: &RedisServer) {
    let address = primary.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let command = redis::cmd("REPLICAOF").arg(host).arg(port).to_owned();
    command.query_async::<()>(&mut replica.connection().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_demoted_behind_its_address_is_left_for_the_new_one() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let service = Service::of(&old).await;
    // ROLE is not permitted.
    for server in [&old, &new] {
        let forbid = redis::cmd("ACL").arg("SETUSER").arg("default").arg("-role").to_owned();
        forbid.query_async::<()>(&mut server.connection().await).await.unwrap();
    }
    let a = Pod::at("pod-aaaa", &service.url);
    let b = Pod::at("pod-bbbb", &new.url());
    a.is_up().await;
    b.is_up().await;
    let _room = b.subscribe("room").await;

    service.choose(&new);
    follow(&old, &new).await;
    know_each_other(&[&a, &b]).await;
    a.is_up().await;
    assert!(a.publish(&["room"], "after"));
    b.gets("after").await;
    let back = a.subscribe("back").await;
    assert!(b.publish(&["back"], "answer"));
    a.gets("answer").await;
    drop(back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_not_published_to() {
    let (primary, replica) = (RedisServer::start().await, RedisServer::start().await);
    let a = Pod::up("pod-aaaa", &replica).await;
    follow(&replica, &primary).await;
    until("the demotion is noticed", async || !a.backplane.is_up()).await;
    until("publications are not taken", async || !a.publish(&["room"], "lost")).await;
    assert_eq!(a.metrics.redis_up.get(), 0);
    until("it says that it is a replica", async || a.backplane.is_replica()).await;
    let promote = redis::cmd("REPLICAOF").arg("NO").arg("ONE").to_owned();
    promote.query_async::<()>(&mut replica.connection().await).await.unwrap();
    a.is_up().await;
    assert!(a.publish(&["room"], "found") && !a.backplane.is_replica());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_two_primaries_are_noticed_by_heartbeats_that_do_not_come_back() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let service = Service::of(&old).await;
    let a = Pod::at("pod-aaaa", &service.url);
    a.is_up().await;
    until("it hears itself", async || a.backplane.hears_itself()).await;
    // The old primary does not know that it was replaced, and one of the connections stays there.
    service.choose(&new);
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
    kill.query_async::<()>(&mut old.connection().await).await.unwrap();
    until("both are at the new one", async || {
        new.channels().await.iter().any(|channel| channel == "socket.io-rookery#")
    })
    .await;
    a.is_up().await;
}
