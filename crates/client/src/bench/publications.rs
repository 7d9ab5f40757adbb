//! [`Publications`]: those in flight, and the deliveries that they still expect.

use std::ops::Range;
use std::time::Instant;

use super::counts::Counts;
use super::plan::MIN_PAYLOAD;
use rookery_protocol::Data;
use rookery_protocol::packet;

/// The event that is published.
const EVENT: &str = "b";

/// Hexadecimal digits of a publication's number, at the start of its payload.
const DIGITS: usize = MIN_PAYLOAD;

/// The least number of publications that are remembered.
const MIN_REMEMBERED: usize = 1 << 16;

/// A publication in flight.
#[derive(Clone)]
struct Publication {
    number: u64,
    room: usize,
    sent: Instant,
    /// Members that have not received it.
    remaining: usize,
}

/// A room, and its members by their index in the swarm.
struct Room {
    members: Range<usize>,
    /// Members whose connection was lost.
    lost: usize,
    /// Publications that have not reached every member.
    in_flight: usize,
    /// The offset in `members` of the last publisher.
    publisher: usize,
    template: Template,
}

/// The text of a publication, but for its number.
#[derive(Clone)]
struct Template {
    text: Vec<u8>,
    /// Where the number belongs.
    offset: usize,
}

/// The publications of all rooms.
pub(super) struct Publications {
    /// A ring, by number.
    remembered: Vec<Publication>,
    next: u64,
    rooms: Vec<Room>,
    /// What a delivery starts with, before its number.
    prefix: Vec<u8>,
    /// Rooms in which every publication has reached every member.
    complete: Vec<usize>,
    pub(super) counts: Counts,
}

/// How clients and rooms are laid out, and what is published.
pub(super) struct Layout<'a> {
    pub(super) clients: usize,
    pub(super) rooms: usize,
    pub(super) room_prefix: &'a str,
    pub(super) namespace: &'a str,
    /// The size of each publication's argument, in bytes.
    pub(super) payload: usize,
    /// Whether it looks like JSON, instead of one letter over and over.
    pub(super) records: bool,
    /// The most publications in flight in each room.
    pub(super) in_flight: usize,
    /// Whether publications are bodies for the HTTP API, or packets of a member.
    pub(super) api: bool,
}

impl Publications {
    pub(super) fn new(layout: &Layout) -> Self {
        let remembered =
            (layout.rooms * layout.in_flight * 2).max(MIN_REMEMBERED).next_power_of_two();
        let none = Publication { number: u64::MAX, room: 0, sent: Instant::now(), remaining: 0 };
        let (delivery, _) = packet::encode_event(layout.namespace, None, EVENT, &[Data::from("")]);
        let delivery = format!("4{delivery}");
        let prefix = delivery.strip_suffix("\"]").expect("an event with an empty text ends so");
        Publications {
            remembered: vec![none; remembered],
            next: 0,
            rooms: (0..layout.rooms)
                .map(|index| Room {
                    members: members(index, layout.clients, layout.rooms),
                    lost: 0,
                    in_flight: 0,
                    publisher: 0,
                    template: Template::new(layout, &room_name(layout.room_prefix, index)),
                })
                .collect(),
            prefix: prefix.as_bytes().to_vec(),
            complete: Vec::new(),
            counts: Counts::new(),
        }
    }

    /// Appends a new publication for `room` to `out`.
    pub(super) fn publish(&mut self, room: usize, now: Instant, out: &mut Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let mask = self.remembered.len() as u64 - 1;
        let place = &mut self.remembered[(number & mask) as usize];
        if place.remaining > 0 {
            self.counts.missing += place.remaining as u64;
            self.rooms[place.room].in_flight -= 1;
        }
        let target = &mut self.rooms[room];
        let remaining = target.members.len() - target.lost;
        *place = Publication { number, room, sent: now, remaining };
        target.in_flight += usize::from(remaining > 0);
        self.counts.publications += 1;
        target.template.append(number, out);
    }

    /// Counts the delivery in a text frame; `false` when the frame holds none.
    pub(super) fn receive(&mut self, frame: &[u8], now: Instant) -> bool {
        let Some(number) = frame
            .strip_prefix(self.prefix.as_slice())
            .and_then(|rest| rest.get(..DIGITS))
            .and_then(parse_number)
        else {
            return false;
        };
        let mask = self.remembered.len() as u64 - 1;
        let publication = &mut self.remembered[(number & mask) as usize];
        if publication.number != number || publication.remaining == 0 {
            self.counts.unexpected += 1;
            return true;
        }
        self.counts.record_delivery(now.saturating_duration_since(publication.sent));
        publication.remaining -= 1;
        if publication.remaining == 0 {
            let room = publication.room;
            self.rooms[room].in_flight -= 1;
            if self.rooms[room].in_flight == 0 {
                self.complete.push(room);
            }
        }
        true
    }

    /// The next member of `room`, round-robin, to publish.
    pub(super) fn next_publisher(&mut self, room: usize) -> usize {
        let room = &mut self.rooms[room];
        room.publisher = (room.publisher + 1) % room.members.len();
        room.members.start + room.publisher
    }

    /// Takes a room in which every publication has reached every member.
    pub(super) fn take_complete(&mut self) -> Option<usize> {
        self.complete.pop()
    }

    /// Expects one member of `room` less for later publications.
    pub(super) fn remove_member(&mut self, room: usize) {
        self.rooms[room].lost += 1;
    }

    /// The number of deliveries that have not arrived.
    pub(super) fn outstanding(&self) -> usize {
        self.remembered.iter().map(|publication| publication.remaining).sum()
    }

    /// Sets the counts to zero; publications in flight stay in flight.
    pub(super) fn reset(&mut self) {
        self.counts = Counts::new();
    }
}

/// The name of the room at `index`.
pub(super) fn room_name(prefix: &str, index: usize) -> String {
    format!("{prefix}-{index}")
}

/// The members of a room: an even share of the clients.
pub(super) fn members(room: usize, clients: usize, rooms: usize) -> Range<usize> {
    room * clients / rooms..(room + 1) * clients / rooms
}

/// The room of a client: the one whose [`members`] include it.
pub(super) fn room_of(client: usize, clients: usize, rooms: usize) -> usize {
    ((client + 1) * rooms - 1) / clients
}

impl Template {
    fn new(layout: &Layout, room: &str) -> Self {
        let placeholder = "#".repeat(DIGITS);
        let rest = layout.payload - DIGITS;
        let rest = if layout.records { records(rest) } else { "x".repeat(rest) };
        let payload = format!("{placeholder}{rest}");
        let text = if layout.api {
            let body = serde_json::json!({
                "namespace": layout.namespace, "room": room, "event": EVENT, "args": [payload],
            });
            body.to_string()
        } else {
            let request = Data::Object(vec![
                ("room".into(), Data::from(room)),
                ("event".into(), Data::from(EVENT)),
                ("data".into(), Data::from(payload)),
            ]);
            format!("4{}", packet::encode_event(layout.namespace, None, "publish", &[request]).0)
        };
        // The last one: the room's name may contain it, too.
        let offset = text.rfind(&placeholder).expect("the payload starts with the placeholder");
        Template { text: text.into_bytes(), offset }
    }

    fn append(&self, mut number: u64, out: &mut Vec<u8>) {
        let start = out.len() + self.offset;
        out.extend_from_slice(&self.text);
        for digit in out[start..][..DIGITS].iter_mut().rev() {
            *digit = b"0123456789abcdef"[(number & 15) as usize];
            number >>= 4;
        }
    }
}

/// Text of so many bytes that looks like a list of records, without the quotes, which would be two
/// bytes each in JSON. DEFLATE makes about a fourth of it.
fn records(length: usize) -> String {
    let (mut text, mut state) = (String::with_capacity(length + 64), 1u32);
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (id, score) = (state >> 12, state >> 20);
        text.push_str(&format!("{{id:{id},user:user-{score},done:false,text:hello}},"));
    }
    text.truncate(length);
    text
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(api: bool) -> Layout<'static> {
        Layout {
            clients: 5,
            rooms: 2,
            room_prefix: "r##",
            namespace: "/n",
            payload: 20,
            records: false,
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
    fn a_client_is_a_member_of_its_room() {
        for (clients, rooms) in [(1, 1), (10, 3), (7, 7), (1000, 999), (64, 5)] {
            for client in 0..clients {
                let room = room_of(client, clients, rooms);
                assert!(members(room, clients, rooms).contains(&client), "{client} of {clients}");
            }
        }
    }

    #[test]
    fn a_room_is_complete_when_every_member_has_every_publication() {
        let mut publications = Publications::new(&layout(false));
        let now = Instant::now();
        let mut text = Vec::new();
        publications.publish(0, now, &mut text);
        publications.publish(0, now, &mut Vec::new());
        assert_eq!(
            String::from_utf8(text).unwrap(),
            r#"42/n,["publish",{"room":"r##-0","event":"b","data":"000000000000xxxxxxxx"}]"#
        );
        let delivery = |n| format!(r#"42/n,["b","00000000000{n}xxxxxxxx"]"#).into_bytes();
        for round in 0..2 {
            assert_eq!(publications.take_complete(), None);
            assert!(publications.receive(&delivery(0), now));
            assert!(publications.receive(&delivery(1), now), "{round}");
        }
        assert_eq!(publications.take_complete(), Some(0));
        assert_eq!(publications.take_complete(), None);
        let counts = |publications: &Publications| {
            (publications.counts.deliveries, publications.counts.unexpected)
        };
        assert_eq!(counts(&publications), (4, 0));
        assert!(publications.receive(&delivery(1), now));
        assert_eq!(counts(&publications), (4, 1));
        assert!(!publications.receive(b"43/n,0[]", now));
        assert!(!publications.receive(br#"42/n,["b","zz"]"#, now));
    }

    #[test]
    fn deliveries_of_a_forgotten_publication_are_missing() {
        let mut publications = Publications::new(&layout(false));
        let mut out = Vec::new();
        for _ in 0..MIN_REMEMBERED + 3 {
            out.clear();
            publications.publish(1, Instant::now(), &mut out);
        }
        assert_eq!(publications.counts.missing, 3 * 3);
        assert_eq!(publications.outstanding(), MIN_REMEMBERED * 3);
    }

    #[test]
    fn records_have_the_size_that_is_asked_for_and_become_smaller() {
        for length in [0, 1, 100, 2_036] {
            assert_eq!(records(length).len(), length);
        }
        let compressed = rookery_protocol::frames::compress(records(2_036).as_bytes());
        let share = compressed.unwrap().len() * 100 / 2_036;
        assert!((15..45).contains(&share), "{share} %");
    }

    #[test]
    fn the_body_for_the_api_holds_the_publication_s_number() {
        let mut publications = Publications::new(&layout(true));
        publications.next = 0xab;
        let mut text = Vec::new();
        publications.publish(1, Instant::now(), &mut text);
        let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(body["args"][0], "0000000000abxxxxxxxx");
        assert_eq!(body["room"], "r##-1");
        assert_eq!(body["namespace"], "/n");
    }
}
