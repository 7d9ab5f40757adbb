//! The [`Acks`] that are waited for: of publications that ask their recipients to acknowledge them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rookery_protocol::Data;

use crate::hashing::HashMap;

/// Publications whose acknowledgements are waited for at once.
const MAX_OPEN: usize = 1024;

/// Ids are whole numbers that JavaScript holds exactly (ECMA-262, "Number.MAX_SAFE_INTEGER").
const ID_BITS: u32 = 53;

/// What becomes of an acknowledgement: its first argument, as in Node, and its size in bytes.
type Take = dyn Fn(Data, usize) + Send + Sync;

/// The publications whose acknowledgements are waited for.
#[derive(Default)]
pub struct Acks {
    open: Mutex<HashMap<u64, Open>>,
    /// Whether `open` holds anything, so that it is locked only then.
    any: AtomicBool,
}

struct Open {
    namespace: Arc<str>,
    /// Members that have acknowledged it, by their keys.
    members: HashSet<u64>,
    take: Arc<Take>,
}

/// A publication whose acknowledgements are waited for, until this is dropped.
pub(super) struct OpenAcks {
    /// What the event asks its recipients to acknowledge. Nobody else can guess it.
    pub(super) id: u64,
    acks: Arc<Acks>,
}

impl Acks {
    /// Waits for acknowledgements of a publication to this namespace; `take` gets each, and must not
    /// wait. `None`: too many publications wait already.
    pub(super) fn open(
        self: &Arc<Self>,
        namespace: Arc<str>,
        take: impl Fn(Data, usize) + Send + Sync + 'static,
    ) -> Option<OpenAcks> {
        let mut open = self.open.lock();
        if open.len() >= MAX_OPEN {
            return None;
        }
        let id = std::iter::repeat_with(|| rand::random::<u64>() >> (u64::BITS - ID_BITS))
            .find(|id| !open.contains_key(id))?;
        open.insert(id, Open { namespace, members: HashSet::new(), take: Arc::new(take) });
        self.any.store(true, Ordering::Release);
        Some(OpenAcks { id, acks: self.clone() })
    }

    /// A member acknowledged the event with this id, with arguments of so many bytes. What was not
    /// asked for, or came before, is nothing.
    pub(super) fn received(
        &self,
        (namespace, member): (&str, u64),
        id: u64,
        args: Vec<Data>,
        bytes: usize,
    ) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let take = {
            let mut open = self.open.lock();
            let Some(open) = open.get_mut(&id).filter(|o| *o.namespace == *namespace) else {
                return;
            };
            if !open.members.insert(member) {
                return;
            }
            open.take.clone()
        };
        take(args.into_iter().next().unwrap_or(Data::Null), bytes);
    }
}

impl Drop for OpenAcks {
    fn drop(&mut self) {
        let mut open = self.acks.open.lock();
        open.remove(&self.id);
        self.acks.any.store(!open.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_acknowledges_once_what_was_asked_in_its_namespace() {
        let (acks, taken) = (Arc::new(Acks::default()), Arc::new(Mutex::new(Vec::new())));
        let list = taken.clone();
        let open = acks.open("/".into(), move |data, bytes| list.lock().push((data, bytes)));
        let open = open.unwrap();
        acks.received(("/", 1), open.id, vec!["first".into(), "ignored".into()], 10);
        acks.received(("/", 1), open.id, vec!["again".into()], 10);
        acks.received(("/", 2), open.id, Vec::new(), 2);
        acks.received(("/admin", 3), open.id, Vec::new(), 2);
        acks.received(("/", 4), open.id + 1, Vec::new(), 2);
        assert_eq!(*taken.lock(), [("first".into(), 10), (Data::Null, 2)]);
        let id = open.id;
        drop(open);
        acks.received(("/", 5), id, Vec::new(), 2);
        assert_eq!(taken.lock().len(), 2);
    }

    #[test]
    fn the_number_of_open_publications_is_bounded() {
        let acks = Arc::new(Acks::default());
        let open = || acks.open("/".into(), |_, _| {});
        let mut all: Vec<OpenAcks> =
            std::iter::repeat_with(open).take(MAX_OPEN).flatten().collect();
        assert_eq!(all.len(), MAX_OPEN);
        assert!(open().is_none());
        assert!(all.iter().all(|open| open.id < 1 << ID_BITS));
        all.pop();
        assert!(open().is_some());
    }
}
