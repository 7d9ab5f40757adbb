//! [`RoomList`]: the rooms of an event that names several at once.

use rookery_protocol::{Data, Room};

use crate::parts::Part;
use crate::refusal::{Code, Refusal};
use crate::template::{Template, lookup};

/// The most rooms that one event may name.
pub const MAX_LISTED_ROOMS: usize = 1000;

/// The field that holds a list of rooms.
const FIELD: &str = "rooms";

/// The rooms that one event names, in its order: the name of each, or why it has none.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomList(pub Vec<Result<Room, Refusal>>);

/// Builds the rooms of a list from a room template. The list is the field `rooms` beside the fields
/// that the template uses, and each of its items stands for what holds these fields.
#[derive(Clone, Debug)]
pub(super) struct ListTemplate {
    /// The template's own paths.
    paths: Vec<String>,
    /// The path of the list.
    path: String,
    /// The template, with paths relative to an item.
    item: Template,
    /// The only field that the template uses: an item may be its value alone.
    only_field: Option<String>,
}

impl ListTemplate {
    /// The list of `template`; `None` if the template has no placeholder.
    pub(super) fn of(template: &Template) -> Option<Self> {
        let paths: Vec<String> = template.paths().map(str::to_owned).collect();
        let common = paths.iter().map(|path| fields_before_last(path)).reduce(|one, other| {
            let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
            one[..same].to_vec()
        })?;
        let prefix = common.iter().map(|field| format!("{field}.")).collect::<String>();
        let item = template.map_paths(|path| path[prefix.len()..].to_owned());
        let first = &paths[0][prefix.len()..];
        let is_only = !first.contains('.') && paths.iter().all(|path| *path == paths[0]);
        let only_field = is_only.then(|| first.to_owned());
        Some(ListTemplate { path: format!("{prefix}{FIELD}"), item, only_field, paths })
    }

    /// The rooms that `body` names in its list; `None` if it has no list, or the fields of a single
    /// room.
    ///
    /// # Errors
    /// `bad_request` for an empty list, and for one of more than [`MAX_LISTED_ROOMS`].
    pub(super) fn rooms(&self, body: &Data) -> Option<Result<RoomList, Refusal>> {
        let Some(Data::Array(items)) = lookup(body, &self.path) else { return None };
        if self.paths.iter().any(|path| lookup(body, path).is_some_and(|v| *v != Data::Null)) {
            return None;
        }
        if items.is_empty() || items.len() > MAX_LISTED_ROOMS {
            let message = format!(
                "`{}` names {} rooms; send 1 to {MAX_LISTED_ROOMS}",
                self.path,
                items.len()
            );
            return Some(Err(Refusal::new(Code::BadRequest, message)));
        }
        Some(Ok(RoomList(items.iter().map(|item| self.room(item)).collect())))
    }

    fn room(&self, item: &Data) -> Result<Room, Refusal> {
        match (&self.only_field, item) {
            (Some(field), item) if !matches!(item, Data::Object(_)) => {
                let body = Data::Object(vec![(field.as_str().into(), item.clone())]);
                self.item.room(&body)
            }
            _ => self.item.room(item),
        }
    }
}

fn fields_before_last(path: &str) -> Vec<&str> {
    let mut fields: Vec<&str> = path.split('.').collect();
    fields.pop();
    fields
}

impl Template {
    /// The paths of all placeholders.
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(path) => Some(path.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The same template with other paths.
    fn map_paths(&self, change: impl Fn(&str) -> String) -> Self {
        let parts = self.parts.iter().map(|part| match part {
            Part::Placeholder(path) => Part::Placeholder(change(path)),
            Part::Text(text) => Part::Text(text.clone()),
        });
        Template { parts: parts.collect(), separators: self.separators.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &serde_json::Value) -> Data {
        rookery_protocol::packet::decode_value(&json.to_string()).unwrap()
    }

    fn rooms(template: &str, body: &serde_json::Value) -> Option<Result<Vec<String>, Code>> {
        let list = ListTemplate::of(&Template::parse(template).unwrap())?;
        let rooms = list.rooms(&data(body))?;
        Some(rooms.map_err(|refusal| refusal.code).map(|RoomList(rooms)| {
            let name = |room: Result<Room, Refusal>| match room {
                Ok(room) => room.to_string(),
                Err(refusal) => format!("!{}", refusal.code),
            };
            rooms.into_iter().map(name).collect()
        }))
    }

    #[test]
    fn an_item_is_the_only_value_or_the_fields_that_the_template_uses() {
        use serde_json::json;
        let named = |names: &[&str]| Some(Ok(names.iter().map(|&n| n.to_owned()).collect()));
        assert_eq!(
            rooms("{room}", &json!({"rooms": ["a", 7, {"room": "b"}, null, ""]})),
            named(&["a", "7", "b", "!room_invalid", "!room_invalid"])
        );
        assert_eq!(
            rooms(
                "{payload.workspaceId}:{payload.appId}",
                &json!({"payload": {"rooms": [{"workspaceId": 1, "appId": "x:y"}, "1:2"]}})
            ),
            named(&["1:x%3Ay", "!bad_request"])
        );
        assert_eq!(rooms("u-{id}", &json!({"rooms": ["a"]})), named(&["u-a"]));
        assert_eq!(
            rooms("{a}:{b.c}", &json!({"rooms": [{"a": 1, "b": {"c": 2}}]})),
            named(&["1:2"])
        );
    }

    #[test]
    fn a_body_with_the_fields_of_one_room_is_no_list() {
        use serde_json::json;
        assert_eq!(rooms("{room}", &json!({"room": "a", "rooms": ["b"]})), None);
        assert_eq!(rooms("{room}", &json!({"rooms": "b"})), None);
        assert_eq!(rooms("lobby", &json!({"rooms": ["b"]})), None);
    }

    #[test]
    fn a_list_is_bounded() {
        use serde_json::json;
        let of = |n: usize| rooms("{room}", &json!({"rooms": vec!["a"; n]})).unwrap();
        assert_eq!(of(0), Err(Code::BadRequest));
        assert_eq!(of(MAX_LISTED_ROOMS).unwrap().len(), MAX_LISTED_ROOMS);
        assert_eq!(of(MAX_LISTED_ROOMS + 1), Err(Code::BadRequest));
    }
}
