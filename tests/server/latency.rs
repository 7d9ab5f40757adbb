//! The latency reported for a room is that of its own members.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until, within};
use crate::redis::Redis;

/// The latency of a room in the last minute.
async fn last_minute(server: &Rookery, room: &str) -> Value {
    server.internal(&format!("/api/rooms/{room}/latency")).await.json()
}

/// A sample of a room's series.
async fn of_series(server: &Rookery, sample: &str, labels: &str) -> f64 {
    server.metric(&format!("rookery_room_delivery_latency_seconds_{sample}{{{labels}}}")).await
}

#[tokio::test]
async fn a_slow_reader_raises_the_latency_of_its_room_only() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { queue: 64MiB, writeStall: 60s }\n").await;
    let mut held = Member::connect(&server).await;
    held.join("held").await;
    let mut prompt = Member::connect(&server).await;
    prompt.join("prompt").await;

    // Until both kernels' buffers are full there is no latency: the bytes were handed over.
    let large = "x".repeat(256 << 10);
    let mut sent = 0;
    while server.metric("rookery_outbox_bytes").await == 0.0 {
        server.publish("held", "n", json!([sent, large])).await;
        sent += 1;
    }
    let full = Instant::now();
    let mut others = 0;
    while full.elapsed() < Duration::from_millis(200) || others < 20 {
        server.publish("prompt", "n", json!(others)).await;
        assert_eq!(prompt.event().await, ("n".to_owned(), json!(others)));
        others += 1;
    }
    let held_for = full.elapsed().as_secs_f64();
    for n in 0..sent {
        let (_, message) = within("what was held back", held.event()).await;
        assert_eq!(message[0], json!(n));
    }

    until("all are counted", async || {
        server.deliveries("written").await == f64::from(sent + others)
    })
    .await;
    let (slow, fast) = (last_minute(&server, "held").await, last_minute(&server, "prompt").await);
    assert_eq!((&slow["count"], &fast["count"]), (&json!(sent), &json!(others)));
    assert!(slow["max"].as_f64().unwrap() >= held_for, "{slow}, held for {held_for} s");
    assert!(fast["max"].as_f64().unwrap() < held_for, "{fast}, held for {held_for} s");
    // Deliveries above 100 ms appear in the series of this room only.
    let within_100ms = async |room: &str| {
        of_series(&server, "bucket", &format!("room=\"{room}\",le=\"0.1\"")).await
    };
    assert!(within_100ms("held").await < f64::from(sent));
    let sum = of_series(&server, "sum", "room=\"held\"").await;
    assert!(sum > of_series(&server, "sum", "room=\"prompt\"").await, "{sum}");
}

#[tokio::test]
async fn a_late_poll_raises_the_latency_of_its_room() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("late").await;
    server.publish("late", "n", json!(1)).await;
    let published = Instant::now();
    while published.elapsed() < Duration::from_millis(200) {
        assert_eq!(server.deliveries("written").await, 0.0, "nobody has come for it");
    }
    let waited = published.elapsed().as_secs_f64();
    assert_eq!(poller.events().await, [("n".to_owned(), json!(1))]);
    let late = last_minute(&server, "late").await;
    assert_eq!(late["count"], 1);
    assert!(late["max"].as_f64().unwrap() >= waited, "{late}, came after {waited} s");
}

#[tokio::test]
async fn the_first_delivery_after_an_upgrade_is_measured_from_its_acceptance() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("up").await;
    server.publish("up", "n", json!(1)).await;
    let published = Instant::now();
    while published.elapsed() < Duration::from_millis(50) {
        assert_eq!(server.deliveries("written").await, 0.0);
    }
    let waited = published.elapsed().as_secs_f64();
    let mut socket = poller.upgrade().await.unwrap();
    socket.send("2probe").await;
    assert_eq!(within("the probe's answer", socket.text()).await, "3probe");
    socket.send("5").await;
    while !within("the message", socket.text()).await.starts_with("42") {}
    until("it is counted", async || server.deliveries("written").await == 1.0).await;
    let up = last_minute(&server, "up").await;
    assert_eq!(up["count"], 1);
    assert!(up["max"].as_f64().unwrap() >= waited, "{up}, upgraded after {waited} s");
}

/// Debian's libfaketime.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map_while(Result::ok);
    let found = folders
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
        .find(|library| library.is_file());
    found.expect("this test needs Debian's package libfaketime; tests/setup.sh installs it")
}

/// An instance whose clock is so far off that every latency would be wrong.
async fn with_clock(redis: &Redis, off: &str) -> Rookery {
    let library = library();
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", off),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let config = format!("redis: {{ url: \"{}\" }}\n", redis.url());
    let server = Rookery::start_with(&config, &environment).await;
    until("it is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
    server
}

#[tokio::test]
async fn clock_skew_does_not_affect_latency_between_instances() {
    const N: usize = 50;
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let (early, late) = (with_clock(&redis, "-5s").await, with_clock(&redis, "+5s").await);
    let apart = wall_clock(&late).await - wall_clock(&early).await;
    assert!(apart > 5.0, "{apart}");
    for (publisher, other, room) in [(&early, &late, "a"), (&late, &early, "b")] {
        let mut member = Member::connect(other).await;
        member.join(room).await;
        for n in 0..N {
            publisher.publish(room, "n", json!(n)).await;
            assert_eq!(member.event().await, ("n".to_owned(), json!(n)));
        }
        let of = async |sample: &str| {
            other.metric(&format!("rookery_delivery_latency_seconds_{sample}")).await
        };
        let labels = "class=\"default\",hop=\"remote\"";
        until("all are counted", async || of(&format!("count{{{labels}}}")).await == N as f64)
            .await;
        // Taken as they are, the clocks would make it ten seconds in one direction, and nothing in
        // the other.
        assert_eq!(of(&format!("bucket{{{labels},le=\"5\"}}")).await, N as f64);
        assert!(of(&format!("sum{{{labels}}}")).await > 0.0);
    }
}

/// The instance's clock when it logs its first line, in seconds since its start according to the
/// kernel.
async fn wall_clock(server: &Rookery) -> f64 {
    let started = server.metric("process_start_time_seconds").await;
    assert!(started > 0.0);
    let log = server.log();
    let line: Value = log.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    let time = humantime::parse_rfc3339_weak(line["timestamp"].as_str().unwrap()).unwrap();
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    since - started
}

#[tokio::test]
async fn latency_counts_on_two_instances_match_what_clients_received() {
    const N: usize = 60;
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let config = format!(
        "redis: {{ url: \"{}\" }}\nrooms: [{{ match: 'r{{n}}' }}]\nlatency: {{ trackRooms: [r1], topRooms: 0 }}\n",
        redis.url()
    );
    let servers = [Rookery::start(&config).await, Rookery::start(&config).await];
    let (mut members, mut pollers) = (Vec::new(), Vec::new());
    for server in &servers {
        until("it is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
        for _ in 0..3 {
            let mut member = Member::connect(server).await;
            member.join("r1").await;
            members.push(member);
            let poller = Poller::connect(server, 4).await;
            poller.join("r1").await;
            pollers.push(poller);
        }
    }
    let publish = async {
        for n in 0..N {
            servers[n % 2].publish("r1", "n", json!(n)).await;
        }
    };
    let by_socket = futures_util::future::join_all(members.iter_mut().map(async |member| {
        for _ in 0..N {
            member.event().await;
        }
        N
    }));
    let by_polling = futures_util::future::join_all(pollers.iter().map(async |poller| {
        let mut heard = 0;
        while heard < N {
            heard += poller.events().await.len();
        }
        heard
    }));
    let ((), sockets, polls) =
        within("every message", async { tokio::join!(publish, by_socket, by_polling) }).await;
    let heard = sockets.iter().chain(&polls).sum::<usize>() as f64;
    assert_eq!(heard, (12 * N) as f64);

    let sum =
        async |sample: &str| servers[0].metric(sample).await + servers[1].metric(sample).await;
    let written = "rookery_deliveries_total{outcome=\"written\"}";
    until("all are counted", async || sum(written).await == heard).await;
    let by_hop =
        |hop| format!("rookery_delivery_latency_seconds_count{{class=\"r{{n}}\",hop=\"{hop}\"}}");
    let (local, remote) = (sum(&by_hop("local")).await, sum(&by_hop("remote")).await);
    assert_eq!((local, remote), (heard / 2.0, heard / 2.0));
    assert_eq!(sum("rookery_room_delivery_latency_seconds_count{room=\"r1\"}").await, heard);
    for outcome in ["dropped_slow", "dropped_volatile", "gone"] {
        assert_eq!(sum(&format!("rookery_deliveries_total{{outcome=\"{outcome}\"}}")).await, 0.0);
    }
}

#[tokio::test]
async fn only_top_rooms_have_a_series() {
    let _permit = shared_permit().await;
    let server = Rookery::start("latency: { trackRooms: [vip], topRooms: 3 }\n").await;
    let mut member = Member::connect(&server).await;
    for n in 0..20 {
        let room = format!("room {n}");
        member.join(&room).await;
        server.publish(&room, "n", json!(n)).await;
        member.event().await;
    }
    until("all are counted", async || server.deliveries("written").await == 20.0).await;
    let metrics = server.internal("/metrics").await.text();
    let counts = "rookery_room_delivery_latency_seconds_count{";
    let series: Vec<&str> = metrics.lines().filter(|line| line.starts_with(counts)).collect();
    assert_eq!(series.len(), 4, "{series:?}");
    assert!(series.contains(&"rookery_room_delivery_latency_seconds_count{room=\"vip\"} 0"));
    assert_eq!(server.metric("rookery_latency_rooms").await, 20.0);
    assert_eq!(last_minute(&server, "room%2019").await["count"], 1);
}
