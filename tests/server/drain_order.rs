//! In a rollout, the old instances close their sessions one after the other, once only the new
//! revision gets new sessions.

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until, within};
use crate::redis::Redis;

const DRAIN: &str = "drain: { lead: 200ms, window: 400ms, patience: 10m }\n";

/// An instance of a revision of the Deployment `chat/web`.
async fn server(redis: &Redis, revision: &str) -> Rookery {
    let config = format!("redis: {{ url: \"{}\" }}\n{DRAIN}", redis.url());
    let server =
        Rookery::start_with(&config, &[("ROOKERY_REVISION", &format!("chat/web/{revision}"))])
            .await;
    until("it is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
    server
}

/// Waits until the instance closes the client's connection.
async fn closed(member: &mut Member) {
    within("the session is closed", async { while member.packet().await.is_some() {} }).await;
}

/// Waits until the log contains a text.
async fn says(server: &Rookery, text: &str) {
    until(text, async || server.log().contains(text)).await;
}

#[tokio::test]
async fn an_old_instance_drains_only_after_all_old_instances_got_sigterm() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let mut first = server(&redis, "old").await;
    let mut second = server(&redis, "old").await;
    let new = server(&redis, "new").await;
    let (mut one, mut two) = (Member::connect(&first).await, Member::connect(&second).await);

    first.terminate();
    says(&first, "OthersServe(1)").await;
    // It still serves all its sessions.
    one.join("a").await;
    assert_eq!(second.publish("a", "event", 1.into()).await, 0);
    assert_eq!(one.event().await.0, "event");
    assert_eq!(first.disconnects("drain").await, 0.0);

    second.terminate();
    says(&second, "OthersFirst(1)").await;
    closed(&mut one).await;
    assert_eq!(second.connections().await, 1.0, "its turn is after the first one's end");
    until("the first ends", async || first.has_ended()).await;
    closed(&mut two).await;
    until("the second ends", async || second.has_ended()).await;
    assert_eq!(new.connections().await, 0.0);
}

#[tokio::test]
async fn a_killed_instance_does_not_delay_the_drain_order() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let mut first = server(&redis, "old").await;
    let second = server(&redis, "old").await;
    let _new = server(&redis, "new").await;
    let mut one = Member::connect(&first).await;
    first.terminate();
    says(&first, "OthersServe(1)").await;
    drop(second);
    closed(&mut one).await;
    until("the first ends", async || first.has_ended()).await;
}

#[tokio::test]
async fn outside_a_rollout_an_instance_drains_without_waiting() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let mut first = server(&redis, "same").await;
    let other = server(&redis, "same").await;
    let mut one = Member::connect(&first).await;
    first.terminate();
    closed(&mut one).await;
    until("it ends", async || first.has_ended()).await;
    assert!(!first.log().contains("waiting for this server's turn"));
    assert_eq!(other.internal("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_planned_drain_time_includes_other_instances_unless_patience_runs_out() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let with = async |revision: &str, patience: &str| {
        let drain = format!("drain: {{ lead: 1s, window: 10m, patience: {patience} }}\n");
        let config = format!("redis: {{ url: \"{}\" }}\n{drain}", redis.url());
        let revision = format!("chat/web/{revision}");
        let server = Rookery::start_with(&config, &[("ROOKERY_REVISION", &revision)]).await;
        until("it is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
        server
    };
    let planned = async |server: &Rookery| server.metric("rookery_drain_planned_seconds").await;
    let vain = with("old", "1s").await;
    let last = with("old", "5m").await;
    let _new = with("new", "5m").await;
    // The second of two is closed in the middle of the window.
    let mut members = Vec::new();
    for server in [&vain, &vain, &last, &last] {
        members.push(Member::connect(server).await);
    }
    assert_eq!((planned(&vain).await, planned(&last).await), (603.0, 902.0));

    vain.terminate();
    says(&vain, "OthersServe(1)").await;
    says(&vain, "turn did not come in time").await;
    says(&vain, "closing sessions").await;
    assert_eq!(planned(&vain).await, 601.0, "it waited in vain");
    assert!(vain.metric("rookery_drain_seconds").await > 2.0);

    last.terminate();
    says(&last, "OthersFirst(1)").await;
    assert_eq!(planned(&last).await, 902.0, "its turn is to come");
    drop(vain);
    says(&last, "closing sessions").await;
    let taken = planned(&last).await;
    assert!(taken > 602.0 && taken < 902.0, "{taken}: what the other took, twice lead and window");
}
