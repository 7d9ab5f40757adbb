//! `GET /api/latency` ranks rooms by their figures on all instances.

use serde_json::{Value, json};

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, signal, until, within};
use crate::redis::Redis;

/// Two instances that hear each other.
pub async fn two(redis: &Redis) -> [Rookery; 2] {
    let config = format!("redis: {{ url: \"{}\" }}\n", redis.url());
    let servers = [Rookery::start(&config).await, Rookery::start(&config).await];
    for server in &servers {
        let both = async || ranking(server, "").await["pods"] == json!(2);
        until("the instances know each other", both).await;
    }
    servers
}

/// Members of a room on each of the servers.
pub async fn members(servers: &[Rookery; 2], room: &str, counts: [usize; 2]) -> Vec<Member> {
    let mut members = Vec::new();
    for (server, count) in servers.iter().zip(counts) {
        for _ in 0..count {
            let mut member = Member::connect(server).await;
            member.join(room).await;
            members.push(member);
        }
    }
    members
}

/// Publishes that often, until every member has all of it.
pub async fn deliver(from: &Rookery, room: &str, members: &mut [Member], times: usize) {
    for n in 0..times {
        from.publish(room, "n", json!(n)).await;
    }
    for member in members {
        for n in 0..times {
            assert_eq!(within("a message", member.event()).await, ("n".to_owned(), json!(n)));
        }
    }
}

async fn ranking(server: &Rookery, query: &str) -> Value {
    let answer = server.internal(&format!("/api/latency?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn names(answer: &Value) -> Vec<&str> {
    let rooms = answer["rooms"].as_array().unwrap();
    rooms.iter().map(|room| room["room"].as_str().unwrap()).collect()
}

fn room<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let rooms = answer["rooms"].as_array().unwrap();
    rooms.iter().find(|room| room["room"] == name).unwrap_or_else(|| panic!("{name}: {answer}"))
}

/// Waits until the deliveries of both servers are counted.
async fn all_counted(servers: &[Rookery; 2], deliveries: usize) {
    until("all deliveries are counted", async || {
        let written =
            servers[0].deliveries("written").await + servers[1].deliveries("written").await;
        written == deliveries as f64
    })
    .await;
}

#[tokio::test]
async fn every_sort_key_ranks_rooms_across_both_instances() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    // No instance alone has most members, or most deliveries, of the room that has them.
    let mut full = members(&servers, "full", [3, 3]).await;
    let mut busy = members(&servers, "busy", [1, 2]).await;
    let _idle = members(&servers, "idle", [4, 0]).await;
    deliver(&servers[0], "full", &mut full, 1).await;
    deliver(&servers[1], "busy", &mut busy, 20).await;
    all_counted(&servers, 6 + 60).await;

    for server in &servers {
        let by_rate = ranking(server, "sort=rate").await;
        assert_eq!(names(&by_rate), ["busy", "full"]);
        let busy = room(&by_rate, "busy");
        assert_eq!((&busy["count"], &busy["members"]), (&json!(60), &json!(3)));
        assert_eq!((&busy["rate"], &busy["namespace"]), (&json!(1.0), &json!("/")));
        let buckets = busy["buckets"].as_array().unwrap();
        let counts = buckets.iter().map(|bucket| bucket["count"].as_u64().unwrap());
        assert_eq!((counts.sum::<u64>(), &buckets.last().unwrap()["le"]), (60, &Value::Null));

        let by_members = ranking(server, "sort=members").await;
        assert_eq!(names(&by_members), ["full", "idle", "busy"]);
        assert_eq!(room(&by_members, "full")["members"], 6);
        assert_eq!(room(&by_members, "idle")["p99"], Value::Null);
        assert_eq!(names(&ranking(server, "sort=members&limit=1").await), ["full"]);

        let by_p99 = ranking(server, "").await;
        let p99 = |name: &str| room(&by_p99, name)["p99"].as_f64().unwrap();
        let (first, second) = match p99("full") >= p99("busy") {
            true => ("full", "busy"),
            false => ("busy", "full"),
        };
        assert_eq!(names(&by_p99), [first, second]);
        assert_eq!(names(&ranking(server, "namespace=/").await), [first, second]);
        let one = server.internal("/api/rooms/busy/latency").await.json();
        assert_eq!((&one["count"], &one["unanswered"]), (&json!(60), &json!([])));
    }
}

#[tokio::test]
async fn scope_local_reports_only_this_instance() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut both = members(&servers, "both", [1, 2]).await;
    let _elsewhere = members(&servers, "elsewhere", [0, 1]).await;
    deliver(&servers[0], "both", &mut both, 5).await;
    all_counted(&servers, 15).await;
    for (server, share) in servers.iter().zip([1, 2]) {
        let local = ranking(server, "scope=local&sort=rate").await;
        assert_eq!((names(&local), &local["pods"]), (vec!["both"], &json!(1)));
        let both = room(&local, "both");
        assert_eq!((&both["members"], &both["count"]), (&json!(share), &json!(5 * share)));
        let one = server.internal("/api/rooms/both/latency?scope=local").await.json();
        assert_eq!(one["count"], 5 * share);
    }
    assert_eq!(names(&ranking(&servers[0], "scope=local&sort=members").await), ["both"]);
    assert_eq!(servers[0].internal("/api/rooms/elsewhere/latency").await.status, 404);
}

#[tokio::test]
async fn a_hanging_instance_is_listed_as_unanswered_and_delays_nobody_for_long() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut members = members(&servers, "room", [1, 1]).await;
    deliver(&servers[0], "room", &mut members, 3).await;
    all_counted(&servers, 6).await;
    signal(servers[1].pid(), "STOP");
    let answer = ranking(&servers[0], "").await;
    let unanswered = answer["unanswered"].as_array().unwrap();
    assert_eq!((unanswered.len(), &answer["pods"]), (1, &json!(1)));
    assert_eq!(unanswered[0].as_str().unwrap().len(), 8);
    assert_eq!(room(&answer, "room")["count"], 3, "what is here is told");
    signal(servers[1].pid(), "CONT");
    let again = async || ranking(&servers[0], "").await["pods"] == json!(2);
    until("it is asked again", again).await;
    assert_eq!(room(&ranking(&servers[0], "").await, "room")["count"], 6);
}
