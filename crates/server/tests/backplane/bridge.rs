//! Plain JSON on a bridged channel.

use rookery_protocol::Data;
use rookery_server::message::Source;

use super::pod::Pod;
use super::redis_server::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bridge_reaches_every_pod() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let mut redis = redis.connection().await;
    for message in ["{", r#"{"no": 1}"#, r#"{"room": "r", "bin": {"$binary": "AQ=="}}"#] {
        let publish = redis::cmd("PUBLISH").arg("bridge").arg(message).to_owned();
        publish.query_async::<()>(&mut redis).await.unwrap();
    }
    for pod in [&a, &b] {
        pod.gets("bridged").await;
        let delivered = pod.received();
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].source, Source::Bridge);
        assert_eq!(delivered[0].args[0].get("bin"), Some(&Data::Binary(vec![1].into())));
        assert_eq!(pod.metrics.redis_dropped.get(), 2);
    }
}
