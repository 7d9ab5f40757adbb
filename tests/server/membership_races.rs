//! Joins, leaves and publications of one room race on two instances.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, within};
use crate::redis::Redis;

const CLIENTS: usize = 16;
const OPERATIONS: usize = 10_000;

/// A member that tracks what it may receive, and a second client on the other instance that only
/// publishes.
struct Racer {
    number: usize,
    member: Member,
    voice: Member,
    inside: bool,
    sent: u64,
    last: HashMap<String, u64>,
    random: u64,
}

#[tokio::test]
async fn members_miss_nothing_and_non_members_receive_nothing() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let config =
        format!("redis: {{ url: '{}' }}\nlimits: {{ eventsPerSecond: 100000 }}\n", redis.url());
    let servers = [Rookery::start(&config).await, Rookery::start(&config).await];
    let racers = (0..CLIENTS).map(async |number| {
        let (here, there) = (&servers[number % 2], &servers[(number + 1) % 2]);
        let mut racer = Racer {
            number,
            member: Member::connect(here).await,
            voice: Member::connect(there).await,
            inside: false,
            sent: 0,
            last: HashMap::new(),
            random: number as u64 + 1,
        };
        for _ in 0..OPERATIONS / CLIENTS {
            racer.step().await;
        }
        racer
    });
    let racers = futures_util::future::join_all(racers).await;
    // At the end everyone is a member and receives from everyone.
    let mut inside = Vec::new();
    for mut racer in racers {
        racer.enter().await;
        inside.push(racer);
    }
    for racer in &mut inside {
        racer.say("last").await;
    }
    for racer in &mut inside {
        let mut missing = CLIENTS;
        while missing > 0 {
            let (name, body) = within("the last words of all", racer.member.event()).await;
            racer.heard(&name, &body);
            missing -= usize::from(name == "last");
        }
    }
    for server in &servers {
        assert_eq!(server.deliveries("dropped_slow").await, 0.0);
        assert_eq!(server.metric("rookery_redis_dropped_total").await, 0.0);
    }
}

impl Racer {
    async fn step(&mut self) {
        match self.next_random() % 4 {
            0 => self.enter().await,
            1 => self.exit().await,
            2 => self.say("word").await,
            _ => self.listen().await,
        }
    }

    /// Joins; events before the reply were published earlier, while it was a member.
    async fn enter(&mut self) {
        let (before, answer) = self.member.ask("join", json!({ "room": "race" })).await;
        assert_eq!(answer["status"], "SUCCESS", "{answer}");
        assert!(self.inside || before.is_empty(), "heard before the join's answer: {before:?}");
        self.hear(before);
        self.inside = true;
    }

    async fn exit(&mut self) {
        let (before, answer) = self.member.ask("leave", json!({ "room": "race" })).await;
        assert_eq!(answer["status"], "SUCCESS", "{answer}");
        assert!(self.inside || before.is_empty(), "heard while outside: {before:?}");
        self.hear(before);
        self.inside = false;
    }

    /// Publishes on the other instance.
    async fn say(&mut self, event: &str) {
        self.sent += 1;
        let data = json!({ "from": self.number, "n": self.sent });
        let arg = json!({ "room": "race", "event": event, "data": data });
        let (before, answer) = self.voice.ask("publish", arg).await;
        assert_eq!((before.len(), &answer["status"]), (0, &json!("SUCCESS")));
    }

    /// A member receives everything published after the reply to its join, on either instance.
    async fn listen(&mut self) {
        self.enter().await;
        self.say("word").await;
        let own = json!({ "from": self.number, "n": self.sent });
        loop {
            let (name, body) = within("the own word", self.member.event()).await;
            self.heard(&name, &body);
            if body == own {
                return;
            }
        }
    }

    fn hear(&mut self, events: Vec<(String, Value)>) {
        for (name, body) in events {
            self.heard(&name, &body);
        }
    }

    /// One publisher's messages arrive in order, and none twice.
    fn heard(&mut self, name: &str, body: &Value) {
        assert!(name == "word" || name == "last", "{name}");
        let n = body["n"].as_u64().unwrap();
        let last = self.last.entry(body["from"].to_string()).or_default();
        assert!(n > *last, "{body} after {last}");
        *last = n;
    }

    /// A small deterministic generator, so that failures can be reproduced.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 8
    }
}
