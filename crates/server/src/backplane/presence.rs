//! Rooms with presence in Redis: a hash for each, and messages on the instances' channel.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, Value, cmd};

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
        let mut commands = self.write_commands(&key, write);
        if write.load {
            commands.push(get_all(&key));
        }
        let answer = self.run(&key, commands).await?.pop().filter(|_| write.load);
        answer.map_or_else(|| Ok(HashMap::default()), read)
    }

    /// Reads a room: the occupants of each instance.
    ///
    /// # Errors
    /// As [`Backplane::write_presence`].
    pub async fn read_presence(
        &self,
        key: &RoomKey,
    ) -> Result<HashMap<String, PodOccupants>, PresenceError> {
        let key = self.presence_key(key);
        let answer = self.run(&key, vec![get_all(&key)]).await?.pop();
        answer.map_or_else(|| Ok(HashMap::default()), read)
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
        let mut commands = remove(&key, pod, occupants);
        let of_occupants = commands.len();
        commands.push(cmd("HDEL").arg(&key).arg(pod).to_owned());
        let answers = self.run(&key, commands).await?;
        let removed = answers.into_iter().take(of_occupants);
        let removed = removed.map(redis::from_redis_value::<u64>).sum::<Result<_, _>>();
        Ok(removed.map_err(RedisError::from)?)
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
    fn write_commands(&self, key: &str, write: &PresenceWrite) -> Vec<Cmd> {
        let pod = &*self.parts.pod;
        let mut commands = remove(key, pod, &write.remove);
        for chunk in write.set.chunks(CHUNK) {
            let mut command = cmd("HSET").arg(key).to_owned();
            for occupant in chunk {
                command.arg(presence::field(pod, &occupant.key)).arg(presence::value(occupant));
            }
            commands.push(command);
        }
        match write.version {
            Some(version) => {
                commands.push(cmd("HSET").arg(key).arg(pod).arg(version).to_owned());
                commands.push(cmd("PEXPIRE").arg(key).arg(TTL.as_millis() as u64).to_owned());
            }
            None => commands.push(cmd("HDEL").arg(key).arg(pod).to_owned()),
        }
        commands
    }

    /// Sends commands about a key, and gives their answers.
    pub(super) async fn run(
        &self,
        key: &str,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Value>, PresenceError> {
        let mut connection = self.commands(key).ok_or(PresenceError::Down)?;
        let answered = tokio::time::timeout(ANSWER, connection.query_all(commands)).await;
        Ok(answered.map_err(|_| PresenceError::Slow)??)
    }
}

fn get_all(key: &str) -> Cmd {
    cmd("HGETALL").arg(key).to_owned()
}

fn read(answer: Value) -> Result<HashMap<String, PodOccupants>, PresenceError> {
    let fields: Vec<(String, Vec<u8>)> =
        redis::from_redis_value(answer).map_err(RedisError::from)?;
    Ok(presence::read(fields))
}

/// The commands that remove an instance's occupants.
fn remove(key: &str, pod: &str, occupants: &[OccupantKey]) -> Vec<Cmd> {
    let chunks = occupants.chunks(CHUNK).map(|chunk| {
        let mut command = cmd("HDEL").arg(key).to_owned();
        for of in chunk {
            command.arg(presence::field(pod, of));
        }
        command
    });
    chunks.collect()
}
