//! The ids of every instance, in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tracing::debug;

use super::memory::{Memory, MemoryClaim};
use super::{Begin, Claim, IdempotencyStore, KEPT, PATIENCE};
use crate::api::publish::PublishAnswer;

/// How long a claim lives in Redis when its instance is killed before the answer.
const CLAIM_TTL: Duration = Duration::from_secs(10);

/// How long one command may take. After it, Redis counts as away.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// The waits between two looks at another instance's claim double from the first to the last.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// What a key holds until its answer: this and the claim's own token.
const OPEN: &str = "open:";

/// Deletes the key only while it still holds this claim: it may have expired, and be another's.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// What ends the namespace within a key, and what stands for it there.
const IN_NAMESPACE: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// Gives the connection while there is one; connecting is its owner's matter.
pub type Connection = Arc<dyn Fn() -> Option<MultiplexedConnection> + Send + Sync>;

/// Keeps claims and answers in Redis, so that they hold on every instance, and in memory, so
/// that they hold on this one while Redis is away. Cloning is shallow.
#[derive(Clone)]
pub struct RedisStore {
    connection: Connection,
    prefix: Arc<str>,
    memory: Memory,
}

enum Remote {
    Mine,
    Answered(PublishAnswer),
    Busy,
    Away,
}

impl RedisStore {
    /// Keys are `<prefix>:rookery:idem:<namespace>:<id>`.
    pub fn new(connection: Connection, prefix: &str, memory: Memory) -> Self {
        RedisStore { connection, prefix: prefix.into(), memory }
    }

    fn key(&self, namespace: &str, id: &str) -> String {
        let namespace = utf8_percent_encode(namespace, IN_NAMESPACE);
        format!("{}:rookery:idem:{namespace}:{id}", self.prefix)
    }

    async fn claim(&self, key: &str, open: &str, deadline: Instant) -> Remote {
        let mut wait = LOOK_AGAIN.0;
        loop {
            let ttl = CLAIM_TTL.as_millis() as u64;
            let claim = redis::cmd("SET").arg(key).arg(open).arg("NX").arg("PX").arg(ttl).take();
            match self.run::<Option<String>>(claim).await {
                None => return Remote::Away,
                Some(Some(_)) => return Remote::Mine,
                Some(None) => {}
            }
            let held: Option<String> = match self.run(redis::cmd("GET").arg(key).take()).await {
                None => return Remote::Away,
                Some(held) => held,
            };
            match held {
                // It ended between the two commands.
                None => continue,
                Some(value) if value.starts_with(OPEN) => {}
                Some(value) => {
                    return serde_json::from_str(&value).map_or_else(
                        |error| {
                            debug!(%error, id = key, "what Redis has for an id is no answer");
                            Remote::Away
                        },
                        Remote::Answered,
                    );
                }
            }
            if Instant::now() + wait > deadline {
                return Remote::Busy;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK_AGAIN.1);
        }
    }

    /// The command's answer; none when Redis is away, which its link logs and counts.
    async fn run<T: FromRedisValue>(&self, command: Cmd) -> Option<T> {
        let mut connection = (self.connection)()?;
        match tokio::time::timeout(COMMAND_TIMEOUT, command.query_async(&mut connection)).await {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                debug!(%error, "cannot ask Redis for an id");
                None
            }
            Err(_) => {
                debug!("Redis does not answer about an id in time");
                None
            }
        }
    }
}

impl IdempotencyStore for RedisStore {
    fn begin(&self, namespace: Arc<str>, id: Arc<str>) -> BoxFuture<'_, Begin> {
        async move {
            let deadline = Instant::now() + PATIENCE;
            let key = self.key(&namespace, &id);
            // First on this instance: repeats here wait without asking Redis.
            let local = match self.memory.claim(namespace, id, deadline).await {
                Ok(claim) => claim,
                Err(Some(answer)) => return Begin::Repeat(answer),
                Err(None) => return Begin::Busy,
            };
            let open = format!("{OPEN}{}", token());
            match self.claim(&key, &open, deadline).await {
                Remote::Mine | Remote::Away => {
                    Begin::First(Box::new(RedisClaim { store: self.clone(), key, open, local }))
                }
                Remote::Answered(answer) => Begin::Repeat(answer),
                Remote::Busy => Begin::Busy,
            }
        }
        .boxed()
    }
}

struct RedisClaim {
    store: RedisStore,
    key: String,
    open: String,
    local: MemoryClaim,
}

impl Claim for RedisClaim {
    fn complete(self: Box<Self>, answer: PublishAnswer) -> BoxFuture<'static, ()> {
        async move {
            let json = serde_json::to_string(&answer).expect("an answer has only text and numbers");
            let kept = KEPT.as_millis() as u64;
            let set = redis::cmd("SET").arg(&self.key).arg(json).arg("PX").arg(kept).take();
            // Where this fails, repeats on this instance still find the answer.
            let _: Option<()> = self.store.run(set).await;
            self.local.answer(answer);
        }
        .boxed()
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            let mut release = redis::cmd("EVAL");
            release.arg(RELEASE).arg(1).arg(&self.key).arg(&self.open);
            // Where this fails, the claim expires by itself.
            let _: Option<i64> = self.store.run(release).await;
        }
        .boxed()
    }
}

fn token() -> String {
    let mut random = [0; 16];
    // Without random numbers two claims could look alike, which matters only to a release.
    let _ = getrandom::fill(&mut random);
    format!("{:032x}", u128::from_be_bytes(random))
}
