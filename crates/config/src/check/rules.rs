//! Checks of `events`, `rooms` and `redis.bridge`, and of the templates and expressions in them.

use rookery_policy::{ArgTemplate, Rules, Template, TemplateError, TextTemplate};
use rookery_policy::{ByField, EventRule, Except, Operation, sole_sender};
use rookery_protocol::RESERVED_EVENTS;

use crate::config::{Config, Rooms};

use super::problems::Problems;

/// Compiles every template and expression of `events`, `rooms` and `redis.bridge`.
pub(super) fn check_texts(config: &Config, problems: &mut Problems) {
    for (i, rule) in config.events.iter().enumerate() {
        let args = rule.args.as_deref().unwrap_or_default();
        check_templates(&format!("events[{i}]"), &rule.room, rule.event.as_deref(), args, problems);
    }
    let bridge = config.redis.iter().flat_map(|redis| &redis.bridge);
    for (i, rule) in bridge.enumerate() {
        let key = format!("redis.bridge[{i}]");
        check_templates(&key, &rule.room, Some(&rule.event), &rule.args, problems);
    }
    for i in 0..config.rooms.len() {
        if let Err(error) = Rules::compile(&config.rooms[i..=i]) {
            problems.explain(&format!("rooms[{i}].{}", error.key), error.message);
            return;
        }
    }
    if let Err(error) = Rules::compile(&config.rooms) {
        problems.explain(&format!("rooms[{}].{}", error.index, error.key), error.message);
    }
}

fn check_templates(
    key: &str,
    room: &str,
    event: Option<&str>,
    args: &[String],
    problems: &mut Problems,
) {
    let mut explain = |key: String, error: Option<TemplateError>| {
        if let Some(error) = error {
            problems.explain(&key, error);
        }
    };
    explain(format!("{key}.room"), Template::parse(room).err());
    if let Some(event) = event {
        explain(format!("{key}.event"), TextTemplate::parse(event).err());
    }
    for (j, arg) in args.iter().enumerate() {
        explain(format!("{key}.args[{j}]"), ArgTemplate::parse(arg).err());
    }
}

pub(super) fn check_events(events: &[EventRule], problems: &mut Problems) {
    for (i, rule) in events.iter().enumerate() {
        let Some(event) = &rule.event else { continue };
        if let Some(sender) = sole_sender(events, event) {
            problems.say(
                &format!("events[{i}].event"),
                format_args!(
                    "is `{event}`, which {sender} alone sends: clients cannot publish it; use another name"
                ),
            );
        }
    }
    for (i, rule) in events.iter().enumerate() {
        check_event(&format!("events[{i}]"), rule, problems);
    }
}

fn check_event(key: &str, rule: &EventRule, problems: &mut Problems) {
    let on = format!("{key}.on");
    problems.not_blank(&on, &rule.on);
    if RESERVED_EVENTS.contains(&rule.on.as_str()) || rule.on == "auth:refresh" {
        problems.say(&on, format_args!("is `{}`, which clients cannot send as their own", rule.on));
    }
    problems.not_blank(&format!("{key}.room"), &rule.room);
    let section = format!("{key}.byField");
    match (&rule.by_field, rule.operation) {
        (Some(by_field), Operation::ByField) => check_by_field(&section, by_field, problems),
        (None, Operation::ByField) => problems.say(
            &section,
            "is missing, which `operation: byField` needs; write byField: { name: FIELD, join: VALUE }",
        ),
        (Some(_), _) => problems.say(&section, "is only for `operation: byField`; remove it"),
        (None, _) => {}
    }
    check_publish(key, rule, problems);
    if let Some(reply) = &rule.reply {
        check_published_event(&format!("{key}.reply.event"), &reply.event, problems);
    }
}

fn check_by_field(key: &str, by_field: &ByField, problems: &mut Problems) {
    problems.not_blank(&format!("{key}.name"), &by_field.name);
    let values =
        [("join", &by_field.join), ("leave", &by_field.leave), ("publish", &by_field.publish)];
    let written: Vec<(&str, &String)> =
        values.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?))).collect();
    if written.is_empty() {
        problems.say(key, "does nothing; write at least one of `join`, `leave` and `publish`");
    }
    for (i, (name, value)) in written.iter().enumerate() {
        let key = format!("{key}.{name}");
        problems.not_blank(&key, value);
        if let Some((other, _)) = written[..i].iter().find(|(_, earlier)| earlier == value) {
            problems
                .say(&key, format_args!("is `{value}` like `{other}`; give each its own value"));
        }
    }
}

/// Checks `event`, `args` and `except`, which only rules that publish have.
fn check_publish(key: &str, rule: &EventRule, problems: &mut Problems) {
    let by_field = rule.by_field.as_ref().is_some_and(|by_field| by_field.publish.is_some());
    let publishes = match rule.operation {
        Operation::Publish => true,
        Operation::ByField => by_field,
        Operation::Join | Operation::Leave => false,
    };
    let event = format!("{key}.event");
    let args = format!("{key}.args");
    if publishes {
        let why = "is missing, which a rule that publishes needs";
        match &rule.event {
            Some(text) => check_published_event(&event, text, problems),
            None => {
                problems.say(&event, format_args!("{why}; write for example event: \"{{event}}\""))
            }
        }
        if rule.args.is_none() {
            problems.say(&args, format_args!("{why}; write for example args: [\"{{data}}\"]"));
        }
        return;
    }
    let unused = [
        (event, rule.event.is_some()),
        (args, rule.args.is_some()),
        (format!("{key}.except"), rule.except != Except::None),
    ];
    for (key, written) in unused {
        problems.say_if(written, &key, "is only for rules that publish; remove it");
    }
}

/// Checks the name of an event that clients receive, or a template of one.
pub(super) fn check_published_event(key: &str, event: &str, problems: &mut Problems) {
    problems.not_blank(key, event);
    if RESERVED_EVENTS.contains(&event) {
        problems.say(key, format_args!("is `{event}`, which Socket.IO reserves; use another name"));
    }
}

pub(super) fn check_rooms(rooms: &Rooms, problems: &mut Problems) {
    if matches!(rooms, Rooms::Rules(rules) if rules.is_empty()) {
        problems.say(
            "rooms",
            "is an empty list; write `rooms: open` to open every room, or rules that say who may join",
        );
    }
    for (i, rule) in rooms.iter().enumerate() {
        problems.not_blank(&format!("rooms[{i}].match"), &rule.pattern);
        let texts = [
            ("join", &rule.join),
            ("publish", &rule.publish),
            ("presenceInfo", &rule.presence_info),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                problems.say_if(
                    text.trim().is_empty(),
                    &format!("rooms[{i}].{name}"),
                    "is empty; write an expression such as \"true\", or leave the key out",
                );
            }
        }
        problems.say_if(
            rule.presence_info.is_some() && rule.presence.is_off() && rule.hooks.is_empty(),
            &format!("rooms[{i}].presenceInfo"),
            "is only for a rule with `presence` or `hooks`; write presence: true, or remove it",
        );
    }
}
