//! Node servers on the same Redis.

use std::time::Duration;

use futures_util::StreamExt as _;
use rookery_server::message::Selector;

use super::pod::Pod;
use super::redis_server::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_a_node_server_is_answered() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let id = "pod-aaaa000000000001";
    a.add(id, Some("ann"), &["room"]).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let (mut sink, mut answers) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("socket.io-response#/#").await.unwrap();
    let mut redis = redis.connection().await;
    let everybody = r#""opts":{"rooms":["room"],"except":[]}"#;
    let requests = [
        (r#"{"requestId":"q","uid":"u","type":0,"rooms":["room"]}"#.to_owned(), "sockets"),
        (r#"{"requestId":"q","uid":"u","type":1}"#.to_owned(), "rooms"),
        (format!(r#"{{"requestId":"q","type":2,"sid":"{id}","room":"new"}}"#), "requestId"),
        (format!(r#"{{"requestId":"q","type":3,"sid":"{id}","room":"new"}}"#), "requestId"),
        (format!(r#"{{"requestId":"q","uid":"u","type":5,{everybody}}}"#), "sockets"),
        (r#"{"requestId":"q","uid":"u","type":6,"data":["x"]}"#.to_owned(), "data"),
        (
            format!(
                r#"{{"requestId":"q","uid":"u","type":7,{everybody},
                    "packet":{{"type":2,"data":["wants acks"],"nsp":"/"}}}}"#
            ),
            "clientCount",
        ),
        (format!(r#"{{"requestId":"q","type":4,"sid":"{id}","close":true}}"#), "requestId"),
    ];
    for (request, field) in requests {
        let publish = redis::cmd("PUBLISH").arg("socket.io-request#/#").arg(&request).to_owned();
        publish.query_async::<()>(&mut redis).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), answers.next()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {request}")).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(answer.get_payload_bytes()).unwrap();
        assert_eq!(answer["requestId"], "q", "{request}");
        assert!(answer.get(field).is_some(), "{request}: {answer}");
    }
    assert_eq!(a.events(), ["wants acks"]);
    assert_eq!(a.rooms_of(id).await, None);
}

/// Publishes these requests on one connection, without waiting for each.
async fn request_all(redis: &RedisServer, requests: impl Iterator<Item = String>) {
    let mut all = redis::pipe();
    for request in requests {
        all.cmd("PUBLISH").arg("socket.io-request#/#").arg(request);
    }
    all.query_async::<()>(&mut redis.connection().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_a_node_server_are_carried_out_in_their_order() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let id = "pod-aaaa000000000001";
    a.add(id, None, &["room"]).await;
    let to_room = r#""opts":{"rooms":["room"],"except":[]}"#;
    let change = |kind, room: &str| format!(r#"{{"type":{kind},{to_room},"rooms":["{room}"]}}"#);
    // Each join waits for Redis, and is left before the next one.
    let orders = (0..100).flat_map(|n| {
        let room = format!("new {n}");
        [change(2, &room), change(3, &room)]
    });
    request_all(&redis, orders.chain([change(2, "last")])).await;
    super::until("the last order", async || {
        a.rooms_of(id).await.unwrap().iter().any(|room| room == "last")
    })
    .await;
    assert_eq!(a.rooms_of(id).await.unwrap(), ["room", "last"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_requests_is_answered_whole() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    a.add("pod-aaaa000000000001", None, &["room"]).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let (mut sink, answers) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("socket.io-response#/#").await.unwrap();
    let asked = |n| format!(r#"{{"requestId":"{n}","uid":"u","type":0,"rooms":["room"]}}"#);
    request_all(&redis, (0..1000).map(asked)).await;
    let all = answers.take(1000).collect::<Vec<_>>();
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), all).await.unwrap().len(), 1000);
    assert_eq!(a.metrics.redis_dropped.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_names_nothing_is_nobody() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let id = "pod-aaaa000000000001";
    a.add(id, None, &["room"]).await;
    for opts in [r#"{"rooms":[null],"except":[]}"#, r#"{"rooms":""}"#, r#"{"rooms":[[],{}]}"#] {
        for (kind, more) in
            [(2, r#""rooms":["new"]"#), (3, r#""rooms":["room"]"#), (4, r#""close":true"#)]
        {
            let request = format!(r#"{{"type":{kind},"opts":{opts},{more}}}"#);
            redis.publish("socket.io-request#/#", request.as_bytes()).await;
        }
    }
    let last = r#"{"type":2,"opts":{"rooms":[null,"room"]},"rooms":["last"]}"#;
    redis.publish("socket.io-request#/#", last.as_bytes()).await;
    super::until("a target with one valid name is that one", async || {
        a.rooms_of(id).await.is_none_or(|rooms| rooms.iter().any(|room| room == "last"))
    })
    .await;
    assert_eq!(a.rooms_of(id).await, Some(vec!["room".to_owned(), "last".to_owned()]));

    // `emitter.to([undefined, null]).emit("nobody")`, then `emitter.emit("everybody")`.
    let nobody = b"\x93\xa1e\x83\xa4type\x02\xa4data\x91\xa6nobody\xa3nsp\xa1/\
                   \x83\xa5rooms\x92\xc0\xc0\xa5flags\x80\xa6except\x90";
    let everybody = b"\x93\xa1e\x83\xa4type\x02\xa4data\x91\xa9everybody\xa3nsp\xa1/\
                      \x83\xa5rooms\x90\xa5flags\x80\xa6except\x90";
    redis.publish("socket.io#/#", nobody).await;
    redis.publish("socket.io#/#", everybody).await;
    a.gets("everybody").await;
    assert_eq!(a.events(), ["everybody"]);
}

/// A server with socket.io-redis 5 takes a question of ours for a custom request, which its hook
/// answers with nothing, under its own name of the id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_socket_io_redis_5_is_understood_and_not_waited_for() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let id = "pod-aaaa000000000001";
    a.add(id, None, &["room"]).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let (mut sink, mut messages) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("socket.io-request#/#").await.unwrap();
    let mut connection = redis.connection().await;
    let answering = tokio::spawn(async move {
        let request = messages.next().await.unwrap();
        let request: serde_json::Value =
            serde_json::from_slice(request.get_payload_bytes()).unwrap();
        assert_eq!(request["type"], 5);
        let answer = serde_json::json!({ "requestid": request["requestid"], "data": null });
        let publish =
            redis::cmd("PUBLISH").arg("socket.io-response#/#").arg(answer.to_string()).to_owned();
        publish.query_async::<()>(&mut connection).await.unwrap();
        (sink, messages)
    });
    let patient = a.broker.clone().with_query_deadline(Duration::from_secs(3600));
    let members = patient.members("/", "room").await;
    assert_eq!((members.members.len(), members.unanswered.len()), (1, 0));
    let (mut sink, mut messages) = answering.await.unwrap();

    sink.unsubscribe("socket.io-request#/#").await.unwrap();
    sink.subscribe("socket.io-response#/#").await.unwrap();
    let asked = [
        (format!(r#""type":3,"sid":"{id}","room":"new""#), serde_json::json!({})),
        (r#""type":0,"rooms":["new"]"#.to_owned(), serde_json::json!({ "clients": [id] })),
        (format!(r#""type":4,"sid":"{id}","room":"new""#), serde_json::json!({})),
        (r#""type":0,"rooms":["new"]"#.to_owned(), serde_json::json!({ "clients": [] })),
        (format!(r#""type":1,"sid":"{id}""#), serde_json::json!({ "rooms": [id, "room"] })),
    ];
    for (request, mut expected) in asked {
        let json = format!(r#"{{"requestid":"q",{request}}}"#);
        redis.publish("socket.io-request#/#", json.as_bytes()).await;
        let answer = tokio::time::timeout(Duration::from_secs(5), messages.next()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {json}")).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(answer.get_payload_bytes()).unwrap();
        expected["requestid"] = "q".into();
        assert_eq!(answer, expected, "{json}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_servers_are_asked_and_named_when_they_are_silent() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let (mut sink, mut requests) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("socket.io-request#/#").await.unwrap();
    let silent = a.broker.clone().with_query_deadline(Duration::from_millis(300));
    assert_eq!(silent.members("/", "room").await.unanswered, ["node"]);
    // Node servers know no users: nobody is waited for.
    let nobody = a.broker.disconnect_selected("/", &Selector::User("ann".into()), true).await;
    assert_eq!((nobody.matched, nobody.unanswered.len()), (0, 0));

    let mut redis = redis.connection().await;
    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let request: serde_json::Value =
                serde_json::from_slice(request.get_payload_bytes()).unwrap();
            if request["type"] != 5 {
                return request;
            }
            let answer = serde_json::json!({
                "requestId": request["requestId"],
                "sockets": [{ "id": "n1", "handshake": {}, "rooms": ["n1", "room"], "data": {} }],
            });
            let channel = "socket.io-response#/#";
            let publish = redis::cmd("PUBLISH").arg(channel).arg(answer.to_string()).to_owned();
            publish.query_async::<()>(&mut redis).await.unwrap();
        }
        panic!("no order came");
    });
    let members = a.broker.members("/", "room").await;
    assert_eq!(members.members[0].id.as_str(), "n1");
    assert_eq!(a.broker.rooms("/", "").await.rooms, [("room".into(), 1)].into());
    let joined = a.broker.join_selected("/", &Selector::room("room"), &["new".into()]).await;
    assert_eq!((joined.matched, joined.unanswered.len()), (1, 0));
    let order = answering.await.unwrap();
    assert_eq!((&order["type"], &order["rooms"][0]), (&2.into(), &"new".into()));
    assert_eq!(order["opts"]["rooms"][0], "room");
}
