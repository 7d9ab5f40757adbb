//! The other instances, reached over Redis, as the router and the shards see them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::backplane::link::Link;
use crate::backplane::subscriptions::Hold;
use crate::message::Publication;
use crate::rooms::router::Remote;
use crate::rooms::shard::Occupation;
use rookery_protocol::Room;

impl Occupation for Link {
    fn occupied(&self, namespace: &Arc<str>, room: &Room) {
        // The members' answer has waited for the confirmation already, or need not.
        drop(self.hold(namespace, room));
    }

    fn vacated(&self, namespace: &Arc<str>, room: &Room) {
        self.release(namespace, room);
    }
}

impl Remote for Link {
    fn is_up(&self) -> bool {
        Link::is_up(self)
    }

    fn is_pod(&self, name: &str) -> bool {
        self.peers().iter().any(|peer| peer == name)
    }

    fn publish(&self, publication: &Publication) -> bool {
        Link::publish(self, publication)
    }

    fn subscribed(&self, namespace: &Arc<str>, room: &Room) -> Option<BoxFuture<'static, ()>> {
        let hold = self.hold(namespace, room);
        // The channel lingers after a release, longer than a member takes to join.
        self.release(namespace, room);
        match hold {
            Hold::Ready => None,
            Hold::Pending(confirmed) => Some(confirmed),
        }
    }
}
