//! [`Load`]: which publications are on their way, and what has arrived.

use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use rookery_protocol::Data;
use rookery_protocol::packet;

/// The event that publications are.
const EVENT: &str = "b";

/// A publication's number, as hexadecimal digits at the start of the payload.
const DIGITS: usize = 12;

/// The smallest payload: its number.
pub(super) const MIN_PAYLOAD: usize = DIGITS;

/// At least so many publications are remembered.
const MIN_REMEMBERED: usize = 1 << 16;

/// The largest latency that is told apart; longer ones count as this one.
const MAX_LATENCY: Duration = Duration::from_secs(60 * 60);

/// How fast to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many publications in each room at once; when every member has them all, again.
    InFlight(usize),
    /// So many publications a second, in one room after the other.
    Rate(f64),
}

/// What was counted since the last reset.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    /// Publications sent.
    pub(super) publications: u64,
    /// Deliveries received.
    pub(super) deliveries: u64,
    /// Deliveries that nobody was waiting for: twice, or of another generator.
    pub(super) unexpected: u64,
    /// Deliveries given up, because too many publications came after theirs.
    pub(super) missing: u64,
    /// Nanoseconds from the publication to each delivery.
    latency: Histogram<u64>,
}

impl Counts {
    fn new() -> Self {
        Counts {
            publications: 0,
            deliveries: 0,
            unexpected: 0,
            missing: 0,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY.as_nanos() as u64, 3)
                .expect("the constants are within the limits of a histogram"),
        }
    }

    fn delivered(&mut self, latency: Duration) {
        self.deliveries += 1;
        self.latency.saturating_record(latency.as_nanos() as u64);
    }

    /// The latency that `quantile` (0 to 1) of all deliveries do not exceed, to 0.1 %.
    pub(super) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }
}

/// A publication on its way.
#[derive(Clone)]
struct Slot {
    number: u64,
    room: usize,
    sent: Instant,
    /// Members that have not received it.
    remaining: usize,
}

/// A room, and its members by their position in the swarm.
struct Room {
    members: Range<usize>,
    /// Members that are gone.
    lost: usize,
    /// Publications that have not reached all.
    open: usize,
    /// The member that publishes next.
    turn: usize,
    message: Message,
}

/// A text with a place for a publication's number.
#[derive(Clone)]
struct Message {
    text: Vec<u8>,
    at: usize,
}

/// The publications of all rooms.
pub(super) struct Load {
    slots: Vec<Slot>,
    next: u64,
    rooms: Vec<Room>,
    /// What a delivery starts with, before its number.
    prefix: Vec<u8>,
    /// Rooms in which everything has arrived.
    due: Vec<usize>,
    pub(super) counts: Counts,
}

/// How the rooms are made.
pub(super) struct Shape<'a> {
    pub(super) clients: usize,
    pub(super) rooms: usize,
    pub(super) room_prefix: &'a str,
    pub(super) namespace: &'a str,
    pub(super) payload: usize,
    pub(super) in_flight: usize,
    /// Messages for the HTTP API, not for a member.
    pub(super) api: bool,
}

impl Load {
    pub(super) fn new(shape: &Shape) -> Self {
        let remembered =
            (shape.rooms * shape.in_flight * 2).max(MIN_REMEMBERED).next_power_of_two();
        let idle = Slot { number: u64::MAX, room: 0, sent: Instant::now(), remaining: 0 };
        let (delivery, _) = packet::encode_event(shape.namespace, None, EVENT, &[Data::from("")]);
        let delivery = format!("4{delivery}");
        let prefix = delivery.strip_suffix("\"]").expect("an event with an empty text ends so");
        Load {
            slots: vec![idle; remembered],
            next: 0,
            rooms: (0..shape.rooms)
                .map(|index| Room {
                    members: members(index, shape.clients, shape.rooms),
                    lost: 0,
                    open: 0,
                    turn: 0,
                    message: message(shape, &room_name(shape.room_prefix, index)),
                })
                .collect(),
            prefix: prefix.as_bytes().to_vec(),
            due: Vec::new(),
            counts: Counts::new(),
        }
    }

    /// Takes a text frame; false when it is no publication.
    pub(super) fn take(&mut self, frame: &[u8], now: Instant) -> bool {
        let Some(number) = frame
            .strip_prefix(self.prefix.as_slice())
            .and_then(|rest| rest.get(..DIGITS))
            .and_then(number)
        else {
            return false;
        };
        let mask = self.slots.len() as u64 - 1;
        let slot = &mut self.slots[(number & mask) as usize];
        if slot.number != number || slot.remaining == 0 {
            self.counts.unexpected += 1;
            return true;
        }
        self.counts.delivered(now.saturating_duration_since(slot.sent));
        slot.remaining -= 1;
        if slot.remaining == 0 {
            let room = slot.room;
            self.rooms[room].open -= 1;
            if self.rooms[room].open == 0 {
                self.due.push(room);
            }
        }
        true
    }

    /// Opens a publication in `room` and appends its text to `out`.
    pub(super) fn publish(&mut self, room: usize, now: Instant, out: &mut Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let mask = self.slots.len() as u64 - 1;
        let slot = &mut self.slots[(number & mask) as usize];
        if slot.remaining > 0 {
            self.counts.missing += slot.remaining as u64;
            self.rooms[slot.room].open -= 1;
        }
        let at = &mut self.rooms[room];
        let remaining = at.members.len() - at.lost;
        *slot = Slot { number, room, sent: now, remaining };
        at.open += usize::from(remaining > 0);
        self.counts.publications += 1;
        let start = out.len();
        out.extend_from_slice(&at.message.text);
        write_number(&mut out[start + at.message.at..][..DIGITS], number);
    }

    /// The member whose turn it is to publish in `room`.
    pub(super) fn publisher(&mut self, room: usize) -> usize {
        let room = &mut self.rooms[room];
        room.turn = (room.turn + 1) % room.members.len();
        room.members.start + room.turn
    }

    /// A room in which everything has arrived, once.
    pub(super) fn due(&mut self) -> Option<usize> {
        self.due.pop()
    }

    /// A member is gone; later publications do not wait for it.
    pub(super) fn lose(&mut self, room: usize) {
        self.rooms[room].lost += 1;
    }

    /// Deliveries that have not come.
    pub(super) fn outstanding(&self) -> usize {
        self.slots.iter().map(|slot| slot.remaining).sum()
    }

    /// Counts anew; what is on its way stays so.
    pub(super) fn reset(&mut self) {
        self.counts = Counts::new();
    }
}

/// The name of the room with this number.
pub(super) fn room_name(prefix: &str, index: usize) -> String {
    format!("{prefix}-{index}")
}

/// The members of a room: an even share of all clients.
pub(super) fn members(room: usize, clients: usize, rooms: usize) -> Range<usize> {
    room * clients / rooms..(room + 1) * clients / rooms
}

fn message(shape: &Shape, room: &str) -> Message {
    // What no room's name holds, so that its place can be found.
    let mark = "#".repeat(DIGITS);
    let payload = format!("{mark}{}", "x".repeat(shape.payload - DIGITS));
    let text = if shape.api {
        let body = serde_json::json!({
            "namespace": shape.namespace, "room": room, "event": EVENT, "args": [payload],
        });
        body.to_string()
    } else {
        let request = Data::Object(vec![
            ("room".to_owned(), Data::from(room)),
            ("event".to_owned(), Data::from(EVENT)),
            ("data".to_owned(), Data::from(payload)),
        ]);
        format!("4{}", packet::encode_event(shape.namespace, None, "publish", &[request]).0)
    };
    let at = text.rfind(&mark).expect("the text holds the payload, which starts with the mark");
    Message { text: text.into_bytes(), at }
}

fn write_number(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

/// How long until the next publication of a steady pace.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    per_second: f64,
    sent: u64,
}

impl Clock {
    pub(super) fn new(per_second: f64) -> Self {
        Clock { start: Instant::now(), per_second, sent: 0 }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.sent as f64 / self.per_second)
    }

    /// Takes the next one, where it is due: its position in the sequence.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        (self.next() <= now).then(|| {
            self.sent += 1;
            self.sent - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(api: bool) -> Shape<'static> {
        Shape {
            clients: 5,
            rooms: 2,
            room_prefix: "r##",
            namespace: "/n",
            payload: 20,
            in_flight: 2,
            api,
        }
    }

    #[test]
    fn clients_are_divided_evenly() {
        let sizes: Vec<_> = (0..3).map(|room| members(room, 10, 3).len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 10);
        assert!(sizes.iter().all(|size| (3..=4).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_room_is_due_when_every_member_has_everything() {
        let mut load = Load::new(&shape(false));
        let now = Instant::now();
        let mut text = Vec::new();
        load.publish(0, now, &mut text);
        load.publish(0, now, &mut Vec::new());
        assert_eq!(
            String::from_utf8(text).unwrap(),
            r#"42/n,["publish",{"room":"r##-0","event":"b","data":"000000000000xxxxxxxx"}]"#
        );
        let delivery = |n| format!(r#"42/n,["b","00000000000{n}xxxxxxxx"]"#).into_bytes();
        for round in 0..2 {
            assert_eq!(load.due(), None);
            assert!(load.take(&delivery(0), now));
            assert!(load.take(&delivery(1), now), "{round}");
        }
        assert_eq!(load.due(), Some(0));
        assert_eq!(load.due(), None);
        assert_eq!((load.counts.deliveries, load.counts.unexpected), (4, 0));
        assert!(load.take(&delivery(1), now));
        assert_eq!((load.counts.deliveries, load.counts.unexpected), (4, 1));
        assert!(!load.take(b"43/n,0[]", now));
        assert!(!load.take(br#"42/n,["b","zz"]"#, now));
    }

    #[test]
    fn what_is_forgotten_is_missing() {
        let mut load = Load::new(&shape(false));
        let mut out = Vec::new();
        for _ in 0..MIN_REMEMBERED + 3 {
            out.clear();
            load.publish(1, Instant::now(), &mut out);
        }
        assert_eq!(load.counts.missing, 3 * 3);
        assert_eq!(load.outstanding(), MIN_REMEMBERED * 3);
    }

    #[test]
    fn the_api_gets_json_with_the_number_in_its_place() {
        let mut load = Load::new(&shape(true));
        load.next = 0xab;
        let mut text = Vec::new();
        load.publish(1, Instant::now(), &mut text);
        let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(body["args"][0], "0000000000abxxxxxxxx");
        assert_eq!(body["room"], "r##-1");
        assert_eq!(body["namespace"], "/n");
    }

    #[test]
    fn latency_quantiles_are_exact_to_a_thousandth() {
        let mut counts = Counts::new();
        assert_eq!(counts.latency(0.99), Duration::ZERO);
        for millis in 1..=1000 {
            counts.delivered(Duration::from_millis(millis));
        }
        for (quantile, exact) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = counts.latency(quantile).as_secs_f64() * 1e3;
            assert!(found >= exact && found <= exact * 1.001, "{quantile}: {found}");
        }
        counts.delivered(MAX_LATENCY * 2);
        assert!(counts.latency(1.0) >= MAX_LATENCY);
    }

    #[test]
    fn a_clock_gives_each_once() {
        let mut clock = Clock::new(1000.0);
        let start = clock.start;
        assert_eq!(clock.take(start), Some(0));
        assert_eq!(clock.take(start), None);
        assert_eq!(clock.take(start + Duration::from_millis(1)), Some(1));
    }
}
