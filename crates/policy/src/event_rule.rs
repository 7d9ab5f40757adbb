//! The section `events`: client events that change rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A client event that changes rooms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventRule {
    /// The event's name.
    pub on: String,
    /// What it does.
    pub operation: Operation,
    /// For `byField`: which field says what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_field: Option<ByField>,
    /// The room, as a template over the event's first argument.
    pub room: String,
    /// For `publish`: the event that the room's members get, a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// For `publish`: the arguments that they get, each a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// For `publish`: whether the publisher is left out.
    #[serde(default)]
    pub except: Except,
    /// The event that answers a client which gave no ack callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

impl EventRule {
    /// The rules that hold where no `events` are written.
    pub fn defaults() -> Vec<EventRule> {
        let rule = |on: &str, operation, room: &str| EventRule {
            on: on.to_owned(),
            operation,
            by_field: None,
            room: room.to_owned(),
            event: None,
            args: None,
            except: Except::None,
            reply: None,
        };
        vec![
            EventRule {
                by_field: Some(ByField {
                    name: "event".to_owned(),
                    join: Some("SUBSCRIBE".to_owned()),
                    leave: Some("UNSUBSCRIBE".to_owned()),
                    publish: None,
                }),
                reply: Some(Reply { event: "application_response".to_owned() }),
                ..rule("application", Operation::ByField, "{payload.workspaceId}:{payload.appId}")
            },
            rule("join", Operation::Join, "{room}"),
            rule("leave", Operation::Leave, "{room}"),
            EventRule {
                event: Some("{event}".to_owned()),
                args: Some(vec!["{data}".to_owned()]),
                ..rule("publish", Operation::Publish, "{room}")
            },
        ]
    }
}

/// What a client event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Joins the room.
    Join,
    /// Leaves the room.
    Leave,
    /// Publishes to the room.
    Publish,
    /// One of these, as a field of the argument says.
    ByField,
}

/// Which field says what an event does, and the values that it has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ByField {
    /// The field of the event's first argument.
    pub name: String,
    /// Its value for a join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// Its value for a leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave: Option<String>,
    /// Its value for a publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

/// Whether a publisher hears its own publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Except {
    /// Everybody in the room gets it.
    #[default]
    None,
    /// Everybody but the publisher.
    Sender,
}

/// The event that answers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reply {
    /// Its name.
    pub event: String,
}
