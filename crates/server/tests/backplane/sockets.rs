//! Redis at a Unix socket.

use super::pod::Pod;
use super::redis_server::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_over_a_unix_socket_hear_each_other_and_those_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let mut redis = RedisServer::at_socket(&socket).await;
    let url = |scheme: &str| format!("{scheme}://{}", socket.display());
    let pods = [
        Pod::at("pod-aaaa", &url("unix")),
        Pod::at("pod-bbbb", &url("redis+unix")),
        Pod::at("pod-cccc", &redis.url()),
    ];
    for event in ["first", "after a restart"] {
        for pod in &pods {
            pod.is_up().await;
        }
        let _rooms = (pods[1].subscribe("room").await, pods[2].subscribe("room").await);
        assert!(pods[0].publish(&["room"], event));
        pods[1].gets(event).await;
        pods[2].gets(event).await;
        if event == "first" {
            redis.kill();
            super::until("the loss is noticed", async || {
                pods.iter().all(|pod| !pod.backplane.is_up())
            })
            .await;
            redis.run().await;
        }
    }
}
