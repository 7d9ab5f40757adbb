//! [`Settings`]: the server's own settings that decide what is lost under load, and [`judge`].

use redis::Value;

use super::{Finding, Severity};

/// Redis's own limits of a subscriber's buffer (redis.conf, `client-output-buffer-limit pubsub`):
/// 32 MiB at once, and 8 MiB for 60 seconds.
const BUFFER: BufferLimit = BufferLimit { hard: 32 << 20, soft: 8 << 20 };

/// What CONFIG GET says; `None` for what it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Bytes; 0 is no limit.
    pub max_memory: Option<u64>,
    /// Such as `noeviction` or `allkeys-lru`.
    pub max_memory_policy: Option<String>,
    /// How much may wait for a subscriber before Redis closes its connection.
    pub buffer: Option<BufferLimit>,
}

/// How much may wait for a subscriber: bytes; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimit {
    /// At once.
    pub hard: u64,
    /// For longer than the seconds that the server is set to.
    pub soft: u64,
}

impl Settings {
    /// Reads the answer to CONFIG GET: a map in RESP3, a list of names and values in RESP2.
    pub fn read(answer: &Value) -> Self {
        let mut settings = Settings::default();
        let pairs: Vec<(String, String)> = redis::from_redis_value_ref(answer).unwrap_or_default();
        for (name, value) in pairs {
            match name.as_str() {
                "maxmemory" => settings.max_memory = value.parse().ok(),
                "maxmemory-policy" => settings.max_memory_policy = Some(value),
                "client-output-buffer-limit" => settings.buffer = pubsub_limit(&value),
                _ => {}
            }
        }
        settings
    }
}

/// The entry of subscribers in `normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60`.
fn pubsub_limit(value: &str) -> Option<BufferLimit> {
    let mut words = value.split_whitespace().skip_while(|word| *word != "pubsub").skip(1);
    let mut number = || words.next()?.parse().ok();
    Some(BufferLimit { hard: number()?, soft: number()? })
}

/// What is to be said of them.
pub fn judge(settings: &Settings) -> Vec<Finding> {
    [memory(settings), buffer(settings)]
        .into_iter()
        .flatten()
        .map(|text| Finding { severity: Severity::Warning, text })
        .collect()
}

fn memory(settings: &Settings) -> Option<String> {
    let policy = settings.max_memory_policy.as_deref()?;
    let limited = settings.max_memory.is_some_and(|bytes| bytes > 0);
    (limited && policy != "noeviction").then(|| {
        format!(
            "`maxmemory-policy` is {policy}: under memory pressure Redis drops the ids of \
             publications, and one that is repeated is delivered twice; use noeviction, or a Redis of \
             its own"
        )
    })
}

fn buffer(settings: &Settings) -> Option<String> {
    let BufferLimit { hard, soft } = settings.buffer?;
    let below = |limit: u64, default: u64| limit != 0 && limit < default;
    (below(hard, BUFFER.hard) || below(soft, BUFFER.soft)).then(|| {
        format!(
            "`client-output-buffer-limit pubsub` is {hard} {soft}: Redis closes the connection of an \
             instance that is behind by more bytes than that, and what waited for it is lost; set it \
             to Redis's own {} {} 60 or more",
            BUFFER.hard, BUFFER.soft
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(policy: &str, memory: &str, pubsub: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let buffer = format!("normal 0 0 0 slave 268435456 67108864 60 pubsub {pubsub}");
        Value::Map(vec![
            (text("maxmemory"), text(memory)),
            (text("maxmemory-samples"), text("5")),
            (text("maxmemory-policy"), text(policy)),
            (text("client-output-buffer-limit"), text(&buffer)),
        ])
    }

    fn said(policy: &str, memory: &str, pubsub: &str) -> Vec<String> {
        let settings = Settings::read(&answer(policy, memory, pubsub));
        judge(&settings).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_server_as_it_comes_is_fine() {
        assert_eq!(said("noeviction", "0", "33554432 8388608 60"), [""; 0]);
        assert_eq!(said("noeviction", "100000000", "0 0 0"), [""; 0]);
        assert_eq!(said("allkeys-lru", "0", "67108864 8388608 60"), [""; 0]);
        assert_eq!(judge(&Settings::read(&Value::Nil)), []);
    }

    #[test]
    fn a_policy_that_drops_keys_is_named_where_memory_is_limited() {
        for policy in ["allkeys-lru", "volatile-ttl", "volatile-random"] {
            let said = said(policy, "100000000", "33554432 8388608 60");
            assert!(said.len() == 1 && said[0].contains(policy), "{said:?}");
        }
    }

    #[test]
    fn a_small_buffer_for_subscribers_is_named() {
        for pubsub in ["1048576 8388608 60", "33554432 1048576 60", "0 1048576 10"] {
            let said = said("noeviction", "0", pubsub);
            assert!(said.len() == 1 && said[0].contains("pubsub"), "{pubsub}: {said:?}");
        }
    }

    #[test]
    fn the_answer_of_an_older_protocol_is_read_too() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let list = Value::Array(vec![text("maxmemory"), text("5")]);
        assert_eq!(Settings::read(&list).max_memory, Some(5));
    }
}
