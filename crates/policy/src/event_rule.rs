//! [`EventRule`]: an entry of the configuration's section `events`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A client event that changes rooms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventRule {
    /// The name of the client event.
    pub on: String,
    /// The operation that the event asks for.
    pub operation: Operation,
    /// With `operation: byField`, the field that selects the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_field: Option<ByField>,
    /// The template of the room's name, filled from the event's first argument.
    pub room: String,
    /// When publishing, the template of the name of the event that members receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When publishing, the templates of the arguments that members receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// When publishing, whether the publication skips its own publisher.
    #[serde(default)]
    pub except: Except,
    /// The event that answers clients that gave no ack callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

impl EventRule {
    /// The rules of a configuration without `events`.
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

/// What a client event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Join the room.
    Join,
    /// Leave the room.
    Leave,
    /// Publish to the room.
    Publish,
    /// One of the others, selected by a field of the event's first argument.
    ByField,
}

/// The field that selects an operation, and its value for each.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ByField {
    /// The path of the field in the event's first argument.
    pub name: String,
    /// The field's value for a join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// The field's value for a leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave: Option<String>,
    /// The field's value for a publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

/// Which members a client's publication skips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Except {
    /// None: every member receives it.
    #[default]
    None,
    /// The publisher, if it is a member.
    Sender,
}

/// The event that carries an answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reply {
    /// The name of the event.
    pub event: String,
}
