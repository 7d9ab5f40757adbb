//! The [`EventQueue`] of one client: its events are handled one after the other, in the order in
//! which they were sent. Pure: the caller handles what it is given.

use std::collections::VecDeque;

use rookery_protocol::Data;

/// Events of one client that may wait for an earlier one.
const CAPACITY: usize = 256;

/// An event as the client sent it.
pub struct Event {
    /// The event's name.
    pub name: String,
    /// The event's arguments.
    pub args: Vec<Data>,
    /// The id of the acknowledgement that the client asked for.
    pub ack: Option<u64>,
}

/// The order of one client's connect, events and disconnect.
pub struct EventQueue {
    phase: Phase,
    waiting: VecDeque<Event>,
    /// A step is under way that must end before the next one begins.
    busy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The namespace has not accepted the client yet; its events wait.
    Connecting,
    Connected,
    /// The client is gone; its last events are handled before its disconnect.
    Closing,
    Closed,
}

/// What becomes of a new event.
pub enum Push {
    /// The caller handles it now, then calls [`EventQueue::next_step`].
    Handle(Event),
    /// It waits for an earlier event, or was discarded because the client is gone.
    Done,
    /// Too many events wait.
    Full(Event),
}

/// What the caller does next, now that the step before has ended.
pub enum Step {
    /// It handles this event.
    Event(Event),
    /// It removes the client from its shard.
    Disconnect,
    /// Nothing, until the next event comes.
    Idle,
}

impl EventQueue {
    /// The queue of a client that its namespace has not accepted yet.
    pub fn new() -> Self {
        EventQueue { phase: Phase::Connecting, waiting: VecDeque::new(), busy: true }
    }

    /// The namespace accepted the client. The caller adds it to its shard, then calls
    /// [`EventQueue::next_step`]. False: the client is gone already.
    pub fn connect(&mut self) -> bool {
        let connecting = self.phase == Phase::Connecting;
        if connecting {
            self.phase = Phase::Connected;
        }
        connecting
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event) -> Push {
        if self.is_closed() {
            return Push::Done;
        }
        if !self.busy {
            self.busy = true;
            return Push::Handle(event);
        }
        if self.waiting.len() >= CAPACITY {
            return Push::Full(event);
        }
        self.waiting.push_back(event);
        Push::Done
    }

    /// The step before has ended.
    pub fn next_step(&mut self) -> Step {
        if let Some(event) = self.waiting.pop_front() {
            return Step::Event(event);
        }
        if self.phase == Phase::Closing {
            self.phase = Phase::Closed;
            return Step::Disconnect;
        }
        self.busy = false;
        Step::Idle
    }

    /// Whether the step before was the last for now; if so it has ended.
    pub fn try_idle(&mut self) -> bool {
        let idle = self.waiting.is_empty() && self.phase != Phase::Closing;
        if idle {
            self.busy = false;
        }
        idle
    }

    /// The client is gone. True: the caller removes it from its shard now. False: that is the
    /// last step of whoever is handling its events, was done before, or the client was never
    /// added.
    pub fn close(&mut self) -> bool {
        match self.phase {
            Phase::Connected if self.busy => {
                self.phase = Phase::Closing;
                false
            }
            Phase::Connected => {
                self.phase = Phase::Closed;
                true
            }
            Phase::Connecting => {
                self.phase = Phase::Closed;
                false
            }
            Phase::Closing | Phase::Closed => false,
        }
    }

    /// Whether the client is gone.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> Event {
        Event { name: name.into(), args: Vec::new(), ack: None }
    }

    fn next(queue: &mut EventQueue) -> String {
        match queue.next_step() {
            Step::Event(event) => event.name,
            Step::Disconnect => "disconnect".into(),
            Step::Idle => "idle".into(),
        }
    }

    #[test]
    fn events_wait_until_the_client_is_connected() {
        let mut queue = EventQueue::new();
        assert!(matches!(queue.push(event("early")), Push::Done));
        assert!(queue.connect());
        assert_eq!(next(&mut queue), "early");
        assert_eq!(next(&mut queue), "idle");
        assert!(matches!(queue.push(event("late")), Push::Handle(_)));
    }

    #[test]
    fn a_disconnect_does_not_overtake_a_connect_that_waits_for_the_shard() {
        let mut queue = EventQueue::new();
        assert!(queue.connect());
        assert!(!queue.close(), "the connect is still under way");
        assert_eq!(next(&mut queue), "disconnect");
        assert_eq!(next(&mut queue), "idle");
    }

    #[test]
    fn a_disconnect_follows_the_events_that_came_before_it() {
        let mut queue = EventQueue::new();
        assert!(queue.connect() && queue.try_idle());
        assert!(matches!(queue.push(event("join")), Push::Handle(_)));
        assert!(matches!(queue.push(event("publish")), Push::Done));
        assert!(!queue.close());
        assert!(matches!(queue.push(event("after the end")), Push::Done));
        assert!(!queue.try_idle());
        assert_eq!(next(&mut queue), "publish");
        assert_eq!(next(&mut queue), "disconnect");
    }

    #[test]
    fn a_client_is_disconnected_once() {
        let mut queue = EventQueue::new();
        assert!(queue.connect() && queue.try_idle());
        assert!(queue.close());
        assert!(!queue.close());
    }

    #[test]
    fn a_client_that_was_never_accepted_is_neither_added_nor_removed() {
        let mut queue = EventQueue::new();
        assert!(!queue.close());
        assert!(!queue.connect());
    }

    #[test]
    fn a_full_queue_returns_the_event() {
        let mut queue = EventQueue::new();
        for _ in 0..CAPACITY {
            assert!(matches!(queue.push(event("waits")), Push::Done));
        }
        assert!(matches!(queue.push(event("one too many")), Push::Full(_)));
    }
}
