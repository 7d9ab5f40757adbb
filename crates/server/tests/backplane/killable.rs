//! A [`Killable`] pod.

use super::pod::Pod;
use super::redis_server::RedisServer;

/// A pod of its own runtime, which can be killed without a farewell.
pub struct Killable {
    pub pod: Pod,
    runtime: tokio::runtime::Runtime,
}

impl Killable {
    pub async fn up(name: &str, redis: &RedisServer) -> Self {
        Self::start(|| Pod::at(name, &redis.url())).await
    }

    /// One that `start` gives.
    pub async fn start(start: impl FnOnce() -> Pod) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let pod = {
            let _inside = runtime.enter();
            start()
        };
        pod.is_up().await;
        Killable { pod, runtime }
    }

    /// As by SIGKILL.
    pub fn kill(self) {
        self.runtime.shutdown_background();
        std::mem::forget(self.pod);
    }
}
