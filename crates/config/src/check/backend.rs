//! Checks of `backend`.

use std::time::Duration;

use reqwest::Url;

use crate::config::{Backend, Config, Hook};

use super::problems::Problems;

/// The most that `backend.vacatedDelay` may be.
const LONGEST_VACATED_DELAY: Duration = Duration::from_secs(600);

/// The most that `backend.maxInFlight` may be.
const MAX_IN_FLIGHT: u32 = 65_536;

/// The most that `backend.queue` and `backend.retryQueue` may be.
const MAX_QUEUE: u32 = 1_000_000;

/// The most that `backend.maxReply` may be, in bytes.
const MAX_REPLY: u64 = 64 << 20;

pub(super) fn check(config: &Config, problems: &mut Problems) {
    check_rooms(config, problems);
    let Some(backend) = &config.backend else { return };
    check_url(backend, problems);
    check_selection(backend, problems);
    problems.time("backend.timeout", backend.timeout);
    problems.time("backend.retryFor", backend.retry_for);
    problems.say_if(
        backend.vacated_delay.0 > LONGEST_VACATED_DELAY,
        "backend.vacatedDelay",
        "must be at most 10min, for example 3s",
    );
    problems.size("backend.maxReply", backend.max_reply);
    let too_large = backend.max_reply.0 > MAX_REPLY;
    problems.say_if(too_large, "backend.maxReply", "must be at most 64MiB");
    for (key, value, least, most) in [
        ("backend.maxInFlight", backend.max_in_flight, 1, MAX_IN_FLIGHT),
        ("backend.queue", backend.queue, 0, MAX_QUEUE),
        ("backend.retryQueue", backend.retry_queue, 1, MAX_QUEUE),
    ] {
        if !(least..=most).contains(&value) {
            problems.say(key, format_args!("must be from {least} to {most}"));
        }
    }
}

/// Rules with `hooks` need somebody who is told.
fn check_rooms(config: &Config, problems: &mut Problems) {
    let why = match &config.backend {
        None => "needs the section `backend`: write the URL that is told as backend.url",
        Some(backend) if !backend.has(Hook::Rooms) => {
            "needs `rooms` in `backend.hooks`: add it there, or leave `backend.hooks` out"
        }
        Some(_) => return,
    };
    for (i, rule) in config.rooms.iter().enumerate() {
        problems.say_if(!rule.hooks.is_empty(), &format!("rooms[{i}].hooks"), why);
    }
}

/// The URL may hold a password, so no message repeats it.
fn check_url(backend: &Backend, problems: &mut Problems) {
    let key = "backend.url";
    let expected = "is not an http:// or https:// URL, such as http://chat-backend:8000/rookery";
    let Ok(url) = Url::parse(&backend.url) else { return problems.say(key, expected) };
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    if !matches!(url.scheme(), "http" | "https") || !has_host {
        return problems.say(key, expected);
    }
    problems.say_if(url.fragment().is_some(), key, "must have no `#`");
    problems.say_if(
        backend.ca_file.is_some() && url.scheme() == "http",
        "backend.caFile",
        "has a meaning only if `backend.url` begins with https://; leave it out, or correct the URL",
    );
}

fn check_selection(backend: &Backend, problems: &mut Problems) {
    let hooks = &backend.hooks;
    problems.say_if(
        hooks.is_empty(),
        "backend.hooks",
        "is empty, so the backend is never called; name connect, event, disconnect or rooms",
    );
    problems.distinct("backend.hooks", hooks, |hook| hook.label().to_owned());
    let has_no_event = backend.has(Hook::Event) && backend.events.is_empty();
    problems.say_if(
        has_no_event,
        "backend.events",
        "is empty; write `[\"*\"]` for all events, or leave `event` out of `backend.hooks`",
    );
    for (i, pattern) in backend.events.iter().enumerate() {
        let key = format!("backend.events[{i}]");
        problems.say_if(pattern.is_empty(), &key, "is empty; write a name such as chat:*");
    }
    problems.distinct("backend.events", &backend.events, |pattern| format!("`{pattern}`"));
}
