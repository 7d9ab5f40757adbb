//! In a rollout, servers close their sessions by turns, and not before the new revision alone gets
//! new ones.

use crate::client::Member;
use crate::harness::{Rookery, turn, until, within};
use crate::redis::Redis;

const DRAIN: &str = "drain: { lead: 200ms, window: 400ms, patience: 10m }\n";

/// One server of a revision of the Deployment `chat/web`.
async fn server(redis: &Redis, revision: &str) -> Rookery {
    let config = format!("redis: {{ url: \"{}\" }}\n{DRAIN}", redis.url());
    let server =
        Rookery::start_with(&config, &[("ROOKERY_REVISION", &format!("chat/web/{revision}"))])
            .await;
    until("it is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
    server
}

/// Waits until the client's server closes the connection.
async fn closed(member: &mut Member) {
    within("the session is closed", async { while member.packet().await.is_some() {} }).await;
}

/// Waits until the server's log has this.
async fn says(server: &Rookery, text: &str) {
    until(text, async || server.log().contains(text)).await;
}

#[tokio::test]
async fn an_old_server_waits_for_the_other_old_ones_to_be_told() {
    let _turn = turn().await;
    let redis = Redis::start().await;
    let mut first = server(&redis, "old").await;
    let mut second = server(&redis, "old").await;
    let new = server(&redis, "new").await;
    let (mut one, mut two) = (Member::connect(&first).await, Member::connect(&second).await);

    first.terminate();
    says(&first, "OthersServe(1)").await;
    // It still serves, with all it has.
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
async fn a_server_that_is_killed_holds_up_nobody() {
    let _turn = turn().await;
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
async fn outside_a_rollout_nobody_is_waited_for() {
    let _turn = turn().await;
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
