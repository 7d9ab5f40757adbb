//! The [`Routes`]: what the channels carry that a pod subscribes.

use std::borrow::Cow;
use std::sync::Arc;

use rookery_policy::Namespaces;

use crate::backplane::bridge::CompiledBridge;
use crate::backplane::wire::channels::Channels;
use crate::backplane::wire::node::NodeWire;
use crate::hashing::HashMap;

/// What each channel carries.
#[derive(Debug)]
pub(in crate::backplane) struct Routes {
    routes: HashMap<Vec<u8>, Route>,
    /// What every other channel carries: that of a room or a member.
    others: Route,
    channels: Channels,
    namespaces: Arc<Namespaces>,
}

/// What a channel carries.
#[derive(Clone, Debug)]
pub(in crate::backplane) enum Route {
    /// Publications of pods, Node servers and emitters.
    Broadcasts,
    /// Requests of Node servers in this namespace.
    Requests(Arc<str>),
    /// Answers to such requests.
    Responses,
    /// Publications, requests and responses of the sharded wire.
    Sharded,
    /// Messages between pods.
    Pods,
    /// Messages of python-socketio's `RedisManager`.
    Python,
    /// Plain JSON for the entries of the bridge at these positions.
    Bridge(Vec<usize>),
}

impl Routes {
    /// The channels of these namespaces and this bridge.
    pub fn new(
        channels: &Channels,
        namespaces: &Arc<Namespaces>,
        bridge: &[CompiledBridge],
    ) -> Self {
        let mut routes = HashMap::default();
        let is_classic = channels.wire() == NodeWire::Classic;
        let of = |classic: Route| if is_classic { classic } else { Route::Sharded };
        for namespace in namespaces.fixed() {
            routes.insert(channels.requests(namespace), of(Route::Requests(namespace.clone())));
            routes.insert(channels.general(namespace), of(Route::Broadcasts));
            for responses in channels.own_responses(namespace) {
                routes.insert(responses, of(Route::Responses));
            }
        }
        routes.insert(channels.python(), Route::Python);
        routes.insert(channels.pods(), Route::Pods);
        routes.insert(channels.own_answers(), Route::Pods);
        for (position, entry) in bridge.iter().enumerate() {
            match routes.entry(entry.channel.clone()).or_insert(Route::Bridge(Vec::new())) {
                Route::Bridge(positions) => positions.push(position),
                _ => tracing::warn!(
                    channel = entry.channel,
                    "a channel of redis.bridge is one of Socket.IO's own; choose another"
                ),
            }
        }
        let routes = routes.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect();
        let (channels, namespaces) = (channels.clone(), namespaces.clone());
        Routes { routes, others: of(Route::Broadcasts), channels, namespaces }
    }

    /// What a channel carries: broadcasts to a room or a member where it is none of these, and none
    /// of a namespace of a pattern.
    pub fn of(&self, channel: &[u8]) -> Cow<'_, Route> {
        match self.routes.get(channel) {
            Some(route) => Cow::Borrowed(route),
            None => {
                let asked = self.asked_in_pattern(channel);
                asked.map_or(Cow::Borrowed(&self.others), Cow::Owned)
            }
        }
    }

    /// Requests and responses in a namespace of a pattern, which have their own channels on the classic
    /// wire alone.
    fn asked_in_pattern(&self, channel: &[u8]) -> Option<Route> {
        if self.namespaces.patterns().is_empty() || self.channels.wire() != NodeWire::Classic {
            return None;
        }
        let (name, is_request) = self.channels.asked_in(channel)?;
        let namespace = self.namespaces.get(name)?;
        Some(match is_request {
            true => Route::Requests(namespace.name().clone()),
            false => Route::Responses,
        })
    }

    /// Whether a channel is one of these, whatever rooms have members.
    pub fn contains(&self, channel: &[u8]) -> bool {
        self.routes.contains_key(channel)
    }

    /// The names of the channels of the wire, without which this pod hears too little, and of those
    /// of the bridge.
    pub fn channels(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        let (mut of_wire, mut of_bridge) = (Vec::new(), Vec::new());
        for (name, route) in &self.routes {
            match route {
                Route::Bridge(_) => of_bridge.push(name.as_slice()),
                Route::Python => {}
                _ => of_wire.push(name.as_slice()),
            }
        }
        (of_wire, of_bridge)
    }
}
