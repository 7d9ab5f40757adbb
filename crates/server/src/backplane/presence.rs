//! Rooms with presence in Redis: a hash for each, and messages on the instances' channel.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisError};

use super::outgoing::MessageKind;
use super::wire::pod_messages::Message;
use super::wire::presence::{self, PresenceMessage};
use super::{Backplane, Parts};
use crate::hashing::HashMap;
use crate::message::RoomKey;
use crate::rooms::presence::occupant::{Occupant, OccupantKey};
use crate::rooms::presence::view::{PodChange, PodOccupants};

/// How long Redis may take for one room.
const ANSWER: Duration = Duration::from_secs(1);

/// How long a room is kept that no instance writes: three times as long as instances take at most to
/// write theirs again.
const TTL: Duration = Duration::from_secs(180);

/// Fields in one command.
const CHUNK: usize = 512;

/// What is written of a room, and whether it is read then.
#[derive(Clone, Debug)]
pub struct PresenceWrite {
    /// The room.
    pub key: RoomKey,
    /// Who is on this instance, and was not or has another info.
    pub set: Vec<Arc<Occupant>>,
    /// Who is not on this instance any more.
    pub remove: Vec<OccupantKey>,
    /// The number of this change; `None`: nobody is on this instance any more.
    pub version: Option<u64>,
    /// Whether the room is read after it is written.
    pub load: bool,
}

/// Why a room was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// No connection is up.
    #[error("Redis is not connected")]
    Down,
    /// It took too long.
    #[error("Redis did not answer within 1 s")]
    Slow,
    /// Redis answered with an error, or the connection broke.
    #[error(transparent)]
    Failed(#[from] RedisError),
}

impl Backplane {
    /// Writes a room, and reads it where that is asked for: the occupants of each instance.
    ///
    /// # Errors
    /// Where Redis is not connected, slow, or refuses; whether anything was written is open then.
    pub async fn write_presence(
        &self,
        write: &PresenceWrite,
    ) -> Result<HashMap<String, PodOccupants>, PresenceError> {
        let key = self.presence_key(&write.key);
        let mut pipeline = redis::pipe();
        self.add_write(&mut pipeline, &key, write);
        if write.load {
            pipeline.cmd("HGETALL").arg(&key);
        }
        if !write.load {
            self.run::<()>(pipeline).await?;
            return Ok(HashMap::default());
        }
        let (fields,): (Vec<(String, Vec<u8>)>,) = self.run(pipeline).await?;
        Ok(presence::read(fields))
    }

    /// Reads a room: the occupants of each instance.
    ///
    /// # Errors
    /// As [`Backplane::write_presence`].
    pub async fn read_presence(
        &self,
        key: &RoomKey,
    ) -> Result<HashMap<String, PodOccupants>, PresenceError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.presence_key(key));
        let (fields,): (Vec<(String, Vec<u8>)>,) = self.run(pipeline).await?;
        Ok(presence::read(fields))
    }

    /// Removes the occupants of an instance that is gone; gives how many were still there.
    ///
    /// # Errors
    /// As [`Backplane::write_presence`].
    pub async fn remove_presence(
        &self,
        key: &RoomKey,
        pod: &str,
        occupants: &[OccupantKey],
    ) -> Result<u64, PresenceError> {
        let key = self.presence_key(key);
        let mut pipeline = redis::pipe();
        for chunk in occupants.chunks(CHUNK) {
            let command = pipeline.cmd("HDEL").arg(&key);
            for of in chunk {
                command.arg(presence::field(pod, of));
            }
        }
        pipeline.cmd("HDEL").arg(&key).arg(pod).ignore();
        let removed: Vec<u64> = self.run(pipeline).await?;
        Ok(removed.into_iter().sum())
    }

    /// Tells the other instances of a change; `None`: those with members in the room are to read it
    /// again. False: it is not sent.
    pub fn tell_presence(&self, key: &RoomKey, change: Option<&PodChange>) -> bool {
        let Parts { outgoing, pods_channel, pod, .. } = &*self.parts;
        let presence = PresenceMessage::new(key, change);
        let message = Message::Presence { pod: pod.to_string(), presence };
        outgoing.push(pods_channel.clone(), message.encode(), MessageKind::Question)
    }

    fn presence_key(&self, key: &RoomKey) -> String {
        presence::redis_key(&self.parts.prefix, key)
    }

    /// What left is removed before the number of the change is written, so that whoever reads in
    /// between does not take it for there.
    fn add_write(&self, pipeline: &mut Pipeline, key: &str, write: &PresenceWrite) {
        let pod = &*self.parts.pod;
        for chunk in write.remove.chunks(CHUNK) {
            let command = pipeline.cmd("HDEL").arg(key).ignore();
            for of in chunk {
                command.arg(presence::field(pod, of));
            }
        }
        for chunk in write.set.chunks(CHUNK) {
            let command = pipeline.cmd("HSET").arg(key).ignore();
            for occupant in chunk {
                command.arg(presence::field(pod, &occupant.key)).arg(presence::value(occupant));
            }
        }
        match write.version {
            Some(version) => {
                pipeline.cmd("HSET").arg(key).arg(pod).arg(version).ignore();
                pipeline.cmd("PEXPIRE").arg(key).arg(TTL.as_millis() as u64).ignore();
            }
            None => {
                pipeline.cmd("HDEL").arg(key).arg(pod).ignore();
            }
        }
    }

    async fn run<T: redis::FromRedisValue>(&self, pipeline: Pipeline) -> Result<T, PresenceError> {
        let mut connection = self.commands().ok_or(PresenceError::Down)?;
        let answered = tokio::time::timeout(ANSWER, pipeline.query_async(&mut connection)).await;
        Ok(answered.map_err(|_| PresenceError::Slow)??)
    }
}
