//! Members in memory, in place of the shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_protocol::Room;
use rookery_server::message::Publication;
use rookery_server::message::{MemberInfo, Selector};
use rookery_server::rooms::LocalMembers;
use rookery_server::rooms::ranking::Place;

/// Some members, and what was delivered.
#[derive(Default)]
pub struct Members {
    members: Mutex<Vec<MemberInfo>>,
    delivered: Mutex<Vec<Arc<Publication>>>,
    /// As if the shards' queues were full.
    pub full: AtomicBool,
    /// As if the shards never came to say which rooms have the most members.
    pub stuck: AtomicBool,
    /// How often they were asked that.
    pub asked: AtomicUsize,
}

impl Members {
    pub fn add(&self, id: &str, user: Option<&str>, rooms: &[&str]) {
        self.members.lock().push(MemberInfo {
            id: id.to_owned(),
            user: user.map(str::to_owned),
            connected_at: Some(std::time::SystemTime::UNIX_EPOCH),
            rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
        });
    }

    pub fn delivered(&self) -> Vec<Arc<Publication>> {
        self.delivered.lock().clone()
    }

    /// The events delivered, in order.
    pub fn events(&self) -> Vec<String> {
        self.delivered.lock().iter().map(|p| p.event.clone()).collect()
    }

    pub fn rooms_of(&self, id: &str) -> Option<Vec<String>> {
        let members = self.members.lock();
        let member = members.iter().find(|member| member.id == id)?;
        Some(member.rooms.iter().map(|room| room.to_string()).collect())
    }

    fn change(&self, of: &Selector, change: impl Fn(&mut MemberInfo)) -> usize {
        let mut members = self.members.lock();
        members.iter_mut().filter(|m| matches(m, of)).map(change).count()
    }
}

fn matches(member: &MemberInfo, of: &Selector) -> bool {
    let is_in = |rooms: &[Room]| {
        rooms.iter().any(|room| **room == *member.id || member.rooms.contains(room))
    };
    match of {
        Selector::Member(id) => member.id == *id,
        Selector::User(user) => member.user.as_ref() == Some(user),
        Selector::Rooms { rooms, except } => (rooms.is_empty() || is_in(rooms)) && !is_in(except),
    }
}

impl LocalMembers for Members {
    fn deliver(&self, publication: Arc<Publication>) -> BoxFuture<'_, usize> {
        self.try_deliver(publication);
        std::future::ready(0).boxed()
    }

    fn try_deliver(&self, publication: Arc<Publication>) -> bool {
        let free = !self.full.load(Ordering::Relaxed);
        if free {
            self.delivered.lock().push(publication);
        }
        free
    }

    fn members<'a>(&'a self, _: &'a str, of: &'a Selector) -> BoxFuture<'a, Vec<MemberInfo>> {
        let chosen = self.members.lock().iter().filter(|m| matches(m, of)).cloned().collect();
        std::future::ready(chosen).boxed()
    }

    fn rooms<'a>(&'a self, _: &'a str, prefix: &'a str) -> BoxFuture<'a, BTreeMap<Room, usize>> {
        let mut rooms = BTreeMap::new();
        for room in self.members.lock().iter().flat_map(|member| &member.rooms) {
            if room.starts_with(prefix) {
                *rooms.entry(room.clone()).or_default() += 1;
            }
        }
        std::future::ready(rooms).boxed()
    }

    fn crowded<'a>(
        &'a self,
        namespaces: &'a [Arc<str>],
        most: usize,
    ) -> BoxFuture<'a, Vec<(Place, usize)>> {
        async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.stuck.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let rooms = self.rooms("/", "").await.into_iter();
            let place = |room| Place { namespace: namespaces[0].clone(), room };
            rooms.map(|(room, n)| (place(room), n)).take(most).collect()
        }
        .boxed()
    }

    fn occupancy(&self, places: Arc<[Place]>) -> BoxFuture<'_, Vec<usize>> {
        async move {
            let rooms = self.rooms("/", "").await;
            places.iter().map(|place| rooms.get(&place.room).copied().unwrap_or(0)).collect()
        }
        .boxed()
    }

    fn join<'a>(&'a self, _: &'a str, of: &'a Selector, rooms: &'a [Room]) -> BoxFuture<'a, usize> {
        let joined = self.change(of, |member| member.rooms.extend(rooms.iter().cloned()));
        std::future::ready(joined).boxed()
    }

    fn leave<'a>(
        &'a self,
        _: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, usize> {
        let left = self.change(of, |member| member.rooms.retain(|room| !rooms.contains(room)));
        std::future::ready(left).boxed()
    }

    fn disconnect<'a>(
        &'a self,
        _: &'a str,
        of: &'a Selector,
        _close: bool,
    ) -> BoxFuture<'a, usize> {
        let mut members = self.members.lock();
        let before = members.len();
        members.retain(|member| !matches(member, of));
        std::future::ready(before - members.len()).boxed()
    }
}
