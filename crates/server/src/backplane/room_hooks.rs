//! What the backend was told of rooms, in Redis.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisError, Value, cmd};

use super::Backplane;
use super::presence::PresenceError;
use super::wire::room_hooks as wire;
use crate::message::RoomKey;
use crate::rooms::hooks::record::{Record, Version};
use crate::rooms::hooks::room::{Content, RecordWrite, Survey, TRUST};

/// How long a record, and the list of an instance's rooms, is kept that no instance looks at any more.
const TTL: Duration = Duration::from_secs(86_400);

/// How long the version of a room that is over is kept: longer than an instance trusts what it knows.
const ENDED_TTL: Duration = Duration::from_secs(TRUST.as_secs() * 3 / 2);

/// Gives the record unless it has the version `ARGV[1]`, and keeps it.
const LOAD: &str = "\
    if redis.call('HLEN', KEYS[1]) > 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
    if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'v') == ARGV[1] then return false end \
    return redis.call('HGETALL', KEYS[1])";

/// Writes the record where it has the expected version and where no other instance sends its events,
/// but for one that is gone; else gives it. `ARGV`: the expected version and the new one, this instance
/// and the one that is gone, how long a record and an ended one is kept, whether all is replaced, how
/// many fields are removed, these fields, and the others with their values.
const WRITE: &str = "\
    local version = redis.call('HGET', KEYS[1], 'v') or '' \
    local sender = redis.call('HGET', KEYS[1], 's') or '' \
    if version ~= ARGV[1] or (sender ~= '' and sender ~= ARGV[3] and sender ~= ARGV[4]) then \
        return redis.call('HGETALL', KEYS[1]) \
    end \
    if ARGV[7] == '1' then redis.call('DEL', KEYS[1]) end \
    local removed = 8 + tonumber(ARGV[8]) \
    for i = 9, removed do redis.call('HDEL', KEYS[1], ARGV[i]) end \
    redis.call('HSET', KEYS[1], 'v', ARGV[2]) \
    for i = removed + 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end \
    local ttl = redis.call('HLEN', KEYS[1]) > 1 and ARGV[5] or ARGV[6] \
    redis.call('PEXPIRE', KEYS[1], ttl) \
    return false";

/// Removes events from the record. `ARGV`: this instance, whether it sends no others, how long an ended
/// record is kept, and the events' fields.
const CLEAR: &str = "\
    for i = 4, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end \
    if ARGV[2] == '1' and redis.call('HGET', KEYS[1], 's') == ARGV[1] then \
        redis.call('HDEL', KEYS[1], 's') \
    end \
    if redis.call('HLEN', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end \
    return false";

impl Backplane {
    /// Reads a room's record; `None`: it is of the known version.
    ///
    /// # Errors
    /// Where Redis is not connected, slow, or refuses.
    pub async fn load_room_record(
        &self,
        key: &RoomKey,
        known: &Version,
    ) -> Result<Option<Record>, PresenceError> {
        let key = wire::record_key(&self.parts.prefix, key);
        let mut load = script(LOAD, &key);
        load.arg(known.to_string()).arg(millis(TTL));
        record(self.one(&key, load).await?)
    }

    /// Writes a room's record; `Some`: it was not written, as it is another one.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`]; whether it was written is open then.
    pub async fn write_room_record(
        &self,
        key: &RoomKey,
        write: &RecordWrite,
    ) -> Result<Option<Record>, PresenceError> {
        let key = wire::record_key(&self.parts.prefix, key);
        let pod = &*self.parts.pod;
        let fields = wire::fields(write, pod);
        let is_whole = matches!(write.content, Content::Whole(_));
        let mut command = script(WRITE, &key);
        command.arg(write.expected.to_string()).arg(write.version.to_string()).arg(pod);
        command.arg(write.takes_from.as_deref().unwrap_or_default());
        command.arg(millis(TTL)).arg(millis(ENDED_TTL)).arg(u8::from(is_whole));
        command.arg(fields.remove.len()).arg(fields.remove);
        for (field, value) in fields.set {
            command.arg(field).arg(value);
        }
        record(self.one(&key, command).await?)
    }

    /// Removes events from a room's record; `is_last`: this instance sends no others.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`].
    pub async fn clear_room_events(
        &self,
        key: &RoomKey,
        events: &[u64],
        is_last: bool,
    ) -> Result<(), PresenceError> {
        let key = wire::record_key(&self.parts.prefix, key);
        let mut command = script(CLEAR, &key);
        command.arg(&*self.parts.pod).arg(u8::from(is_last)).arg(millis(ENDED_TTL));
        for number in events {
            command.arg(wire::event_field(*number));
        }
        self.one(&key, command).await.map(drop)
    }

    /// Reads a room's record, unless it is of the known version, and then who is there on other
    /// instances, and whether one of those `alive` sees to it.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`].
    pub async fn survey_room(
        &self,
        key: &RoomKey,
        known: &Version,
        alive: &[String],
    ) -> Result<Survey, PresenceError> {
        let record = self.load_room_record(key, known).await?;
        let mut pods = self.read_presence(key).await?;
        pods.remove(&*self.parts.pod);
        let mut is_held = false;
        for pod in pods.keys().filter(|pod| alive.contains(pod)) {
            is_held = is_held || self.is_room_held(pod, key).await?;
        }
        Ok(Survey { record, pods, is_held })
    }

    async fn is_room_held(&self, pod: &str, key: &RoomKey) -> Result<bool, PresenceError> {
        let list = wire::held_key(&self.parts.prefix, pod);
        let is_in = cmd("SISMEMBER").arg(&list).arg(wire::held_room(key)).to_owned();
        parsed(self.one(&list, is_in).await?)
    }

    /// Puts rooms into this instance's list.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`].
    pub async fn hold_rooms(&self, keys: &[RoomKey]) -> Result<(), PresenceError> {
        let list = wire::held_key(&self.parts.prefix, &self.parts.pod);
        let mut add = cmd("SADD").arg(&list).to_owned();
        add.arg(keys.iter().map(wire::held_room).collect::<Vec<_>>());
        self.run(&list, vec![add, expire(&list)]).await.map(drop)
    }

    /// Removes rooms from the list of an instance: `None`: of this one.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`].
    pub async fn release_rooms(
        &self,
        pod: Option<&str>,
        keys: &[RoomKey],
    ) -> Result<(), PresenceError> {
        let list = wire::held_key(&self.parts.prefix, pod.unwrap_or(&self.parts.pod));
        let mut remove = cmd("SREM").arg(&list).to_owned();
        remove.arg(keys.iter().map(wire::held_room).collect::<Vec<_>>());
        self.one(&list, remove).await.map(drop)
    }

    /// Some rooms of an instance's list, at most `limit`; none where it has none.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`].
    pub async fn held_rooms(&self, pod: &str, limit: usize) -> Result<Vec<RoomKey>, PresenceError> {
        let list = wire::held_key(&self.parts.prefix, pod);
        let some = cmd("SRANDMEMBER").arg(&list).arg(limit).to_owned();
        let rooms: Vec<String> = parsed(self.one(&list, some).await?)?;
        Ok(rooms.iter().filter_map(|room| wire::parse_held(room)).collect())
    }

    /// Says that this instance has a list of rooms; gives all instances that have said so.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`].
    pub async fn announce_list(&self) -> Result<Vec<String>, PresenceError> {
        let key = wire::pods_key(&self.parts.prefix);
        let add = cmd("SADD").arg(&key).arg(&*self.parts.pod).to_owned();
        let all = cmd("SMEMBERS").arg(&key).to_owned();
        let answers = self.run(&key, vec![add, expire(&key), all]).await?;
        answers.into_iter().next_back().map_or_else(|| Ok(Vec::new()), parsed)
    }

    /// Forgets that an instance that is gone had a list.
    ///
    /// # Errors
    /// As [`Backplane::load_room_record`].
    pub async fn forget_list(&self, pod: &str) -> Result<(), PresenceError> {
        let key = wire::pods_key(&self.parts.prefix);
        let remove = cmd("SREM").arg(&key).arg(pod).to_owned();
        self.one(&key, remove).await.map(drop)
    }

    async fn one(&self, key: &str, command: Cmd) -> Result<Value, PresenceError> {
        Ok(self.run(key, vec![command]).await?.pop().unwrap_or(Value::Nil))
    }
}

fn script(text: &str, key: &str) -> Cmd {
    cmd("EVAL").arg(text).arg(1).arg(key).to_owned()
}

fn expire(key: &str) -> Cmd {
    cmd("PEXPIRE").arg(key).arg(millis(TTL)).to_owned()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The record that a script gave.
fn record(answer: Value) -> Result<Option<Record>, PresenceError> {
    if answer == Value::Nil {
        return Ok(None);
    }
    Ok(Some(wire::read(parsed(answer)?)))
}

fn parsed<T: FromRedisValue>(answer: Value) -> Result<T, PresenceError> {
    Ok(redis::from_redis_value(answer).map_err(RedisError::from)?)
}
