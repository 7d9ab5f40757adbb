//! The steps of a [`HookedRoom`].

use std::time::{Duration, Instant, SystemTime};

use rookery_policy::RoomHooks;

use super::{
    Command, Content, DOUBTS, HookedRoom, Place, RecordWrite, Step, Surroundings, ViewState,
};
use crate::hashing::HashSet;
use crate::message::RoomKey;
use crate::rooms::hooks::record::{Change, Record, Situation, Version};
use crate::rooms::presence::occupant::OccupantKey;

/// The pause before a room is looked at again that another instance has to act on first.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The same while the backend has events of the room: their end is not waited for this long.
const LONG_PAUSE: Duration = Duration::from_secs(30);

/// What is done depends on.
pub struct Context<'a> {
    /// The room.
    pub key: &'a RoomKey,
    /// This instance.
    pub pod: &'a str,
    /// What the backend is told of the room.
    pub hooks: RoomHooks,
    /// How long nobody must have been in the room before it is told as vacated.
    pub vacated_delay: Duration,
    /// How many events the backend's queue has space for.
    pub space: usize,
    /// Whether there is a Redis, and may be other instances.
    pub has_redis: bool,
    /// Whether every instance that is alive must have been heard.
    pub has_heard_all: bool,
    /// Instances that are gone.
    pub gone: &'a HashSet<String>,
    /// Now.
    pub now: Instant,
    /// The same, for people.
    pub at: SystemTime,
}

impl HookedRoom {
    /// What is to be done now; `None`: nothing, until something happens or the time of
    /// [`HookedRoom::wake_at`]. The next step is begun when the last one has ended.
    pub fn next(&mut self, context: &Context) -> Option<Step> {
        if self.is_under_way || self.failed_until.is_some_and(|until| until > context.now) {
            return None;
        }
        self.failed_until = None;
        let step = match context.has_redis {
            true => self.next_shared(context),
            false => self.next_alone(context),
        };
        self.is_under_way = matches!(step, Some(Step::Command(_)));
        step
    }

    fn next_shared(&mut self, context: &Context) -> Option<Step> {
        let is_away = matches!(self.place, Place::Away(_));
        if self.is_released && is_away {
            return Some(Step::Forget);
        }
        if !self.is_held {
            return command(Command::Hold);
        }
        if !self.ended.is_empty() || self.is_idle_sender(context.pod) {
            let events = self.ended.iter().copied().collect();
            let is_last = self.sending.is_empty() && self.unsent.is_empty() && !self.is_unsure;
            return command(Command::Clear { events, is_last });
        }
        if self.wait_until.is_some_and(|until| until > context.now) {
            return None;
        }
        self.wait_until = None;
        match self.place {
            Place::Here { is_first, is_settled } => self.next_here(context, is_first, is_settled),
            Place::Leaving => None,
            Place::Away(surroundings) => {
                self.place = Place::Away(None);
                self.next_away(context, surroundings)
            }
        }
    }

    fn next_here(&mut self, context: &Context, is_first: bool, is_settled: bool) -> Option<Step> {
        let acts = is_first || self.doubts >= DOUBTS;
        let is_unknown = acts && self.record.is_none();
        if std::mem::take(&mut self.must_load) || is_unknown {
            return command(Command::Load(self.known()));
        }
        if !acts {
            return None;
        }
        if let Some(write) = self.restore(context.pod) {
            return Some(write);
        }
        if self.view == ViewState::Doubtful {
            self.view = ViewState::Awaited;
            return Some(Step::LoadView);
        }
        if !is_settled || self.view == ViewState::Awaited {
            return None;
        }
        let is_new = self.record.as_ref().is_some_and(|record| record.version.is_none());
        if is_new && !context.has_heard_all {
            return self.wait(context.now + PAUSE);
        }
        self.write(context, false)
    }

    fn next_away(&mut self, context: &Context, surroundings: Option<Surroundings>) -> Option<Step> {
        if !context.has_heard_all {
            // What Redis lost is written again before others take it for new.
            if std::mem::take(&mut self.must_load) && self.record.is_some() {
                return command(Command::Load(self.known()));
            }
            let restored = self.restore(context.pod);
            return restored.or_else(|| self.wait(context.now + PAUSE));
        }
        let Some(Surroundings { is_held, has_others }) = surroundings else {
            return command(Command::Survey(self.known()));
        };
        if let Some(write) = self.restore(context.pod) {
            return Some(write);
        }
        let sender = self.record.as_ref().and_then(|record| record.sender.as_deref());
        let is_taken = sender.is_some_and(|sender| context.gone.contains(sender));
        if (is_held || has_others) && !is_taken {
            let is_done = is_held && !self.is_telling() && sender != Some(context.pod);
            return if is_done {
                command(Command::Release)
            } else {
                self.wait(self.later(context.now))
            };
        }
        let due = *self.empty_since.get_or_insert(context.now) + context.vacated_delay;
        if let Some(step) = self.write(context, due <= context.now) {
            return Some(step);
        }
        if self.wait_until.is_some() {
            return None;
        }
        let is_blank = self.record.as_ref().is_some_and(Record::is_blank);
        if is_blank && !self.is_telling() {
            return command(Command::Release);
        }
        let is_vacated = self.record.as_ref().is_some_and(|record| !record.is_occupied);
        self.wait(if is_vacated {
            self.later(context.now)
        } else {
            due.max(context.now + PAUSE / 4)
        })
    }

    /// When others are looked at again: where events are with the backend, their end comes first.
    fn later(&self, now: Instant) -> Instant {
        now + if self.is_telling() { LONG_PAUSE } else { PAUSE }
    }

    fn next_alone(&mut self, context: &Context) -> Option<Step> {
        self.is_held = true;
        let ended = std::mem::take(&mut self.ended);
        if let Some(record) = &mut self.record {
            record.pending.retain(|number, _| !ended.contains(number));
        }
        if self.wait_until.is_some_and(|until| until > context.now) {
            return None;
        }
        self.wait_until = None;
        if matches!(self.place, Place::Here { .. }) {
            return self.write(context, false);
        }
        let due = *self.empty_since.get_or_insert(context.now) + context.vacated_delay;
        let step = self.write(context, due <= context.now);
        if step.is_some() || self.is_telling() {
            return step;
        }
        match self.record.as_ref().is_some_and(Record::is_blank) {
            true => Some(Step::Forget),
            false => self.wait(due.max(context.now + PAUSE / 4)),
        }
    }

    fn wait(&mut self, until: Instant) -> Option<Step> {
        self.wait_until = Some(until);
        None
    }

    /// The version of the record that need not be read again. Who sends its events may change without
    /// the version.
    fn known(&self) -> Version {
        let known = self.record.as_ref().filter(|record| record.sender.is_none());
        known.map(|record| record.version.clone()).unwrap_or_default()
    }

    /// Writes the record again that Redis lost.
    fn restore(&mut self, pod: &str) -> Option<Step> {
        let (over, record) = (self.lost.take()?, self.record.as_ref()?);
        let mut record = record.clone();
        record.version = record.version.next(pod);
        if record.sender.as_deref() != Some(pod) {
            record.pending.clear();
            record.sender = None;
        }
        let version = record.version.clone();
        write(over, version, None, Content::Whole(record))
    }

    /// Writes what the backend is to be told next. Where others are to be waited for, it says until
    /// when.
    fn write(&mut self, context: &Context, may_vacate: bool) -> Option<Step> {
        let record = self.record.as_ref()?;
        let (version, next) = (record.version.clone(), record.version.next(context.pod));
        let sender = record.sender.as_deref().filter(|sender| *sender != context.pod);
        if let Some(sender) = sender
            && context.gone.contains(sender)
        {
            return write(version, next, Some(sender.to_owned()), Content::Sender);
        }
        let change = self.decide(context, may_vacate)?;
        if sender.is_some() {
            self.must_load = true;
            return self.wait(context.now + 2 * PAUSE);
        }
        if context.space == 0 || self.has_unsent() {
            return Some(Step::AwaitSpace);
        }
        write(version, next, None, Content::Change(change))
    }

    pub(super) fn decide(&self, context: &Context, may_vacate: bool) -> Option<Change> {
        let record = self.record.as_ref()?;
        let is_confirmed = |key: &&OccupantKey| !self.unconfirmed.contains(*key);
        let mut differing: Vec<OccupantKey> = match context.hooks.has_members() {
            true => self.differing.iter().filter(is_confirmed).cloned().collect(),
            false => record.members.keys().cloned().collect(),
        };
        differing.sort_unstable();
        record.decide(Situation {
            key: context.key,
            present: &self.present,
            differing,
            is_occupied: self.present.keys().any(|key| is_confirmed(&key)),
            hooks: context.hooks,
            may_vacate,
            limit: context.space.max(1),
            at: context.at,
        })
    }
}

fn command(command: Command) -> Option<Step> {
    Some(Step::Command(command))
}

fn write(
    expected: Version,
    version: Version,
    takes_from: Option<String>,
    content: Content,
) -> Option<Step> {
    command(Command::Write(Box::new(RecordWrite { expected, version, takes_from, content })))
}
