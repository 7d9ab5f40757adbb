//! What becomes of the steps of a [`HookedRoom`].

use std::time::Instant;

use super::next::PAUSE;
use super::{
    Content, Context, DOUBTS, HookedRoom, Place, RecordWrite, Surroundings, Survey, TRUST,
    ViewState,
};
use crate::rooms::hooks::record::{Change, Record, Version};
use crate::rooms::presence::occupant::OccupantKey;

impl HookedRoom {
    /// The room is in this instance's list, or it is not any more.
    pub fn held(&mut self, is_held: bool) {
        self.is_under_way = false;
        self.is_held = is_held;
        self.is_released = !is_held && !self.must_stay;
    }

    /// The record was read; `None`: it is of the known version.
    pub fn loaded(&mut self, read: Option<Record>, context: &Context) {
        self.is_under_way = false;
        self.take_record(read, context);
        let Place::Here { is_first, .. } = self.place else { return };
        let sender = self.record.as_ref().and_then(|record| record.sender.as_ref());
        let is_taken = sender.is_some_and(|sender| context.gone.contains(sender));
        let differs = self.decide(context, false).is_some();
        self.doubts = match (is_first, is_taken, differs) {
            (false, true, _) => DOUBTS,
            (false, false, true) => (self.doubts + 1).min(DOUBTS),
            _ => 0,
        };
        if !is_first && !self.is_idle_sender(context.pod) {
            self.know_nothing();
        }
    }

    /// Other instances' occupants were read, and before them the record.
    pub fn surveyed(&mut self, survey: Survey, context: &Context) {
        self.is_under_way = false;
        self.must_stay = false;
        self.take_record(survey.record, context);
        if !matches!(self.place, Place::Away(_)) {
            return;
        }
        let may_live = |pod: &str| pod != context.pod && !context.gone.contains(pod);
        let pods = survey.pods.into_iter().filter(|(pod, _)| may_live(pod));
        self.present = pods.flat_map(|(_, of_pod)| of_pod.occupants).collect();
        self.compare_all();
        self.note_empty(context.now);
        let has_others = !self.present.is_empty();
        self.place = Place::Away(Some(Surroundings { is_held: survey.is_held, has_others }));
    }

    /// The record was written; `Some`: it was not, as Redis has another one.
    pub fn written(&mut self, write: RecordWrite, other: Option<Record>, context: &Context) {
        self.is_under_way = false;
        if other.is_some() {
            return self.take_record(other, context);
        }
        self.confirmed_at = context.now;
        let RecordWrite { version, content, .. } = write;
        match content {
            Content::Change(change) => self.changed(&version, &change, context.pod),
            Content::Whole(record) => self.record = Some(record),
            Content::Sender => match &mut self.record {
                Some(record) => {
                    (record.version, record.sender) = (version, Some(context.pod.to_owned()));
                    let pending = record.pending.iter();
                    let new = pending.filter(|(number, _)| !self.sending.contains(number));
                    self.unsent.extend(new.map(|(number, event)| (*number, event.clone())));
                }
                // The room became another instance's to follow meanwhile. Its events are this one's.
                None => self.must_load = true,
            },
        }
        self.compare_all_after();
    }

    fn changed(&mut self, version: &Version, change: &Change, pod: &str) {
        // Also where the room is not this instance's to follow any more: its events are.
        self.unsent.extend((version.first_event()..).zip(change.events.iter().cloned()));
        let Some(record) = &mut self.record else { return };
        record.apply(change, pod);
        change.left.iter().for_each(|key| self.compare(key));
        change.joined.iter().for_each(|occupant| self.compare(&occupant.key));
    }

    fn compare_all_after(&mut self) {
        if self.record.is_none() {
            self.differing.clear();
        }
        if self.differing.is_empty() {
            self.doubts = 0;
        }
    }

    /// Events were removed from the record.
    pub fn cleared(&mut self, events: &[u64], pod: &str) {
        self.is_under_way = false;
        for number in events {
            self.ended.remove(number);
            if let Some(record) = &mut self.record {
                record.pending.remove(number);
            }
        }
        if !self.is_telling() {
            self.wait_until = None;
        }
        let is_telling = self.is_telling() || self.is_unsure;
        let is_mine = |record: &&mut Record| record.sender.as_deref() == Some(pod);
        if let Some(record) = self.record.as_mut().filter(is_mine)
            && !is_telling
        {
            record.sender = None;
        }
        if let Place::Here { is_first: false, .. } = self.place {
            self.know_nothing();
        }
    }

    /// Whether Redis says that this instance sends events, and there are none.
    pub(super) fn is_idle_sender(&self, pod: &str) -> bool {
        let is_mine = |record: &&Record| record.sender.as_deref() == Some(pod);
        let record = self.record.as_ref().filter(is_mine);
        record.is_some_and(|record| record.pending.is_empty())
            && !self.is_telling()
            && !self.is_unsure
    }

    /// The step failed, and is tried again.
    pub fn failed(&mut self, now: Instant) {
        self.is_under_way = false;
        self.must_load = true;
        self.is_unsure = true;
        self.is_held = false;
        self.failed_until = Some(now + PAUSE / 2);
    }

    /// Takes the record that Redis has, unless it is older than the one known: then Redis lost it.
    fn take_record(&mut self, read: Option<Record>, context: &Context) {
        let is_trusted = context.now.saturating_duration_since(self.confirmed_at) < TRUST;
        if let (Some(read), Some(known)) = (&read, &self.record)
            && is_trusted
            && read.version.number < known.version.number
        {
            self.lost = Some(read.version.clone());
            return;
        }
        self.confirmed_at = context.now;
        self.is_unsure = false;
        let Some(read) = read else { return };
        if read.sender.as_deref() == Some(context.pod) {
            let is_new =
                |number: &u64| !self.sending.contains(number) && !self.ended.contains(number);
            let new = read.pending.iter().filter(|(number, _)| is_new(number));
            self.unsent.extend(new.map(|(number, event)| (*number, event.clone())));
        }
        self.record = Some(read);
        self.lost = None;
        self.compare_all();
        let is_told = |key: &OccupantKey| {
            self.record.as_ref().is_some_and(|record| record.members.contains_key(key))
        };
        if matches!(self.place, Place::Here { .. }) && self.differing.iter().any(is_told) {
            self.view = ViewState::Doubtful;
        }
    }
}
