//! Checks of a configuration beyond what its types rule out. Pure.
//!
//! Each problem is a sentence that names its key, what is expected, and what to do.

mod admin;
mod auth;
mod backend;
mod problems;
mod redis;
mod rules;
pub mod warnings;

use std::collections::HashSet;
use std::time::Duration;

use rookery_policy::{NamespaceProblem, Namespaces};
use rookery_protocol::MAX_ROOM_BYTES;

use crate::config::{
    Config, Cors, Drain, Latency, Limits, PerMessageDeflate, Presence, Rebalance, SocketIo,
    Telemetry, Transport,
};
use crate::error::Problem;
use crate::otlp;

use problems::Problems;

/// The most rooms that `latency.trackRooms` and `latency.topRooms` may each give a series.
const MAX_SERIES: usize = 1000;

/// The most that `presence.max` may be.
const MAX_PRESENT: u32 = 10_000;

/// The most that `presence.leaveDelay` may be.
const LONGEST_LEAVE_DELAY: Duration = Duration::from_secs(600);

/// The least that `socketio.perMessageDeflate.threshold` may be, in bytes: what is shorter hardly
/// becomes smaller.
const MIN_THRESHOLD: u64 = 64;

/// Everything that is wrong with `config`, in no particular order, up to one more than
/// [`MAX_PROBLEMS`](crate::error::MAX_PROBLEMS); empty if it can be served.
pub fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Problems::default();
    check_listeners(config, &mut problems);
    check_socketio(&config.socketio, &mut problems);
    check_health_path(config, &mut problems);
    check_namespaces(&config.namespaces, &mut problems);
    auth::check(config, &mut problems);
    admin::check(config, &mut problems);
    backend::check(config, &mut problems);
    if let Some(redis) = &config.redis {
        redis::check(redis, &config.namespaces, &mut problems);
    }
    rules::check_events(&config.events, &mut problems);
    rules::check_rooms(&config.rooms, &mut problems);
    rules::check_texts(config, &mut problems);
    check_presence(&config.presence, &mut problems);
    check_limits(&config.limits, &mut problems);
    check_latency(&config.latency, &mut problems);
    check_drain(&config.drain, &mut problems);
    if let Some(rebalance) = &config.rebalance {
        check_rebalance(rebalance, &mut problems);
    }
    check_telemetry(&config.telemetry, &mut problems);
    problems.into_vec()
}

fn check_listeners(config: &Config, problems: &mut Problems) {
    let (clients, internal) = (config.listen, config.internal);
    let same_address = clients.ip() == internal.ip()
        || clients.ip().is_unspecified()
        || internal.ip().is_unspecified();
    if clients.port() != 0 && clients.port() == internal.port() && same_address {
        problems
            .say("internal", format_args!("is taken by `listen` ({clients}); use another port"));
    }
}

fn check_health_path(config: &Config, problems: &mut Problems) {
    let Some(path) = &config.health_path else { return };
    if !is_plain_path(path) {
        problems.say(
            "healthPath",
            format_args!(
                "is `{path}`; it must start with `/` and be a plain path, such as /healthz"
            ),
        );
    } else if path.trim_end_matches('/') == config.socketio.path.trim_end_matches('/') {
        problems.say(
            "healthPath",
            format_args!("is `{path}`, where Socket.IO answers; use another, such as /healthz"),
        );
    }
}

fn is_plain_path(path: &str) -> bool {
    path.starts_with('/') && !path.contains(['?', '#', ' '])
}

fn check_socketio(socketio: &SocketIo, problems: &mut Problems) {
    let path = &socketio.path;
    if !is_plain_path(path) {
        problems.say(
            "socketio.path",
            format_args!(
                "is `{path}`; it must start with `/` and be a plain path, such as /socket.io"
            ),
        );
    }
    let transports = &socketio.transports;
    problems.say_if(
        transports.is_empty(),
        "socketio.transports",
        "is empty; name polling, websocket or both",
    );
    problems.distinct("socketio.transports", transports, |transport| transport.label().to_owned());
    problems.time("socketio.pingInterval", socketio.ping_interval);
    problems.time("socketio.pingTimeout", socketio.ping_timeout);
    problems.time("socketio.connectTimeout", socketio.connect_timeout);
    problems.size("socketio.maxPayload", socketio.max_payload);
    if let Some(deflate) = &socketio.per_message_deflate {
        check_deflate(deflate, socketio, problems);
    }
    check_cors(&socketio.cors, problems);
}

fn check_deflate(deflate: &PerMessageDeflate, socketio: &SocketIo, problems: &mut Problems) {
    let (threshold, most) = (deflate.threshold, socketio.max_payload);
    problems.say_if(
        !socketio.transports.contains(&Transport::Websocket),
        "socketio.perMessageDeflate",
        "has a meaning only on WebSockets: add websocket to `socketio.transports`, or leave it out",
    );
    problems.say_if(
        threshold.0 < MIN_THRESHOLD,
        "socketio.perMessageDeflate.threshold",
        "must be at least 64 bytes, such as 1KiB: shorter messages hardly become smaller",
    );
    if threshold.0 >= MIN_THRESHOLD && threshold > most {
        problems.say(
            "socketio.perMessageDeflate.threshold",
            format_args!(
                "is {threshold}, more than `socketio.maxPayload` ({most}), so that nothing is \
                 compressed; write less, such as 1KiB"
            ),
        );
    }
}

fn check_cors(cors: &Cors, problems: &mut Problems) {
    let is_named = !cors.origins.is_empty() && cors.origins.iter().all(|origin| origin != "*");
    if cors.credentials && !is_named {
        problems.say(
            "socketio.cors.credentials",
            "needs `socketio.cors.origins` named: browsers send no cookies to `*`; \
             write origins such as https://app.example.com",
        );
    }
    for (i, origin) in cors.origins.iter().enumerate() {
        if !is_origin(origin) {
            problems.say(
                &format!("socketio.cors.origins[{i}]"),
                format_args!(
                    "is `{origin}`; expected `*` or a scheme and a host without a path, \
                     such as https://app.example.com"
                ),
            );
        }
    }
}

/// Whether `text` is what a browser sends as Origin (RFC 6454, section 7), or `*`.
fn is_origin(text: &str) -> bool {
    let host = match text.split_once("://") {
        _ if text == "*" || text == "null" => return true,
        Some((scheme, host)) if !scheme.is_empty() => host,
        _ => return false,
    };
    !host.is_empty() && !host.contains(['/', '?', '#', '*', ' ', '@'])
}

fn check_namespaces(namespaces: &[String], problems: &mut Problems) {
    problems.say_if(namespaces.is_empty(), "namespaces", "is empty; name at least `/`");
    for (i, namespace) in namespaces.iter().enumerate() {
        let key = format!("namespaces[{i}]");
        match Namespaces::compile(std::slice::from_ref(namespace)).map_err(|error| error.problem) {
            Ok(_) => {}
            Err(NamespaceProblem::Pattern(problem)) => problems.explain(&key, problem),
            Err(problem) => problems.say(&key, format_args!("is `{namespace}`; {problem}")),
        }
    }
    problems.distinct("namespaces", namespaces, |namespace| format!("`{namespace}`"));
}

fn check_presence(presence: &Presence, problems: &mut Problems) {
    problems.say_if(
        !(1..=MAX_PRESENT).contains(&presence.max),
        "presence.max",
        "must be from 1 to 10000, such as 1000: each join of a room is answered with so many at most",
    );
    problems.say_if(
        presence.leave_delay.0 > LONGEST_LEAVE_DELAY,
        "presence.leaveDelay",
        "must be at most 10min, for example 3s",
    );
}

fn check_limits(limits: &Limits, problems: &mut Problems) {
    let positive = "must be at least 1";
    problems.say_if(limits.connections.get() == 0, "limits.connections", positive);
    problems.say_if(limits.connect_rate.0 == 0, "limits.connectRate", "must be at least 1/s");
    problems.say_if(limits.rooms_per_client == 0, "limits.roomsPerClient", positive);
    problems.say_if(limits.namespaces == 0, "limits.namespaces", positive);
    problems.say_if(limits.events_per_second == 0, "limits.eventsPerSecond", positive);
    if let Some(memory) = limits.memory {
        problems.size("limits.memory", memory);
    }
    problems.size("limits.bytesPerSecond", limits.bytes_per_second);
    problems.size("limits.queue", limits.queue);
    problems.time("limits.writeStall", limits.write_stall);
    problems.time("limits.headerRead", limits.header_read);
    problems.say_if(limits.unconnected == Some(0), "limits.unconnected", positive);
    problems.time("limits.firstPacket", limits.first_packet);
    problems.time("limits.keepAlive", limits.keep_alive);
    problems.time("limits.bodyIdle", limits.body_idle);
    problems.size("limits.bodyRate", limits.body_rate);
    problems.size("limits.bodies", limits.bodies);
    problems.say_if(limits.http_connections == Some(0), "limits.httpConnections", positive);
    if let Some(per_ip) = &limits.per_ip {
        problems.say_if(per_ip.connections == Some(0), "limits.perIp.connections", positive);
        problems.say_if(
            !(1..=128).contains(&per_ip.ipv6_prefix),
            "limits.perIp.ipv6Prefix",
            "must be from 1 to 128, such as 64 for the network of one customer",
        );
    }
}

fn check_latency(latency: &Latency, problems: &mut Problems) {
    problems.say_if(
        latency.sample_every == 0,
        "latency.sampleEvery",
        "must be at least 1, which measures every delivery",
    );
    for (key, n) in [
        ("latency.trackRooms", latency.track_rooms.len()),
        ("latency.topRooms", latency.top_rooms as usize),
    ] {
        if n > MAX_SERIES {
            let text = format!(
                "are {n} rooms, each of which takes over 20 series in Prometheus; name at most \
                 {MAX_SERIES}: GET /api/rooms/{{room}}/latency covers any room"
            );
            problems.say(key, text);
        }
    }
    let mut seen = HashSet::new();
    for (i, room) in latency.track_rooms.iter().enumerate() {
        let key = format!("latency.trackRooms[{i}]");
        problems.say_if(room.is_empty(), &key, "is empty; write the name of a room");
        let too_long = room.len() > MAX_ROOM_BYTES;
        problems.say_if(too_long, &key, "is longer than 255 bytes, the longest name of a room");
        let again = !seen.insert(room);
        problems.say_if(again, &key, "repeats an earlier room; remove it");
    }
}

fn check_drain(drain: &Drain, problems: &mut Problems) {
    problems.at_most_longest("drain.lead", drain.lead);
    problems.at_most_longest("drain.window", drain.window);
    problems.at_most_longest("drain.patience", drain.patience);
    if let Some(longest) = drain.longest_window {
        problems.at_most_longest("drain.longestWindow", longest);
        let text = "is less than `drain.window`; write at least as much, or leave it out";
        problems.say_if(longest < drain.window, "drain.longestWindow", text);
    }
    if let Some(cookie) = &drain.sticky_cookie
        && !is_token(cookie)
    {
        problems.say(
            "drain.stickyCookie",
            format_args!(
                "is `{cookie}`, which cannot name a cookie; write the name alone, such as ROOKERY"
            ),
        );
    }
}

fn check_rebalance(rebalance: &Rebalance, problems: &mut Problems) {
    problems.say_if(
        !(5..=1000).contains(&rebalance.threshold.0),
        "rebalance.threshold",
        "must be from 5% to 1000%, such as 20%",
    );
    problems.time("rebalance.after", rebalance.after);
}

fn check_telemetry(telemetry: &Telemetry, problems: &mut Problems) {
    if let Some(Err(expected)) = telemetry.otlp.as_deref().map(otlp::endpoint) {
        problems.say("telemetry.otlp", expected);
    }
    problems.say_if(
        !(0.0..=1.0).contains(&telemetry.trace_ratio),
        "telemetry.traceRatio",
        "must be from 0 to 1, such as 0.01 for one in a hundred",
    );
}

/// Whether `text` may name a cookie: a token (RFC 6265, section 4.1.1; RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problems() {
        assert_eq!(check(&Config::default()), []);
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for good in
            ["*", "null", "https://a.example", "http://localhost:8080", "capacitor://localhost"]
        {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "a.example", "https://", "https://a.example/", "https://*.example", "://x"]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn the_listeners_cannot_share_an_address() {
        let at = |listen: &str, internal: &str| {
            let mut problems = Problems::default();
            let config = Config {
                listen: listen.parse().unwrap(),
                internal: internal.parse().unwrap(),
                ..Config::default()
            };
            check_listeners(&config, &mut problems);
            problems.into_vec().len()
        };
        assert_eq!(at("127.0.0.1:3000", "127.0.0.1:3000"), 1);
        assert_eq!(at("0.0.0.0:3000", "127.0.0.1:3000"), 1);
        assert_eq!(at("127.0.0.1:0", "127.0.0.1:0"), 0);
        assert_eq!(at("127.0.0.1:3000", "127.0.0.2:3000"), 0);
    }
}
