//! [`ListOutcome`]: what became of each room of an event that names several.

use rookery_protocol::{Data, Room};

use crate::refusal::Refusal;
use crate::room_list::RoomList;

/// What became of each room of an event that names several.
#[derive(Clone, Debug)]
pub struct ListOutcome {
    /// The field of the answer that lists the rooms which were not refused.
    pub(super) key: &'static str,
    rooms: Vec<(Option<Room>, Option<Refusal>)>,
}

impl ListOutcome {
    /// Judges the rooms of a join; `judge` says why one is refused.
    pub fn of_join(list: RoomList, judge: impl Fn(&Room) -> Result<(), Refusal>) -> Self {
        Self::new("joined", list, judge)
    }

    /// The rooms of a leave, of which only those without a valid name are refused.
    pub fn of_leave(list: RoomList) -> Self {
        Self::new("left", list, |_| Ok(()))
    }

    fn new(
        key: &'static str,
        list: RoomList,
        judge: impl Fn(&Room) -> Result<(), Refusal>,
    ) -> Self {
        let judged = list.0.into_iter().map(|room| match room {
            Ok(room) => {
                let refusal = judge(&room).err();
                (Some(room), refusal)
            }
            Err(refusal) => (None, Some(refusal)),
        });
        ListOutcome { key, rooms: judged.collect() }
    }

    /// The rooms that are not refused.
    pub fn allowed(&self) -> Vec<Room> {
        self.rooms
            .iter()
            .filter(|(_, refusal)| refusal.is_none())
            .filter_map(|(r, _)| r.clone())
            .collect()
    }

    /// Whether any room is refused.
    pub fn has_refusals(&self) -> bool {
        self.rooms.iter().any(|(_, refusal)| refusal.is_some())
    }

    /// Refuses every room that is not refused yet.
    pub fn refuse_rest(&mut self, refusal: &Refusal) {
        for (_, own) in &mut self.rooms {
            own.get_or_insert_with(|| refusal.clone());
        }
    }

    /// The names of the rooms that are not refused.
    pub(super) fn done(&self) -> Data {
        Data::Array(self.allowed().iter().map(|room| Data::from(&**room)).collect())
    }

    /// The refused rooms, each with its position in the list.
    pub(super) fn refused(&self) -> Data {
        let rooms = self.rooms.iter().enumerate();
        let refused = rooms.filter_map(|(index, (room, refusal))| {
            let refusal = refusal.as_ref()?;
            let room = room.as_ref().map_or(Data::Null, |room| Data::from(&**room));
            Some(Data::Object(vec![
                ("index".into(), Data::Number(index.into())),
                ("room".into(), room),
                ("code".into(), Data::from(refusal.code.as_str())),
                ("message".into(), Data::from(refusal.message.as_str())),
            ]))
        });
        Data::Array(refused.collect())
    }

    /// The refusal of the whole event: that of the first refused room, and how many there are.
    pub(super) fn error(&self) -> Option<Refusal> {
        let refused: Vec<&Refusal> = self.rooms.iter().filter_map(|(_, r)| r.as_ref()).collect();
        let first = refused.first()?;
        let (n, all) = (refused.len(), self.rooms.len());
        Some(Refusal::new(first.code, format!("{n} of {all} rooms refused: {}", first.message)))
    }
}
