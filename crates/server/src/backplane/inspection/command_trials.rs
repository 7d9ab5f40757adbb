//! The commands that an instance needs beside its subscriptions, as [`inspect`](super::inspect) tries
//! them.

use redis::{Cmd, cmd};
use rookery_policy::Namespaces;

use crate::backplane::wire::channels::Channels;
use crate::backplane::wire::node::NodeWire;
use crate::message::PodId;

/// How long the keys that are written stay, should deleting them fail: milliseconds.
const KEY_TTL: u64 = 1_000;

/// What the rules of rooms keep track of, which needs rights of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// Nothing.
    Off,
    /// Who is in rooms, as their members are told.
    Presence,
    /// Who is in rooms, as the backend is told.
    Hooks,
}

/// The right for a command, and the command.
pub(super) type CommandTrial = (String, Cmd);

/// What every instance needs.
pub(super) fn of_instance(
    wire: NodeWire,
    channels: &Channels,
    prefix: &str,
    namespaces: &Namespaces,
) -> Vec<CommandTrial> {
    let key = format!("{prefix}:rookery:idem:check:{}", PodId::random());
    let examples = namespaces.examples();
    let requests = examples.first().map(|namespace| channels.requests(namespace));
    let (publish, count) = (wire.publish_command(), wire.count_command());
    trials([
        (publish, cmd(publish).arg(channels.own_answers()).arg("").to_owned()),
        (&*format!("pubsub|{count}"), cmd("PUBSUB").arg(count).arg(requests).to_owned()),
        ("time", cmd("TIME")),
        ("eval", cmd("EVAL").arg("return KEYS[1]").arg(1).arg(&key).to_owned()),
        ("set", cmd("SET").arg(&key).arg("check").arg("PX").arg(KEY_TTL).to_owned()),
        ("get", cmd("GET").arg(&key).to_owned()),
        ("del", cmd("DEL").arg(&key).to_owned()),
    ])
}

/// What rooms need whose occupants are kept track of.
pub(super) fn of_tracking(prefix: &str, tracking: Tracking) -> Vec<CommandTrial> {
    if tracking == Tracking::Off {
        return Vec::new();
    }
    let key = format!("{prefix}:rookery:presence:check:{}", PodId::random());
    let mut tried = trials([
        ("hset", cmd("HSET").arg(&key).arg("check").arg(1).to_owned()),
        ("pexpire", cmd("PEXPIRE").arg(&key).arg(KEY_TTL).to_owned()),
        ("hgetall", cmd("HGETALL").arg(&key).to_owned()),
        ("hdel", cmd("HDEL").arg(&key).arg("check").to_owned()),
    ]);
    if tracking == Tracking::Hooks {
        tried.extend(of_hooks(prefix));
    }
    tried
}

fn of_hooks(prefix: &str) -> Vec<CommandTrial> {
    let record = format!("{prefix}:rookery:hooks:check:{}", PodId::random());
    let list = format!("{prefix}:rookery:hooks:rooms:check:{}", PodId::random());
    trials([
        ("hget", cmd("HGET").arg(&record).arg("check").to_owned()),
        ("hlen", cmd("HLEN").arg(&record).to_owned()),
        ("sadd", cmd("SADD").arg(&list).arg("check").to_owned()),
        ("pexpire", cmd("PEXPIRE").arg(&list).arg(KEY_TTL).to_owned()),
        ("sismember", cmd("SISMEMBER").arg(&list).arg("check").to_owned()),
        ("smembers", cmd("SMEMBERS").arg(&list).to_owned()),
        ("srandmember", cmd("SRANDMEMBER").arg(&list).arg(1).to_owned()),
        ("srem", cmd("SREM").arg(&list).arg("check").to_owned()),
    ])
}

/// What is needed of a node of a Cluster.
pub(super) fn of_node() -> Vec<CommandTrial> {
    trials([("cluster|slots", cmd("CLUSTER").arg("SLOTS").to_owned()), ("asking", cmd("ASKING"))])
}

fn trials<const N: usize>(trials: [(&str, Cmd); N]) -> Vec<CommandTrial> {
    trials.map(|(right, command)| (right.to_owned(), command)).into()
}
