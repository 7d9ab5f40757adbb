//! What instances tell each other of the admins that are connected to them.

use std::time::Instant;

use super::outgoing::MessageKind;
use super::wire::pod_messages::{Ask, Message};
use super::{Backplane, Parts};

impl Backplane {
    /// Sets whether admins are connected to this instance; the others hear it with each heartbeat.
    pub fn set_has_admins(&self, has_admins: bool) {
        self.parts.heartbeat.set_has_admins(has_admins);
    }

    /// Whether admins are connected to another instance.
    pub fn others_have_admins(&self) -> bool {
        self.parts.heartbeat.peers().have_admins(Instant::now())
    }

    /// Asks the other instances to publish their sockets to these admins, in this namespace. Waits for
    /// no answer. False: it is not sent.
    pub fn ask_for_sockets(&self, namespace: &str, admins: Vec<String>) -> bool {
        let Parts { outgoing, pods_channel, pod, .. } = &*self.parts;
        let message = Message::Question {
            pod: pod.to_string(),
            // No question that waits for answers has this id.
            id: 0,
            namespace: namespace.to_owned(),
            ask: Some(Ask::AdminSockets { admins }),
        };
        outgoing.push(pods_channel.clone(), message.encode(), MessageKind::Question)
    }
}
