//! What the backend is told of rooms, on several pods.

mod backend;
mod churn;
mod faults;

use std::sync::Arc;
use std::time::Duration;

use rookery_config as config;
use rookery_policy::RoomHooks;
use rookery_server::backend::Backend;
use rookery_server::backplane::Tasks;
use rookery_server::broker::RoomHookParts;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Tracer;

use super::killable::Killable;
use super::pod::{Pod, QUEUE};
use super::redis_server::RedisServer;
use super::{documented_rights, know_each_other, until};
use backend::TestBackend;

/// `backend.vacatedDelay`.
const VACATED_DELAY: Duration = Duration::from_millis(500);

/// How a pod tells this backend of every room but those that begin with `quiet`.
pub fn of_pod(backend: &config::Backend, metrics: &Arc<Metrics>, tasks: &Tasks) -> RoomHookParts {
    let called = Backend::new(backend, true, metrics, Tracer::off()).unwrap();
    tasks.tracker.spawn_on(called.clone().run(tasks.shutdown.clone()), &tasks.runtime);
    let hooks_of = |room: &str| match room.starts_with("quiet") {
        true => RoomHooks::default(),
        false => RoomHooks::ALL,
    };
    RoomHookParts {
        backend: called,
        hooks_of: Arc::new(hooks_of),
        vacated_delay: backend.vacated_delay.0,
    }
}

/// A pod that tells this backend.
fn telling(name: &str, url: &str, backend: &TestBackend) -> Pod {
    of(name, config::Redis::at(url.to_owned()), backend)
}

/// The same, with this configuration of Redis.
fn of(name: &str, redis: config::Redis, backend: &TestBackend) -> Pod {
    Pod::with_backend(name, redis, (Duration::from_secs(30), QUEUE), Some(&backend.config()))
}

/// The same, connected.
async fn up(name: &str, redis: &RedisServer, backend: &TestBackend) -> Pod {
    let pod = telling(name, &redis.url(), backend);
    pod.is_up().await;
    pod
}

/// The same, which can be killed.
async fn killable(name: &str, redis: &RedisServer, backend: &TestBackend) -> Killable {
    Killable::start(|| telling(name, &redis.url(), backend)).await
}

/// Waits until Redis has nothing of rooms but what expires soon: the versions of those that are over.
async fn nothing_is_left(redis: &RedisServer) {
    until("nothing of rooms is left in Redis", async || {
        let mut connection = redis.connection().await;
        let keys = redis::cmd("KEYS").arg("*:hooks:*").to_owned();
        let keys: Vec<String> = keys.query_async(&mut connection).await.unwrap();
        let mut left = 0;
        for key in keys.iter().filter(|key| !key.ends_with(":pods")) {
            let length = redis::cmd("HLEN").arg(key).to_owned();
            let length = length.query_async::<usize>(&mut connection).await;
            left += usize::from(length != Ok(1));
        }
        left == 0
    })
    .await;
}
