//! The load generator against a small room server on another WebSocket library.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::plan::MAX_PAYLOAD;
use super::*;
use crate::target::Target;
use rookery_protocol::Data;
use rookery_protocol::packet::{self, Body};

type Members = Arc<Mutex<HashMap<String, Vec<mpsc::Sender<String>>>>>;

/// What the server does with a publication.
#[derive(Clone, Copy, PartialEq)]
enum OnPublish {
    Deliver,
    Twice,
    Refuse,
    HangUp,
    /// Closes the connection of who publishes.
    Close,
}

struct Server {
    target: Target,
    members: Members,
    _runtime: Runtime,
}

fn server(on_publish: OnPublish) -> Server {
    server_with(on_publish, Members::default())
}

fn server_with(on_publish: OnPublish, members: Members) -> Server {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let target = Target::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let shared = members.clone();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, shared.clone(), on_publish));
        }
    });
    Server { target: target.with_namespace("/n").unwrap(), members, _runtime: runtime }
}

async fn serve(stream: TcpStream, members: Members, on_publish: OnPublish) -> Option<()> {
    let (mut sink, mut stream) = accept_async(stream).await.ok()?.split();
    let (sender, mut receiver) = mpsc::channel::<String>(1024);
    tokio::spawn(async move {
        while let Some(text) = receiver.recv().await {
            let _ = sink.send(Message::text(text)).await;
        }
    });
    let open = r#"0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
    sender.send(open.to_owned()).await.ok()?;
    loop {
        let text = stream.next().await?.ok()?.into_text().ok()?;
        let packet = packet::decode(text.strip_prefix('4')?, &[]).ok()?;
        let (event, request) = match packet.body {
            Body::Connect(_) => {
                sender.send("2".to_owned()).await.ok()?;
                let pong = stream.next().await?.ok()?;
                assert_eq!(pong.into_text().ok()?, "3");
                sender.send(r#"40/n,{"sid":"s"}"#.to_owned()).await.ok()?;
                continue;
            }
            Body::Event { event, mut args } => (event, args.pop()?),
            _ => return None,
        };
        let room = request.get("room")?.as_str()?.to_owned();
        if event == "join" {
            members.lock().unwrap().entry(room).or_default().push(sender.clone());
            let answer = packet::encode_ack("/n", packet.id?, &[]).0;
            sender.send(format!("4{answer}")).await.ok()?;
            continue;
        }
        let text = reaction(on_publish, &request)?;
        let room = members.lock().unwrap().get(&room)?.clone();
        for member in room {
            for _ in 0..if on_publish == OnPublish::Twice { 2 } else { 1 } {
                member.send(text.clone()).await.ok()?;
            }
        }
    }
}

/// What the server sends to the members of the room of a publication.
fn reaction(on_publish: OnPublish, request: &Data) -> Option<String> {
    Some(match on_publish {
        OnPublish::Close => return None,
        OnPublish::HangUp => "1".to_owned(),
        OnPublish::Refuse => r#"42/n,["rookery:error",{"error":{"code":"forbidden"}}]"#.to_owned(),
        OnPublish::Deliver | OnPublish::Twice => {
            let args = [request.get("data")?.clone()];
            let event = request.get("event")?.as_str()?;
            format!("4{}", packet::encode_event("/n", None, event, &args).0)
        }
    })
}

fn plan(server: &Server, pace: Option<Pace>) -> Plan {
    Plan {
        targets: vec![server.target.clone()],
        api: None,
        publish_at: None,
        clients: 7,
        rooms: 2,
        room_prefix: "t".to_owned(),
        payload: 300,
        deflate: false,
        pace,
        warmup: Duration::from_millis(50),
        duration: Duration::from_millis(300),
        connect_rate: 10_000,
        pids: vec![std::process::id()],
    }
}

#[test]
fn every_member_receives_every_publication() {
    let server = server(OnPublish::Deliver);
    let mut stages = Vec::new();
    let report = run(&plan(&server, Some(Pace::InFlight(3))), |stage| stages.push(stage)).unwrap();
    assert_eq!((report.missing, report.unexpected, report.lost_clients), (0, 0, 0));
    assert!(report.publications > 0 && report.deliveries > report.publications);
    assert!(report.latency.unwrap().p50_ms > 0.0);
    assert!(stages.iter().any(|stage| matches!(stage, Stage::Connecting { joined: 7 })));
    assert!(stages.iter().any(|stage| matches!(stage, Stage::Measuring { .. })));
    let sizes: Vec<_> = server.members.lock().unwrap().values().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 7);
    assert!(sizes.contains(&3) && sizes.contains(&4));
}

#[test]
fn clients_that_are_in_no_room_publish_at_a_server_of_their_own() {
    // The servers share their rooms, as instances with a Redis do.
    let members = server(OnPublish::Refuse);
    let publishers = server_with(OnPublish::Deliver, members.members.clone());
    let plan = plan(&members, Some(Pace::InFlight(3)));
    let plan = Plan { publish_at: Some(publishers.target.clone()), ..plan };
    let report = run(&plan, |_| {}).unwrap();
    assert_eq!((report.missing, report.unexpected, report.lost_clients), (0, 0, 0));
    assert!(report.publications > 0 && report.deliveries > report.publications);
    assert_eq!(report.cpu_seconds_by_process.len(), 1);
    let sizes: Vec<_> = members.members.lock().unwrap().values().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 7, "publishers join no room");
}

#[test]
fn a_lost_publisher_ends_the_run() {
    let members = server(OnPublish::Refuse);
    let publishers = server_with(OnPublish::Close, members.members.clone());
    let plan = plan(&members, Some(Pace::Rate(100.0)));
    let plan = Plan { publish_at: Some(publishers.target.clone()), ..plan };
    let error = run(&plan, |_| {}).unwrap_err();
    assert!(error.to_string().contains("closed the connection"), "{error}");
    assert!(error.to_string().contains(publishers.target.url()), "{error}");
}

#[test]
fn a_rate_is_not_exceeded() {
    let server = server(OnPublish::Deliver);
    let begin = Instant::now();
    let report = run(&plan(&server, Some(Pace::Rate(100.0))), |_| {}).unwrap();
    let most = begin.elapsed().as_secs_f64() * 100.0 + 1.0;
    assert!(report.publications > 0 && report.publications as f64 <= most, "{report:?}");
    assert!(report.deliveries > 0);
}

#[test]
fn duplicate_deliveries_are_reported() {
    let server = server(OnPublish::Twice);
    let report = run(&plan(&server, Some(Pace::InFlight(1))), |_| {}).unwrap();
    assert!(report.unexpected > 0);
}

#[test]
fn idle_clients_publish_nothing() {
    let server = server(OnPublish::Refuse);
    let report = run(&plan(&server, None), |_| {}).unwrap();
    assert_eq!((report.publications, report.deliveries), (0, 0));
    assert!(report.memory.unwrap().connected > 0);
    assert!(report.cpu_ms_per_connect.unwrap() >= 0.0);
    assert!(report.deliveries_per_cpu_second.is_none());
}

#[test]
fn a_refused_publication_ends_the_run_with_its_reason() {
    let server = server(OnPublish::Refuse);
    let error = run(&plan(&server, Some(Pace::Rate(100.0))), |_| {}).unwrap_err();
    assert!(error.to_string().contains("forbidden"), "{error}");
}

#[test]
fn a_lost_client_ends_a_run_that_waits_for_its_deliveries() {
    let server = server(OnPublish::HangUp);
    let error = run(&plan(&server, Some(Pace::InFlight(1))), |_| {}).unwrap_err();
    assert!(error.to_string().contains("closed the session"), "{error}");
}

#[test]
fn an_impossible_plan_is_refused() {
    let server = server(OnPublish::Deliver);
    let plan = plan(&server, None);
    assert!(Plan { clients: 1, ..plan.clone() }.validate().is_err());
    let api = Api { url: "http://127.0.0.1:1".parse().unwrap(), key: None };
    let both = Plan { api: Some(api), publish_at: Some(server.target.clone()), ..plan.clone() };
    assert!(both.validate().is_err());
    assert!(Plan { payload: 3, ..plan.clone() }.validate().is_err());
    assert!(Plan { payload: MAX_PAYLOAD + 1, ..plan.clone() }.validate().is_err());
    assert!(plan.validate().is_ok());
}
