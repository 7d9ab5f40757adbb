//! An application's backend that knows who is in rooms by what it is told alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use rookery_config as config;
use rookery_config::units::Period;
use serde_json::Value;
use tokio::net::TcpListener;

use super::VACATED_DELAY;
use crate::until;

/// A backend that hears events of rooms, and checks that each one is possible after those before.
pub struct TestBackend {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_down: AtomicBool,
    heard: Mutex<Heard>,
}

/// What was heard.
#[derive(Default)]
struct Heard {
    /// Who is in each room that is occupied.
    rooms: BTreeMap<String, BTreeSet<String>>,
    /// The ids of the accepted events, and of all that were sent.
    accepted: BTreeSet<String>,
    attempted: BTreeSet<String>,
    /// What happened, in order: `<room> <type> <user>`.
    log: Vec<String>,
    /// What was not possible.
    wrong: Vec<String>,
}

impl TestBackend {
    /// One that accepts everything.
    pub async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let routes = axum::Router::new().route("/", post(hear)).with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        TestBackend { address, shared }
    }

    /// The section `backend` for it.
    pub fn config(&self) -> config::Backend {
        config::Backend {
            vacated_delay: Period(VACATED_DELAY),
            ..config::Backend::at(format!("http://{}/", self.address))
        }
    }

    /// Answers 503 from here on, or accepts again.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Waits until these are in a room, as far as it was told.
    pub async fn knows(&self, room: &str, users: &[&str]) {
        let users: BTreeSet<String> = users.iter().map(|user| (*user).to_owned()).collect();
        let what = format!("the backend knows that {users:?} are in {room}");
        until(&what, async || self.members(room).as_ref() == Some(&users)).await;
        self.is_consistent();
    }

    /// Waits until a room is told as vacated.
    pub async fn is_vacated(&self, room: &str) {
        let what = format!("the backend knows that {room} is vacated");
        until(&what, async || self.members(room).is_none()).await;
        self.is_consistent();
    }

    /// Who is in a room; `None`: it is not occupied.
    pub fn members(&self, room: &str) -> Option<BTreeSet<String>> {
        self.shared.heard.lock().rooms.get(room).cloned()
    }

    /// What happened in a room, in order.
    pub fn log(&self, room: &str) -> Vec<String> {
        let heard = self.shared.heard.lock();
        let of_room = |line: &&String| line.split(' ').next() == Some(room);
        heard.log.iter().filter(of_room).cloned().collect()
    }

    /// The ids of the events that were sent, accepted or not.
    pub fn attempted(&self) -> BTreeSet<String> {
        self.shared.heard.lock().attempted.clone()
    }

    /// The ids of the events that were accepted.
    pub fn accepted(&self) -> BTreeSet<String> {
        self.shared.heard.lock().accepted.clone()
    }

    /// Fails where something was told that was not possible.
    pub fn is_consistent(&self) {
        let heard = self.shared.heard.lock();
        assert!(heard.wrong.is_empty(), "{:#?}\nof {:#?}", heard.wrong, heard.log);
    }
}

async fn hear(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> StatusCode {
    assert_eq!(body["type"], "rooms");
    let events = body["events"].as_array().unwrap();
    assert!((1..=100).contains(&events.len()));
    let is_down = shared.is_down.load(Ordering::SeqCst);
    let mut heard = shared.heard.lock();
    for event in events {
        let id = event["id"].as_str().unwrap().to_owned();
        heard.attempted.insert(id.clone());
        if !is_down && heard.accepted.insert(id) {
            heard.hear(event);
        }
    }
    if is_down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

impl Heard {
    fn hear(&mut self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let (kind, room, user) = (text("type"), text("room"), text("user"));
        let line = format!("{room} {kind} {user}");
        let is_possible = match &*kind {
            "room_occupied" => self.rooms.insert(room, BTreeSet::new()).is_none(),
            "room_vacated" => self.rooms.remove(&room).is_some_and(|left| left.is_empty()),
            "member_joined" => self.rooms.get_mut(&room).is_some_and(|users| users.insert(user)),
            "member_left" => self.rooms.get_mut(&room).is_some_and(|users| users.remove(&user)),
            _ => false,
        };
        if !is_possible {
            self.wrong.push(line.clone());
        }
        self.log.push(line);
    }
}
