//! [`RedisStore`]: the ids of every instance, in Redis.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prometheus::IntCounter;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError};
use rookery_ops::throttle::{Throttle, limited};
use tracing::debug;

use super::memory::{MemoryClaim, MemoryStore};
use super::{Claim, ClaimOutcome, IdempotencyKey, IdempotencyStore, REPEAT_DEADLINE, RETENTION};
use crate::api::answer::PublishAnswer;
use crate::backplane::CommandConnection;
use crate::message::PUBLISH_DEADLINE;
use crate::telemetry::metrics::Metrics;

/// The time after which a command is given up, and Redis is treated as down.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// The time after which a claim expires in Redis if its instance is killed before the answer.
const CLAIM_TTL: Duration = Duration::from_secs(15);

/// A claim must outlive its publication: the reply to the claim, the publishing and the command
/// that leaves the answer each use up to their limit. The factor allows for a busy instance.
const _: () = assert!(
    CLAIM_TTL.as_millis() >= 2 * (PUBLISH_DEADLINE.as_millis() + 2 * COMMAND_TIMEOUT.as_millis())
);

/// The first and the last of the doubling waits between two looks at another instance's claim.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// The prefix of a claim's value; the owner's token follows it.
const CLAIM_PREFIX: &str = "open:";

/// Claims the key, or gives what it holds. One command, so that a user who may not store answers
/// cannot claim either.
const CLAIM: &str = "\
    if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return nil end \
    return redis.call('GET', KEYS[1])";

/// Stores the answer unless another owner has the key. The key is absent if the claim expired, or
/// if Redis was down when the id was claimed.
const COMPLETE: &str = "\
    local value = redis.call('GET', KEYS[1]) \
    if value and value ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) \
    return 1";

/// Deletes the key if it still holds the owner's claim.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The characters of a namespace that are escaped within a key.
const ESCAPED: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// Returns a connection to Redis for commands about a key, while there is one. Its owner connects and
/// reconnects.
pub type GetConnection = Arc<dyn Fn(&str) -> Result<CommandConnection, Unkept> + Send + Sync>;

/// Keeps claims and answers in Redis, for all instances, and in memory, for this instance while
/// Redis is down. Cloning is shallow.
#[derive(Clone)]
pub struct RedisStore {
    connection: GetConnection,
    prefix: Arc<str>,
    memory: MemoryStore,
    refused: IntCounter,
    lines: Arc<Throttle>,
}

/// Why Redis does not keep an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkept {
    /// Redis cannot be reached; its link logs and counts that. The id holds on this instance.
    Down,
    /// Redis can be reached and refuses: it is a replica, out of memory, cannot persist, or does
    /// not permit the command. Instances cannot agree on who has the id.
    Refused,
}

impl RedisStore {
    /// Keys are `<prefix>:rookery:idem:<namespace>:<id>`. What Redis refuses is counted in
    /// `metrics`.
    pub fn new(
        connection: GetConnection,
        prefix: &str,
        memory: MemoryStore,
        metrics: &Metrics,
    ) -> Self {
        RedisStore {
            connection,
            prefix: prefix.into(),
            memory,
            refused: metrics.api_ids_refused.clone(),
            lines: Arc::new(Throttle::new(&metrics.log_lines_suppressed)),
        }
    }

    fn redis_key(&self, key: &IdempotencyKey) -> String {
        let namespace = utf8_percent_encode(&key.namespace, ESCAPED);
        let IdempotencyKey { publisher, id, .. } = key;
        match publisher {
            // A digest has no slash, and every namespace begins with one.
            Some(owner) => format!("{}:rookery:idem:{owner}:{namespace}:{id}", self.prefix),
            None => format!("{}:rookery:idem:{namespace}:{id}", self.prefix),
        }
    }

    /// Claims the key in Redis with `value`, or waits for its answer until `deadline`.
    async fn claim_until(
        &self,
        key: &str,
        value: &str,
        deadline: Instant,
    ) -> Result<ClaimOutcome<()>, Unkept> {
        let mut wait = POLL_INTERVAL.0;
        loop {
            let ttl = CLAIM_TTL.as_millis() as u64;
            let mut claim = redis::cmd("EVAL");
            claim.arg(CLAIM).arg(1).arg(key).arg(value).arg(ttl);
            let Some(current) = self.run::<Option<String>>(key, claim).await? else {
                return Ok(ClaimOutcome::Claimed(()));
            };
            if !current.starts_with(CLAIM_PREFIX) {
                return serde_json::from_str(&current).map(ClaimOutcome::Completed).map_err(
                    |error| {
                        debug!(%error, id = key, "the answer in Redis is malformed");
                        Unkept::Down
                    },
                );
            }
            if Instant::now() + wait > deadline {
                return Ok(ClaimOutcome::InProgress);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(POLL_INTERVAL.1);
        }
    }

    async fn run<T: FromRedisValue>(&self, key: &str, command: Cmd) -> Result<T, Unkept> {
        let mut connection = match (self.connection)(key) {
            Ok(connection) => connection,
            Err(Unkept::Refused) => return Err(self.refuse(&"the server is a replica")),
            Err(Unkept::Down) => return Err(Unkept::Down),
        };
        match tokio::time::timeout(COMMAND_TIMEOUT, connection.query(&command)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if is_refusal(&error) => Err(self.refuse(&error)),
            Ok(Err(error)) => {
                debug!(%error, "an idempotency command failed");
                Err(Unkept::Down)
            }
            Err(_) => {
                debug!("an idempotency command timed out");
                Err(Unkept::Down)
            }
        }
    }

    fn refuse(&self, error: &dyn Display) -> Unkept {
        self.refused.inc();
        limited!(self.lines, warn, %error, "Redis does not keep the ids of publications");
        Unkept::Refused
    }
}

/// Whether the server answered that it does not run the command.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

impl IdempotencyStore for RedisStore {
    fn claim(&self, key: IdempotencyKey) -> BoxFuture<'_, ClaimOutcome> {
        async move {
            let deadline = Instant::now() + REPEAT_DEADLINE;
            // In memory first: repeats on this instance wait without asking Redis.
            let local = match self.memory.claim_until(&key, deadline).await {
                ClaimOutcome::Claimed(claim) => claim,
                ClaimOutcome::Completed(answer) => return ClaimOutcome::Completed(answer),
                ClaimOutcome::InProgress => return ClaimOutcome::InProgress,
                ClaimOutcome::Refused => return ClaimOutcome::Refused,
            };
            let redis_key = self.redis_key(&key);
            let value = format!("{CLAIM_PREFIX}{}", owner_token());
            match self.claim_until(&redis_key, &value, deadline).await {
                Ok(ClaimOutcome::Claimed(())) | Err(Unkept::Down) => {
                    let claim = RedisClaim { store: self.clone(), redis_key, value, local };
                    ClaimOutcome::Claimed(Box::new(claim) as _)
                }
                Ok(ClaimOutcome::Completed(answer)) => ClaimOutcome::Completed(answer),
                Ok(ClaimOutcome::InProgress) => ClaimOutcome::InProgress,
                Ok(ClaimOutcome::Refused) | Err(Unkept::Refused) => ClaimOutcome::Refused,
            }
        }
        .boxed()
    }
}

/// A claim on an id of every instance.
struct RedisClaim {
    store: RedisStore,
    redis_key: String,
    /// What the key holds while the claim is ours: the prefix and the owner's token.
    value: String,
    local: MemoryClaim,
}

impl Claim for RedisClaim {
    fn complete(self: Box<Self>, answer: PublishAnswer) -> BoxFuture<'static, ()> {
        async move {
            let json = serde_json::to_string(&answer).expect("an answer has only text and numbers");
            let ttl = RETENTION.as_millis() as u64;
            let mut complete = redis::cmd("EVAL");
            complete.arg(COMPLETE).arg(1).arg(&self.redis_key).arg(&self.value).arg(json).arg(ttl);
            // If this fails, repeats on this instance still find the answer in memory.
            if let Ok(0) = self.store.run::<i64>(&self.redis_key, complete).await {
                debug!(id = self.redis_key, "another owner has the id: the claim had expired");
            }
            self.local.complete_with(answer);
        }
        .boxed()
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            let mut release = redis::cmd("EVAL");
            release.arg(RELEASE).arg(1).arg(&self.redis_key).arg(&self.value);
            // If this fails, the claim expires.
            let _ = self.store.run::<i64>(&self.redis_key, release).await;
        }
        .boxed()
    }
}

fn owner_token() -> String {
    let mut random = [0; 16];
    // Without random numbers two owners may share a token, and then end each other's claims.
    let _ = getrandom::fill(&mut random);
    format!("{:032x}", u128::from_be_bytes(random))
}
