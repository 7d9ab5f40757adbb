//! What the broker does for admins: it tells them of the sockets of all instances.

use std::sync::Arc;

use parking_lot::Mutex;
use rookery_protocol::Room;
use tokio::sync::mpsc;

use super::Broker;
use crate::message::{MemberId, MemberInfo, Publication, PublishError, Selector};

/// Questions of other instances that may wait; more are dropped, and counted.
const QUEUE: usize = 64;

/// The most admins that one question may name.
const MAX_ADMINS: usize = 64;

/// Admins of other instances that are to be told of the sockets here.
#[derive(Debug)]
pub struct AdminQuestion {
    /// The namespace of the admins.
    pub namespace: String,
    /// Their ids, which are rooms too.
    pub admins: Vec<Room>,
}

/// Where the questions of other instances wait.
#[derive(Debug)]
pub(super) struct AdminInbox {
    sender: mpsc::Sender<AdminQuestion>,
    receiver: Mutex<Option<mpsc::Receiver<AdminQuestion>>>,
}

impl AdminInbox {
    /// An empty one.
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        AdminInbox { sender, receiver: Mutex::new(Some(receiver)) }
    }

    /// Another instance asks.
    ///
    /// # Errors
    /// Why the question is dropped.
    pub(super) fn push(&self, namespace: String, admins: Vec<String>) -> Result<(), &'static str> {
        if admins.len() > MAX_ADMINS || !admins.iter().all(|admin| MemberId::may_be(admin)) {
            return Err("a question for admins that are none");
        }
        let admins = admins.into_iter().map(Room::from).collect();
        let question = AdminQuestion { namespace, admins };
        self.sender.try_send(question).map_err(|_| "too many admins of others ask for the sockets")
    }
}

impl Broker {
    /// The questions of other instances for the sockets here; once.
    pub fn take_admin_questions(&self) -> Option<mpsc::Receiver<AdminQuestion>> {
        self.admins.receiver.lock().take()
    }

    /// The members of a namespace on this instance.
    pub async fn members_here(&self, namespace: &str) -> Vec<MemberInfo> {
        let everybody = Selector::Rooms { rooms: Vec::new(), except: Vec::new() };
        self.parts.rooms.members(namespace, &everybody).await
    }

    /// How many members each of these namespaces has on this instance.
    pub async fn populations(&self, namespaces: &Arc<[Arc<str>]>) -> Vec<usize> {
        self.parts.rooms.populations(namespaces.clone()).await
    }

    /// Tells the other instances whether admins are connected to this one.
    pub fn set_has_admins(&self, has_admins: bool) {
        if let Some(backplane) = &self.parts.backplane {
            backplane.set_has_admins(has_admins);
        }
    }

    /// Whether admins are connected to another instance.
    pub fn others_have_admins(&self) -> bool {
        self.parts.backplane.as_ref().is_some_and(|backplane| backplane.others_have_admins())
    }

    /// Asks the other instances to publish their sockets to these admins of this one.
    pub fn ask_for_sockets(&self, namespace: &str, admins: &[Room]) {
        let Some(backplane) = &self.parts.backplane else { return };
        for admins in admins.chunks(MAX_ADMINS) {
            backplane.ask_for_sockets(namespace, admins.iter().map(|id| id.to_string()).collect());
        }
    }

    /// Publishes what admins are told: to those here also while the others cannot be reached, whatever
    /// `redis.whenDown` says.
    ///
    /// # Errors
    /// When the shards' queues stayed full.
    pub async fn publish_to_admins(&self, publication: Publication) -> Result<(), PublishError> {
        let reservation = self.wait_for_shards(&publication).await?;
        drop(self.dispatch(reservation, publication, false));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_admins_by_ids_and_the_queue_is_bounded() {
        let inbox = AdminInbox::new();
        let push = |admin: &str| inbox.push("/admin".to_owned(), vec![admin.to_owned()]);
        assert!(push("a room").is_err());
        let many = vec!["pod-bbbbA00000000001".to_owned(); MAX_ADMINS + 1];
        assert!(inbox.push("/admin".to_owned(), many).is_err());
        assert!((0..QUEUE).all(|_| push("pod-bbbbA00000000001").is_ok()));
        assert!(push("pod-bbbbA00000000001").is_err());
    }
}
