//! Questions and orders to all shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use rookery_protocol::Room;
use tokio::sync::oneshot;

use super::LocalRooms;
use crate::message::{MemberInfo, RoomKey, Selector};
use crate::rooms::interest::Interest;
use crate::rooms::member::{Dismissal, Member};
use crate::rooms::membership::JoinRefused;
use crate::rooms::presence::registry::{Lease, PresenceRegistry};
use crate::rooms::ranking::RankedNamespaces;
use crate::rooms::shard::{MembershipChange, ShardCommand, ShardRooms};

/// What selected members came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectedJoin {
    /// Members that are in the rooms now.
    pub joined: usize,
    /// Members that would be in more rooms than `limits.roomsPerClient`, and joined none.
    pub refused: usize,
}

/// A join of selected members into rooms that are heard here.
pub struct PreparedJoin {
    namespace: String,
    of: Selector,
    rooms: Vec<Room>,
    /// Gives an interest in each of the rooms.
    interests: Arc<dyn Fn() -> Vec<Option<Interest>> + Send + Sync>,
}

impl LocalRooms {
    /// The selected members.
    pub async fn members(&self, namespace: &str, of: &Selector) -> Vec<MemberInfo> {
        let (namespace, of) = (namespace.to_owned(), of.clone());
        let members = self.query(move |rooms| {
            let membership = rooms.membership();
            let selected = membership.select(&namespace, &of);
            selected.iter().map(|member| membership.info(member)).collect::<Vec<_>>()
        });
        members.await.into_iter().flatten().collect()
    }

    /// The rooms with members here whose names start with `prefix`, and how many members each has.
    pub async fn rooms(&self, namespace: &str, prefix: &str) -> BTreeMap<Room, usize> {
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        let rooms = self.query(move |rooms| rooms.membership().rooms(&namespace, &prefix));
        let mut merged = BTreeMap::new();
        for (room, members) in rooms.await.into_iter().flatten() {
            *merged.entry(room).or_default() += members;
        }
        merged
    }

    /// The rooms of these namespaces with the most members in one shard: at most `limit` of each
    /// shard, with how many members they have in those that name them.
    pub async fn fullest(
        &self,
        namespaces: &RankedNamespaces,
        limit: usize,
    ) -> Vec<(RoomKey, usize)> {
        let namespaces = namespaces.clone();
        let fullest = self.query(move |rooms| rooms.membership().fullest(&namespaces, limit));
        let mut merged: HashMap<RoomKey, usize> = HashMap::new();
        for (key, members) in fullest.await.into_iter().flatten() {
            *merged.entry(key).or_default() += members;
        }
        merged.into_iter().collect()
    }

    /// How many members each of these namespaces has here.
    pub async fn populations(&self, namespaces: Arc<[Arc<str>]>) -> Vec<usize> {
        let mut merged = vec![0; namespaces.len()];
        let counted = self.query(move |rooms| {
            let membership = rooms.membership();
            namespaces.iter().map(|name| membership.population(name)).collect::<Vec<_>>()
        });
        for members in counted.await {
            merged.iter_mut().zip(members).for_each(|(sum, members)| *sum += members);
        }
        merged
    }

    /// How many members each of these rooms has here.
    pub async fn occupancy(&self, keys: Arc<[RoomKey]>) -> Vec<usize> {
        let mut merged = vec![0; keys.len()];
        let counted = self.query(move |rooms| {
            let membership = rooms.membership();
            keys.iter().map(|key| membership.occupancy(key)).collect::<Vec<_>>()
        });
        for members in counted.await {
            merged.iter_mut().zip(members).for_each(|(sum, members)| *sum += members);
        }
        merged
    }

    /// Makes the selected members join `rooms`, once what others publish there is heard here. A
    /// member that would be in more rooms than allowed joins none.
    pub async fn join_selected(
        &self,
        namespace: &str,
        of: &Selector,
        rooms: &[Room],
    ) -> SelectedJoin {
        match self.prepare_join(namespace, of, rooms).await {
            Ok(prepared) => self.join_prepared(prepared).await,
            Err(refused) => refused,
        }
    }

    /// Waits until what others publish in `rooms` is heard here: not at all where it is already.
    ///
    /// # Errors
    /// What the join comes to where nobody can join.
    pub async fn prepare_join(
        &self,
        namespace: &str,
        of: &Selector,
        rooms: &[Room],
    ) -> Result<PreparedJoin, SelectedJoin> {
        if !self.hears(namespace, rooms) {
            let checked = self.check_join(namespace, of, rooms).await;
            if checked.joined == 0 {
                return Err(checked);
            }
        }
        let interests = Arc::new(self.subscribe(namespace, rooms).await);
        Ok(PreparedJoin {
            namespace: namespace.to_owned(),
            of: of.clone(),
            rooms: rooms.to_vec(),
            interests,
        })
    }

    /// As [`LocalRooms::join_selected`], for what was prepared. Every shard has it in its queue when
    /// this was polled once, unless a queue is full.
    pub async fn join_prepared(&self, prepared: PreparedJoin) -> SelectedJoin {
        let PreparedJoin { namespace, of, rooms: joined, interests } = prepared;
        let presence = self.parts.presence.clone();
        let join = move |shard: &mut ShardRooms, members: &[Arc<Member>]| {
            let mut interests = interests();
            let join = |member: &Arc<Member>| {
                let change = shard.assign(member, &joined, &mut interests)?;
                if change == MembershipChange::Done {
                    let leases = leases_of(&presence, shard.shard(), member, &joined);
                    shard.keep_leases(member, &joined, leases);
                }
                Some(change)
            };
            members.iter().filter_map(join).fold(SelectedJoin::default(), SelectedJoin::add)
        };
        SelectedJoin::sum(self.change(&namespace, &of, join).await)
    }

    /// Whether what others publish in all of these rooms is heard here.
    fn hears(&self, namespace: &str, rooms: &[Room]) -> bool {
        let Some(interests) = &self.parts.interests else { return true };
        let namespace: Arc<str> = namespace.into();
        rooms.iter().all(|room| {
            interests.is_heard(&RoomKey { namespace: namespace.clone(), room: room.clone() })
        })
    }

    /// What [`LocalRooms::join_selected`] would come to, so that nothing is subscribed for nobody.
    async fn check_join(&self, namespace: &str, of: &Selector, rooms: &[Room]) -> SelectedJoin {
        let joined = rooms.to_vec();
        let check = move |shard: &mut ShardRooms, members: &[Arc<Member>]| {
            let check = |member: &Arc<Member>| match shard.check_join(member, &joined) {
                Ok(()) => Some(MembershipChange::Done),
                Err(JoinRefused::TooMany) => Some(MembershipChange::TooManyRooms),
                Err(JoinRefused::NotConnected) => None,
            };
            members.iter().filter_map(check).fold(SelectedJoin::default(), SelectedJoin::add)
        };
        SelectedJoin::sum(self.change(namespace, of, check).await)
    }

    /// Waits until these rooms are subscribed; gives a source of further interests in them, which
    /// keeps them subscribed itself.
    async fn subscribe(
        &self,
        namespace: &str,
        rooms: &[Room],
    ) -> impl Fn() -> Vec<Option<Interest>> + Send + Sync + 'static {
        let (namespace, rooms): (Arc<str>, Vec<Room>) = (namespace.into(), rooms.to_vec());
        let acquired = rooms.iter().map(|room| self.acquire(&namespace, room));
        let (held, confirmations): (Vec<_>, Vec<_>) = acquired.unzip();
        join_all(confirmations.into_iter().flatten()).await;
        let (local, held) = (self.clone(), Arc::new(held));
        move || {
            let _held = &held;
            rooms.iter().map(|room| local.acquire(&namespace, room).0).collect()
        }
    }

    /// Makes the selected members leave `rooms`; gives how many were selected.
    pub async fn leave_selected(&self, namespace: &str, of: &Selector, rooms: &[Room]) -> usize {
        let left = rooms.to_vec();
        let leave = move |shard: &mut ShardRooms, members: &[Arc<Member>]| {
            members.iter().for_each(|member| shard.leave(member, &left));
            members.len()
        };
        self.change(namespace, of, leave).await.into_iter().sum()
    }

    /// Dismisses the selected members; gives how many they were.
    pub async fn dismiss_selected(
        &self,
        namespace: &str,
        of: &Selector,
        dismissal: Dismissal,
    ) -> usize {
        let dismiss = move |_: &mut ShardRooms, members: &[Arc<Member>]| {
            members.iter().for_each(|member| member.dismiss(dismissal));
            members.len()
        };
        self.change(namespace, of, dismiss).await.into_iter().sum()
    }

    async fn change<T: Send + 'static>(
        &self,
        namespace: &str,
        of: &Selector,
        change: impl Fn(&mut ShardRooms, &[Arc<Member>]) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let (namespace, of) = (namespace.to_owned(), of.clone());
        let changed = self.query(move |rooms| {
            let members = rooms.membership().select(&namespace, &of);
            change(rooms, &members)
        });
        changed.await
    }

    async fn query<T: Send + 'static>(
        &self,
        question: impl Fn(&mut ShardRooms) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let answers = self.parts.shards.iter().map(|shard| {
            let question = question.clone();
            async move {
                let (answer, answered) = oneshot::channel();
                let query = ShardCommand::Query(Box::new(move |rooms| {
                    let _ = answer.send(question(rooms));
                }));
                shard.send(query).await;
                answered.await.ok()
            }
        });
        join_all(answers).await.into_iter().flatten().collect()
    }
}

/// A lease for a member in each of these rooms, which it has joined, that has presence or hooks.
fn leases_of(
    presence: &Arc<PresenceRegistry>,
    shard: usize,
    member: &Member,
    rooms: &[Room],
) -> Vec<Option<Lease>> {
    let lease = |room: &Room| {
        let occupant = member.occupant_in(room)?;
        let key = RoomKey { namespace: member.namespace.clone(), room: room.clone() };
        Some(presence.acquire_joined(&key, shard, occupant, &member.id))
    };
    rooms.iter().map(lease).collect()
}

impl SelectedJoin {
    fn sum(shards: Vec<SelectedJoin>) -> Self {
        let sum = |a: Self, b: Self| SelectedJoin {
            joined: a.joined + b.joined,
            refused: a.refused + b.refused,
        };
        shards.into_iter().fold(SelectedJoin::default(), sum)
    }

    fn add(self, change: MembershipChange) -> Self {
        match change {
            MembershipChange::Done => SelectedJoin { joined: self.joined + 1, ..self },
            MembershipChange::TooManyRooms => SelectedJoin { refused: self.refused + 1, ..self },
        }
    }
}
