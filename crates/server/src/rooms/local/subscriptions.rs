//! What is subscribed for members, and for namespaces of patterns only while it is needed.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};

use super::LocalRooms;
use crate::connection::Wait;
use crate::message::MemberId;
use crate::rooms::interest::{Confirmation, Interest};
use crate::rooms::member::Member;
use crate::rooms::topic::MemberChannels;

impl LocalRooms {
    /// Subscribes what is for the whole namespace of a member, if that is not subscribed whether or not
    /// the namespace has members; it stays so while the member is there. What others publish is heard
    /// after the wait.
    pub fn hear_namespace(&self, member: &Member) -> Wait {
        let interests = self.parts.interests.iter();
        let acquired = interests.flat_map(|i| i.acquire_namespace(&member.namespace));
        let (interests, wait) = split(acquired);
        interests.into_iter().for_each(|interest| member.keep(interest));
        wait
    }

    /// Subscribes the answers of other servers to questions in a namespace while the interests are held;
    /// none where they are subscribed anyway.
    pub fn hear_answers(&self, namespace: &Arc<str>) -> (Vec<Interest>, Wait) {
        split(self.parts.interests.iter().flat_map(|i| i.acquire_answers(namespace)))
    }

    /// Whether what others publish to a whole namespace is heard here.
    pub fn hears_namespace(&self, namespace: &Arc<str>) -> bool {
        self.parts.interests.as_ref().is_some_and(|interests| interests.hears_namespace(namespace))
    }

    /// Subscribes the ids of a member that have channels of their own: all of them, or only one that
    /// begins with the namespace.
    pub(super) fn subscribe_ids(&self, member: &Member) -> Vec<BoxFuture<'static, ()>> {
        let Some(interests) = &self.parts.interests else { return Vec::new() };
        let has_own = |id: &&MemberId| {
            interests.member_channels() == MemberChannels::Own || id.has_namespace()
        };
        let acquire = |id: &MemberId| {
            let (interest, confirmation) = self.acquire(&member.namespace, id.room());
            interest.into_iter().for_each(|interest| member.keep(interest));
            confirmation
        };
        member.ids().filter(has_own).filter_map(acquire).collect()
    }
}

/// The interests, and the wait for all that is not heard yet.
fn split(acquired: impl Iterator<Item = (Interest, Confirmation)>) -> (Vec<Interest>, Wait) {
    let (interests, confirmations): (Vec<_>, Vec<_>) = acquired.unzip();
    let confirmations: Vec<_> = confirmations.into_iter().flatten().collect();
    if confirmations.is_empty() {
        return (interests, None);
    }
    (interests, Some(Box::pin(async { drop(join_all(confirmations).await) })))
}
