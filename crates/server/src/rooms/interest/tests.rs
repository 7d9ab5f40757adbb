use super::*;

fn connected() -> Arc<RoomInterests> {
    let interests = RoomInterests::new(LINGER);
    assert_eq!(interests.connected(Instant::now()), []);
    interests
}

fn key(room: &str) -> RoomKey {
    RoomKey::new("/", room)
}

fn topic(room: &str) -> Topic {
    Topic::Room(key(room))
}

fn names(tickets: &[Ticket]) -> Vec<&str> {
    let rooms = tickets.iter().map(|(topic, _)| match topic {
        Topic::Room(key) => &*key.room,
        Topic::Namespace(..) => panic!("{topic:?} is no room"),
    });
    rooms.collect()
}

fn pending(confirmation: Confirmation) -> BoxFuture<'static, ()> {
    confirmation.expect("confirmed before Redis said so")
}

#[tokio::test]
async fn joins_share_one_subscription_and_all_wait_for_its_confirmation() {
    let interests = connected();
    let now = Instant::now();
    let (_held, mut waits): (Vec<_>, Vec<_>) = ["a", "a", "b"]
        .into_iter()
        .map(|room| interests.acquire(&key(room)))
        .map(|(interest, confirmation)| (interest, pending(confirmation)))
        .unzip();
    let changes = interests.changes(now);
    assert_eq!(names(&changes.subscribe), ["a", "b"]);
    assert_eq!(interests.changes(now), Changes::default());
    assert!(waits[0].as_mut().now_or_never().is_none());
    interests.confirmed(&changes.subscribe);
    for wait in &mut waits {
        assert!(wait.as_mut().now_or_never().is_some());
    }
    assert!(interests.acquire(&key("b")).1.is_none());
}

#[tokio::test]
async fn a_room_lingers_and_an_interest_meanwhile_keeps_it() {
    let interests = connected();
    let now = Instant::now();
    for room in ["a", "b"] {
        std::mem::forget(interests.acquire(&key(room)).0);
    }
    interests.confirmed(&interests.changes(now).subscribe);
    interests.release(&topic("a"), now);
    interests.release(&topic("b"), now);
    assert_eq!(interests.next_due(), Some(now + LINGER));
    let (held, confirmation) = interests.acquire(&key("a"));
    assert!(confirmation.is_none());
    assert_eq!(interests.changes(now + LINGER / 2), Changes::default());
    assert_eq!(interests.changes(now + LINGER).unsubscribe, [topic("b")]);
    assert_eq!(interests.len(), 1);

    drop(held);
    let later = interests.next_due().unwrap();
    assert_eq!(interests.changes(later - LINGER / 2), Changes::default());
    assert_eq!(interests.changes(later).unsubscribe, [topic("a")]);
    assert!(interests.is_empty());
}

#[tokio::test]
async fn an_old_confirmation_does_not_count_for_a_new_subscription() {
    let interests = connected();
    let now = Instant::now();
    drop(interests.acquire(&key("a")));
    let old = interests.changes(now).subscribe;
    let later = interests.next_due().unwrap();
    assert_eq!(interests.changes(later).unsubscribe, [topic("a")]);
    let (_first, confirmation) = interests.acquire(&key("a"));
    let wait = pending(confirmation);
    interests.confirmed(&old);
    assert!(interests.acquire(&key("a")).1.is_some());
    interests.confirmed(&interests.changes(now).subscribe);
    assert!(wait.now_or_never().is_some());
}

#[tokio::test]
async fn nobody_waits_while_redis_is_away_and_every_room_is_subscribed_again() {
    let interests = RoomInterests::new(LINGER);
    let before = interests.acquire(&key("before"));
    assert!(before.1.is_none());
    let now = Instant::now();
    assert_eq!(names(&interests.connected(now)), ["before"]);
    let during = interests.acquire(&key("during"));
    interests.disconnected();
    assert!(pending(during.1).now_or_never().is_some());
    let after = interests.acquire(&key("after"));
    assert!(after.1.is_none());
    let mut again = interests.connected(now);
    again.sort();
    assert_eq!(names(&again), ["after", "before", "during"]);
    assert_eq!(interests.changes(now), Changes::default());
    assert!(interests.acquire(&key("before")).1.is_some());
}

#[tokio::test]
async fn a_join_does_not_wait_for_ever() {
    let interests = connected();
    let (_interest, confirmation) = interests.acquire(&key("a"));
    let wait = tokio::time::timeout(CONFIRMATION * 30, pending(confirmation)).await;
    wait.expect("the wait ends without a confirmation");
}

/// On the classic wire, with one pattern.
fn of_tenants(members: MemberChannels) -> Arc<RoomInterests> {
    let namespaces = Namespaces::compile(&["/", "/tenant-{id}"]).unwrap();
    let interests = RoomInterests::with(LINGER, members, Arc::new(namespaces));
    assert_eq!(interests.connected(Instant::now()), []);
    interests
}

#[tokio::test]
async fn a_namespace_of_a_pattern_is_subscribed_while_somebody_is_interested_and_no_longer() {
    let interests = of_tenants(MemberChannels::Pattern);
    let tenant: Arc<str> = "/tenant-7".into();
    let (first, second) =
        (interests.acquire_namespace(&tenant), interests.acquire_namespace(&tenant));
    let subscribed = interests.changes(Instant::now()).subscribe;
    let topics: Vec<_> = subscribed.iter().map(|(topic, _)| topic.clone()).collect();
    let all = MemberChannels::Pattern.of_members();
    assert_eq!(
        topics,
        all.iter().map(|of| Topic::Namespace(tenant.clone(), *of)).collect::<Vec<_>>()
    );
    assert_eq!(interests.len(), 0, "it is no room");
    assert!(!interests.hears_namespace(&tenant));
    interests.confirmed(&subscribed);
    assert!(interests.hears_namespace(&tenant));
    drop(first);
    assert_eq!(interests.changes(Instant::now()), Changes::default());
    drop(second);
    interests.changed().await;
    let mut ended = interests.changes(Instant::now()).unsubscribe;
    ended.sort();
    assert_eq!(ended, topics);
    assert_eq!(interests.connected(Instant::now()), [], "nothing is left of it");
}

#[tokio::test]
async fn who_comes_back_at_once_keeps_the_subscription_of_a_namespace() {
    let interests = of_tenants(MemberChannels::Own);
    let tenant: Arc<str> = "/tenant-7".into();
    let before = interests.acquire_namespace(&tenant);
    let subscribed = interests.changes(Instant::now()).subscribe;
    assert_eq!(subscribed.len(), 2);
    interests.confirmed(&subscribed);
    drop(before);
    let after = interests.acquire_namespace(&tenant);
    assert!(after.iter().all(|(_, confirmation)| confirmation.is_none()));
    assert_eq!(interests.changes(Instant::now()), Changes::default());
}

#[test]
fn what_is_for_a_namespace_that_is_named_is_heard_anyway() {
    let interests = of_tenants(MemberChannels::Pattern);
    assert!(interests.acquire_namespace(&"/".into()).is_empty());
    assert!(interests.acquire_answers(&"/".into()).is_empty());
    assert!(interests.hears_namespace(&"/".into()));
}
