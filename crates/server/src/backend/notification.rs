//! A [`Notification`]: what the backend is told of without anybody waiting for it.

use std::fmt;

use bytes::Bytes;
use rookery_config::Hook;

use super::reply::Reply;
use crate::message::id_source::random_id;

/// Characters of the value of `Rookery-Event-Id`.
const ID_LENGTH: usize = 20;

/// Carries out the backend's reply to a notification. Called at most once.
pub type OnReply = Box<dyn FnOnce(Reply) + Send + Sync>;

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The backend has it.
    Accepted,
    /// The backend refused it for good, or did not accept it in time.
    GivenUp,
}

/// Learns what became of a notification. Called at most once: not for one that is left at a stop.
pub type OnEnd = Box<dyn FnOnce(Ended) + Send + Sync>;

/// What the backend is told of without anybody waiting for it. It is sent again, with the same id,
/// until the backend accepts it.
pub struct Notification {
    /// The kind of webhook.
    pub hook: Hook,
    /// What tells it from others, and repetitions from each other: in a request with one
    /// notification the value of `Rookery-Event-Id`.
    pub id: String,
    /// The notification as JSON: the body of the request, or an element of it.
    pub body: Bytes,
    /// What is done with the reply; `None`: nothing. Replies to several at once are ignored.
    pub on_reply: Option<OnReply>,
    /// Learns what became of it.
    pub on_end: Option<OnEnd>,
}

impl Notification {
    /// A notification with a new id.
    pub fn new(hook: Hook, body: Bytes) -> Self {
        Notification { hook, id: new_id(), body, on_reply: None, on_end: None }
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Notification")
            .field("hook", &self.hook)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A new value of `Rookery-Event-Id`.
///
/// # Panics
/// When the operating system has no randomness.
pub fn new_id() -> String {
    random_id(ID_LENGTH)
}
