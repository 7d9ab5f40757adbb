//! The [`Routes`]: what the channels carry that every pod subscribes.

use std::sync::Arc;

use crate::backplane::bridge::CompiledBridge;
use crate::backplane::wire::channels::Channels;
use crate::hashing::HashMap;

/// What each channel carries.
#[derive(Debug)]
pub(super) struct Routes {
    routes: HashMap<Vec<u8>, Route>,
}

/// What a channel carries.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Publications of pods, Node servers and emitters.
    Broadcasts,
    /// Requests of Node servers in this namespace.
    Requests(Arc<str>),
    /// Answers to such requests.
    Responses,
    /// Messages between pods.
    Pods,
    /// Plain JSON for the entries of the bridge at these positions.
    Bridge(Vec<usize>),
}

impl Routes {
    /// The channels of these namespaces and this bridge.
    pub fn new(channels: &Channels, namespaces: &[Arc<str>], bridge: &[CompiledBridge]) -> Self {
        let mut routes = HashMap::default();
        for namespace in namespaces {
            routes.insert(channels.general(namespace), Route::Broadcasts);
            routes.insert(channels.requests(namespace), Route::Requests(namespace.clone()));
            for responses in channels.own_responses(namespace) {
                routes.insert(responses, Route::Responses);
            }
        }
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
        Routes { routes: routes.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect() }
    }

    /// What a channel carries: broadcasts to a room or a member where it is none of these.
    pub fn of(&self, channel: &[u8]) -> &Route {
        self.routes.get(channel).unwrap_or(&Route::Broadcasts)
    }

    /// The names of all these channels.
    pub fn channels(&self) -> Vec<&[u8]> {
        self.routes.keys().map(Vec::as_slice).collect()
    }
}
