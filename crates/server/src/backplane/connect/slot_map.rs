//! The [`SlotMap`]: which node of a Redis Cluster owns which hash slot (Redis documentation, "Redis
//! cluster specification", section "Key distribution model"). Pure.

use std::collections::BTreeSet;
use std::fmt;

use crc::{CRC_16_XMODEM, Crc};
use redis::Value;

/// The number of hash slots of every Cluster.
pub const SLOTS: u16 = 16_384;

/// What stands in [`SlotMap::owners`] for a slot without an owner.
const NOBODY: u16 = u16::MAX;

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key or of a sharded channel: of what stands between its first `{` and the next `}`,
/// where there is something, else of the whole name (section "Hash tags").
pub fn slot_of(name: &[u8]) -> u16 {
    let tag = name.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &name[open + 1..];
        let length = rest.iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?;
        Some(&rest[..length])
    });
    CRC.checksum(tag.unwrap_or(name)) % SLOTS
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an address; one of IPv6 without brackets.
    pub host: String,
    /// The port for clients.
    pub port: u16,
}

impl Address {
    /// Reads the address in a MOVED or ASK error, `host:port`. `asked` is the node that said it: an
    /// empty host is its own (section "MOVED Redirection").
    pub fn read(text: &str, asked: &Address) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { &asked.host } else { host };
        Some(Address { host: host.to_owned(), port: port.parse().ok()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Who owns each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMap {
    /// The primaries that own a slot, in the order of their first one, and those that MOVED named.
    primaries: Vec<Address>,
    /// For each slot the position of its owner in `primaries`, or [`NOBODY`].
    owners: Box<[u16]>,
    /// Primaries and replicas.
    nodes: BTreeSet<Address>,
}

impl Default for SlotMap {
    fn default() -> Self {
        let owners = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
        SlotMap { primaries: Vec::new(), owners, nodes: BTreeSet::new() }
    }
}

impl SlotMap {
    /// Reads the answer to CLUSTER SLOTS of the node at `asked`. `None`: it is none. A node whose
    /// address is not known yet is left out.
    pub fn read(answer: &Value, asked: &Address) -> Option<Self> {
        let mut map = SlotMap::default();
        for range in sequence(answer)? {
            let [first, last, nodes @ ..] = sequence(range)? else { return None };
            let (Value::Int(first), Value::Int(last)) = (first, last) else { return None };
            let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            map.nodes.extend(nodes.iter().filter_map(|node| address(node, asked)));
            let owner = nodes.first().and_then(|node| address(node, asked));
            let Some(owner) = owner else { continue };
            let position = map.position_of(&owner)?;
            map.owners.get_mut(slots)?.fill(position);
        }
        Some(map)
    }

    /// The position of a primary, which is added where it is new; `None` where there are too many.
    fn position_of(&mut self, owner: &Address) -> Option<u16> {
        let known = self.primaries.iter().position(|primary| primary == owner);
        let position = known.unwrap_or_else(|| {
            self.primaries.push(owner.clone());
            self.primaries.len() - 1
        });
        u16::try_from(position).ok().filter(|position| *position < SLOTS)
    }

    /// The primary that owns a slot; `None` where nobody does, as far as is known.
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        let position = self.owners.get(usize::from(slot))?;
        self.primaries.get(usize::from(*position))
    }

    /// The primaries that own a slot.
    pub fn primaries(&self) -> impl Iterator<Item = &Address> {
        self.primaries.iter()
    }

    /// Primaries and replicas.
    pub fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.nodes.iter()
    }

    /// Whether a node is a primary that owns a slot.
    pub fn has_primary(&self, address: &Address) -> bool {
        self.primaries.contains(address)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.primaries.is_empty()
    }

    /// How many slots have no owner.
    pub fn uncovered(&self) -> usize {
        self.owners.iter().filter(|owner| **owner == NOBODY).count()
    }

    /// The same with another owner of one slot, as MOVED says. A primary that has no slot left
    /// stays until the next answer to CLUSTER SLOTS.
    pub fn moved(&self, slot: u16, owner: &Address) -> Self {
        let mut map = self.clone();
        if let Some(position) = map.position_of(owner)
            && let Some(entry) = map.owners.get_mut(usize::from(slot))
        {
            *entry = position;
        }
        map.nodes.insert(owner.clone());
        map
    }
}

/// Of several nodes' answers the one that most of them give; of equally many, the first: so a node
/// that was cut off from the others does not mislead.
pub fn most_common(maps: Vec<SlotMap>) -> Option<SlotMap> {
    let votes = |map: &SlotMap| maps.iter().filter(|other| *other == map).count();
    let best = (0..maps.len()).rev().max_by_key(|at| votes(&maps[*at]))?;
    maps.into_iter().nth(best)
}

/// The preferred address of a node: host or null, port, id and more.
fn address(node: &Value, asked: &Address) -> Option<Address> {
    let [host, Value::Int(port), ..] = sequence(node)? else { return None };
    let host = match host {
        Value::Nil => asked.host.clone(),
        host => redis::from_redis_value_ref::<String>(host).ok()?,
    };
    match host.as_str() {
        // "The client should treat the empty string like a null"; `?` is not known.
        "" => Some(Address { host: asked.host.clone(), port: u16::try_from(*port).ok()? }),
        "?" => None,
        _ => Some(Address { host, port: u16::try_from(*port).ok()? }),
    }
}

fn sequence(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(port: u16) -> Address {
        Address { host: "h".to_owned(), port }
    }

    fn answer(text: &str) -> Value {
        redis::parse_redis_value(text.replace(' ', "\r\n").as_bytes()).unwrap()
    }

    /// Slots 0 to 99 at one node with a replica, 100 to 16383 at another.
    fn map() -> SlotMap {
        let text = "*2 *4 :0 :99 *3 $1 h :1 $1 x *3 $1 h :3 $1 z *3 :100 :16383 *4 $0  :2 $1 y *0 ";
        SlotMap::read(&answer(text), &at(9)).unwrap()
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(CRC.checksum(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), CRC.checksum(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b"foo{bar"), CRC.checksum(b"foo{bar") % SLOTS);
    }

    #[test]
    fn owners_are_read_and_an_empty_host_is_the_one_that_was_asked() {
        let map = map();
        assert_eq!((map.owner(0), map.owner(99)), (Some(&at(1)), Some(&at(1))));
        assert_eq!((map.owner(100), map.owner(SLOTS - 1)), (Some(&at(2)), Some(&at(2))));
        assert_eq!(map.owner(SLOTS), None);
        assert_eq!(map.primaries().collect::<Vec<_>>(), [&at(1), &at(2)]);
        assert_eq!(map.nodes().collect::<Vec<_>>(), [&at(1), &at(2), &at(3)]);
        assert_eq!(map.uncovered(), 0);
    }

    #[test]
    fn a_slot_without_an_owner_is_nobodys() {
        let map = SlotMap::read(&answer("*1 *3 :0 :9 *3 $1 ? :1 $1 x "), &at(9)).unwrap();
        assert!(map.is_empty() && map.owner(0).is_none());
        assert_eq!(map.uncovered(), usize::from(SLOTS));
    }

    #[test]
    fn what_is_no_answer_to_cluster_slots_is_refused() {
        for text in ["+OK ", "*1 :1 ", "*1 *2 :0 :9 ", "*1 *3 :0 :16384 *2 $1 h :1 "] {
            let read = SlotMap::read(&answer(text), &at(9));
            assert!(read.is_none_or(|map| map.is_empty()), "{text}");
        }
    }

    #[test]
    fn a_slot_that_moved_has_its_new_owner_and_the_others_stay() {
        let map = map().moved(5, &at(4));
        assert_eq!((map.owner(4), map.owner(5)), (Some(&at(1)), Some(&at(4))));
        assert!(map.has_primary(&at(4)) && map.has_primary(&at(1)));
        assert_eq!(map.moved(5, &at(1)).owner(5), Some(&at(1)));
    }

    #[test]
    fn the_answer_of_most_nodes_counts() {
        let (one, other) = (map(), map().moved(5, &at(4)));
        let chosen = most_common(vec![one.clone(), other.clone(), other.clone()]);
        assert_eq!(chosen.as_ref(), Some(&other));
        assert_eq!(most_common(vec![one.clone(), other]), Some(one));
        assert_eq!(most_common(Vec::new()), None);
    }

    #[test]
    fn an_address_in_a_redirection_may_lack_the_host() {
        assert_eq!(Address::read("a:1", &at(9)).unwrap().to_string(), "a:1");
        assert_eq!(Address::read(":7", &at(9)), Some(at(7)));
        assert_eq!(Address::read("::1:7", &at(9)).unwrap().to_string(), "[::1]:7");
        assert_eq!(Address::read("a", &at(9)), None);
    }

    proptest! {
        #[test]
        fn every_name_has_a_slot(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(slot_of(&name) < SLOTS);
        }
    }
}
