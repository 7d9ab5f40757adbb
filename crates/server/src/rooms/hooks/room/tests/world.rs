//! A [`World`]: instances with one room, a Redis and a backend.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rookery_policy::{RoomHook, RoomHooks};

use super::super::*;
use crate::message::RoomKey;

pub(super) const PODS: [&str; 3] = ["pod-aaaa", "pod-bbbb", "pod-cccc"];

const VACATED: Duration = Duration::from_secs(3);

/// What happens next; numbers are of instances and users.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Join(usize, u8),
    Leave(usize, u8),
    /// An instance hears what the others told.
    Hear(usize),
    /// An instance begins its next step.
    Begin(usize),
    /// Redis carries out the step, and the instance gets the answer.
    Answer(usize),
    /// Redis carries it out, but the answer is lost.
    Lose(usize),
    /// The backend accepts the oldest events of an instance.
    Accept(usize),
    Wait,
    Kill(usize),
    /// The first instance that lives sees to the rooms of those that do not.
    TakeOver,
}

#[derive(Default)]
pub(super) struct Redis {
    pub(super) record: Record,
    pub(super) held: BTreeSet<usize>,
    pub(super) present: BTreeMap<usize, BTreeSet<u8>>,
}

/// What a backend knows of the room.
#[derive(Default)]
pub(super) struct Backend {
    pub(super) seen: BTreeSet<String>,
    pub(super) is_occupied: bool,
    pub(super) members: BTreeSet<String>,
}

pub(super) struct Instance {
    pub(super) users: BTreeSet<u8>,
    pub(super) view: RoomView,
    pub(super) room: Option<HookedRoom>,
    pub(super) command: Option<Command>,
    pub(super) queue: Vec<(u64, PendingEvent)>,
    pub(super) is_alive: bool,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) redis: Redis,
    pub(super) backend: Backend,
    pub(super) instances: Vec<Instance>,
    pub(super) gone: HashSet<String>,
}

fn occupant(user: u8) -> Arc<Occupant> {
    Arc::new(Occupant::user(format!("user-{user}").into(), None))
}

fn pod_occupants(users: &BTreeSet<u8>) -> PodOccupants {
    let occupants = users.iter().map(|user| occupant(*user));
    let occupants = occupants.map(|occupant| (occupant.key.clone(), occupant)).collect();
    PodOccupants { version: 1, occupants }
}

impl Backend {
    fn hear(&mut self, event: &PendingEvent) {
        if !self.seen.insert(event.id.clone()) {
            return;
        }
        let json: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
        let user = json["user"].as_str().unwrap_or_default().to_owned();
        match event.hook {
            RoomHook::RoomOccupied => assert!(!std::mem::replace(&mut self.is_occupied, true)),
            RoomHook::RoomVacated => {
                assert!(std::mem::take(&mut self.is_occupied) && self.members.is_empty());
            }
            RoomHook::MemberJoined => assert!(self.is_occupied && self.members.insert(user)),
            RoomHook::MemberLeft => assert!(self.members.remove(&user)),
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        let instance = || Instance {
            users: BTreeSet::new(),
            view: RoomView::default(),
            room: None,
            command: None,
            queue: Vec::new(),
            is_alive: true,
        };
        World {
            now: Instant::now(),
            redis: Redis::default(),
            backend: Backend::default(),
            instances: PODS.iter().map(|_| instance()).collect(),
            gone: HashSet::default(),
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        let (Action::Join(of, _)
        | Action::Leave(of, _)
        | Action::Hear(of)
        | Action::Begin(of)
        | Action::Answer(of)
        | Action::Lose(of)
        | Action::Accept(of)
        | Action::Kill(of)) = action
        else {
            return match action {
                Action::TakeOver => self.take_over(),
                _ => self.now += Duration::from_secs(2),
            };
        };
        if !self.instances[of].is_alive {
            return;
        }
        match action {
            Action::Join(_, user) => self.set(of, user, true),
            Action::Leave(_, user) => self.set(of, user, false),
            Action::Hear(_) => self.hear(of),
            Action::Begin(_) => self.begin(of),
            Action::Answer(_) => self.answer(of, true),
            Action::Lose(_) => self.answer(of, false),
            Action::Accept(_) => self.accept(of),
            // Somebody has to be left who sees to the room.
            _ if self.instances.iter().filter(|instance| instance.is_alive).count() > 1 => {
                let instance = &mut self.instances[of];
                instance.is_alive = false;
                instance.queue.clear();
            }
            _ => {}
        }
    }

    /// A user comes or goes, which is in Redis at once.
    fn set(&mut self, of: usize, user: u8, is_there: bool) {
        let instance = &mut self.instances[of];
        let is_new = match is_there {
            true => instance.users.insert(user),
            false => instance.users.remove(&user),
        };
        if !is_new {
            return;
        }
        let who = occupant(user);
        instance.view.set_own(who.key.clone(), is_there.then_some(who));
        self.redis.present.insert(of, instance.users.clone());
        self.hear(of);
    }

    /// An instance that has somebody in the room learns who is on the others.
    fn hear(&mut self, of: usize) {
        let others = self.redis.present.iter().filter(|(pod, users)| {
            **pod != of && !users.is_empty() && !self.gone.contains(PODS[**pod])
        });
        let others = others.map(|(pod, users)| (PODS[*pod].to_owned(), pod_occupants(users)));
        let others = others.collect();
        let instance = &mut self.instances[of];
        let is_new = instance.view.told().is_empty() && instance.room.is_none();
        if instance.users.is_empty() && (is_new || instance.view.told().is_empty()) {
            return;
        }
        instance.view.load(others, |_| false);
        let changes = instance.view.transitions();
        let room = instance.room.get_or_insert_with(|| HookedRoom::new(self.now));
        let none = HashSet::default();
        room.observe((PODS[of], &instance.view), &changes, (true, &none), self.now);
        if instance.users.is_empty() {
            instance.view = RoomView::default();
            room.left_here();
        }
    }

    fn with_room<T>(
        &mut self,
        of: usize,
        then: impl FnOnce(&mut HookedRoom, &Context) -> T,
    ) -> Option<T> {
        let key = RoomKey::new("/", "r");
        let context = Context {
            key: &key,
            pod: PODS[of],
            hooks: RoomHooks::ALL,
            vacated_delay: VACATED,
            space: 3,
            has_redis: true,
            has_heard_all: true,
            gone: &self.gone,
            now: self.now,
            at: SystemTime::UNIX_EPOCH,
        };
        Some(then(self.instances[of].room.as_mut()?, &context))
    }

    fn begin(&mut self, of: usize) {
        match self.with_room(of, HookedRoom::next).flatten() {
            Some(Step::Command(command)) => self.instances[of].command = Some(command),
            Some(Step::LoadView) => self.hear(of),
            Some(Step::Forget) => self.instances[of].room = None,
            Some(Step::AwaitSpace) | None => {}
        }
    }

    /// Redis carries out a command; where the answer `arrives`, the instance goes on with it.
    fn answer(&mut self, of: usize, arrives: bool) {
        let Some(command) = self.instances[of].command.take() else { return };
        if !arrives {
            self.carry_out(of, &command);
            self.with_room(of, |room, context| room.failed(context.now));
            self.now += Duration::from_secs(1);
            return;
        }
        let answer = self.carry_out(of, &command);
        let surveyed = matches!(command, Command::Survey(_)).then(|| self.survey(of));
        self.with_room(of, |room, context| match command {
            Command::Hold => room.held(true),
            Command::Release => room.held(false),
            Command::Load(_) => room.loaded(answer, context),
            Command::Write(write) => room.written(*write, answer, context),
            Command::Clear { events, .. } => room.cleared(&events, context.pod),
            Command::Survey(_) => {
                let (pods, is_held) = surveyed.unwrap_or_default();
                room.surveyed(Survey { record: answer, pods, is_held }, context);
            }
        });
        let taken = self.with_room(of, |room, _| room.take_unsent(9)).unwrap_or_default();
        self.instances[of].queue.extend(taken);
    }

    /// What Redis does; gives the record where it does.
    fn carry_out(&mut self, of: usize, command: &Command) -> Option<Record> {
        let redis = &mut self.redis;
        match command {
            Command::Hold => drop(redis.held.insert(of)),
            Command::Release => drop(redis.held.remove(&of)),
            Command::Load(known) | Command::Survey(known) => {
                return (known.is_none() || redis.record.version != *known)
                    .then(|| redis.record.clone());
            }
            Command::Clear { events, is_last } => {
                events.iter().for_each(|number| drop(redis.record.pending.remove(number)));
                if *is_last && redis.record.sender.as_deref() == Some(PODS[of]) {
                    redis.record.sender = None;
                }
            }
            Command::Write(write) => {
                let sender = redis.record.sender.as_deref();
                let may = [Some(PODS[of]), write.takes_from.as_deref(), None].contains(&sender);
                if redis.record.version != write.expected || !may {
                    return Some(redis.record.clone());
                }
                match &write.content {
                    Content::Change(change) => redis.record.apply(change, PODS[of]),
                    Content::Whole(record) => redis.record = record.clone(),
                    Content::Sender => {
                        redis.record.version = write.version.clone();
                        redis.record.sender = Some(PODS[of].to_owned());
                    }
                }
                assert_eq!(redis.record.version, write.version);
            }
        }
        None
    }

    fn survey(&self, of: usize) -> (HashMap<String, PodOccupants>, bool) {
        let others = self.redis.present.iter();
        let others = others.filter(|(pod, users)| **pod != of && !users.is_empty());
        let is_held = |pod: &usize| self.instances[*pod].is_alive && self.redis.held.contains(pod);
        let held = others.clone().any(|(pod, _)| is_held(pod));
        (others.map(|(pod, users)| (PODS[*pod].to_owned(), pod_occupants(users))).collect(), held)
    }

    fn accept(&mut self, of: usize) {
        let accepted = self.instances[of].queue.len().min(2);
        for (number, event) in self.instances[of].queue.drain(..accepted).collect::<Vec<_>>() {
            self.backend.hear(&event);
            self.with_room(of, |room, _| room.event_ended(number));
        }
    }

    fn take_over(&mut self) {
        let Some(first) = self.instances.iter().position(|instance| instance.is_alive) else {
            return;
        };
        for (dead, name) in PODS.into_iter().enumerate() {
            if self.instances[dead].is_alive {
                continue;
            }
            if self.gone.insert(name.to_owned()) {
                self.redis.present.remove(&dead);
                (0..PODS.len())
                    .filter(|of| self.instances[*of].is_alive)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|of| self.hear(of));
            }
            if self.redis.held.remove(&dead) {
                self.redis.held.insert(first);
                let now = self.now;
                self.instances[first].room.get_or_insert_with(|| HookedRoom::new(now)).check();
            }
        }
    }

    /// Everything that is under way ends, and what it causes.
    pub(super) fn settle(&mut self) {
        self.take_over();
        for _ in 0..120 {
            for of in 0..PODS.len() {
                let all =
                    [Action::Hear(of), Action::Begin(of), Action::Answer(of), Action::Accept(of)];
                all.into_iter().for_each(|action| self.act(action));
            }
            self.now += Duration::from_millis(500);
        }
    }
}
