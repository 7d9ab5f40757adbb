//! Many members that come and go.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::*;
use crate::cluster_servers::RedisCluster;
use rookery_server::rooms::member::Member;

const ROOMS: [&str; 3] = ["hooked-a", "room-b", "hooked-c"];

/// A member, on one of the pods, and the rooms that it is in.
struct Client {
    pod: usize,
    user: String,
    member: Arc<Member>,
    rooms: BTreeSet<&'static str>,
}

/// Who must be in each room that is occupied.
fn truth(clients: &[Client]) -> BTreeMap<String, BTreeSet<String>> {
    let mut truth: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for client in clients {
        for room in &client.rooms {
            truth.entry((*room).to_owned()).or_default().insert(client.user.clone());
        }
    }
    truth
}

async fn knows_all(backend: &TestBackend, clients: &[Client]) {
    let truth = truth(clients);
    for room in ROOMS {
        let what = format!("the backend knows of {room}: {:?}", truth.get(room));
        until(&what, async || backend.members(room) == truth.get(room).cloned()).await;
    }
    backend.is_consistent();
}

/// Something happens to somebody on one of these pods.
async fn act(pods: &[&Pod], clients: &mut Vec<Client>, random: &mut StdRng, step: u32) {
    let is_few = clients.len() < 12;
    match random.random_range(0..10) {
        0..3 if is_few => {
            let (pod, user) = (random.random_range(0..pods.len()), random.random_range(0..6));
            let id = format!("{}{step:012}", pods[pod].backplane.pod());
            let user = format!("user-{user}");
            let member = pods[pod].connect(&id, &user).await;
            clients.push(Client { pod, user, member, rooms: BTreeSet::new() });
        }
        3 if !clients.is_empty() => {
            let gone = clients.swap_remove(random.random_range(0..clients.len()));
            pods[gone.pod].lose(gone.member).await;
        }
        4..8 if !clients.is_empty() => {
            let at = random.random_range(0..clients.len());
            let room = ROOMS[random.random_range(0..ROOMS.len())];
            if clients[at].rooms.insert(room) {
                pods[clients[at].pod].enter(&clients[at].member, room).await;
            }
        }
        8 if !clients.is_empty() => {
            let at = random.random_range(0..clients.len());
            if let Some(room) = clients[at].rooms.pop_first() {
                pods[clients[at].pod].leave(&clients[at].member, room).await;
            }
        }
        _ => tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await,
    }
}

/// Random numbers that are the same again with the seed that is printed.
fn random() -> StdRng {
    let seed = rand::rng().next_u64();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_knows_who_is_in_rooms_of_three_pods() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let pods = [
        up("pod-aaaa", &redis, &backend).await,
        up("pod-bbbb", &redis, &backend).await,
        up("pod-cccc", &redis, &backend).await,
    ];
    let pods: Vec<&Pod> = pods.iter().collect();
    know_each_other(&pods).await;
    let (mut random, mut clients) = (random(), Vec::new());
    for step in 0..400 {
        act(&pods, &mut clients, &mut random, step).await;
        if step % 100 == 99 {
            knows_all(&backend, &clients).await;
        }
    }
    for client in std::mem::take(&mut clients) {
        pods[client.pod].lose(client.member).await;
    }
    knows_all(&backend, &[]).await;
    nothing_is_left(&redis).await;
    let counted: usize = pods.iter().map(|pod| accepted(pod)).sum();
    assert_eq!(counted, backend.accepted().len(), "each event is counted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_knows_who_is_there_while_pods_are_killed_and_redis_hangs() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let mut pods = Vec::new();
    for n in 0..3 {
        pods.push(killable(&format!("pod-{n:04}"), &redis, &backend).await);
    }
    let (mut random, mut clients): (_, Vec<Client>) = (random(), Vec::new());
    for round in 0..3 {
        for step in 0..120 {
            let all: Vec<&Pod> = pods.iter().map(|killable| &killable.pod).collect();
            act(&all, &mut clients, &mut random, 1000 * round + step).await;
            match step {
                40 => redis.signal("STOP"),
                70 => redis.signal("CONT"),
                80 => backend.set_down(true),
                _ => {}
            }
        }
        let at = random.random_range(0..pods.len());
        pods.swap_remove(at).kill();
        clients.retain(|client| client.pod != at);
        // The last one took its place.
        clients.iter_mut().filter(|client| client.pod == pods.len()).for_each(|c| c.pod = at);
        pods.push(killable(&format!("pod-{:04}", 10 * (round + 1)), &redis, &backend).await);
        backend.set_down(false);
        knows_all(&backend, &clients).await;
    }
    for client in std::mem::take(&mut clients) {
        pods[client.pod].pod.lose(client.member).await;
    }
    knows_all(&backend, &[]).await;
    nothing_is_left(&redis).await;
    // Their runtimes cannot end here otherwise.
    pods.into_iter().for_each(Killable::kill);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_knows_who_is_in_rooms_on_a_redis_cluster() {
    let cluster = RedisCluster::start(config::Wire::Sharded).await;
    let backend = TestBackend::start().await;
    let pods = ["pod-aaaa", "pod-bbbb"].map(|name| of(name, cluster.config(), &backend));
    let pods: Vec<&Pod> = pods.iter().collect();
    for pod in &pods {
        pod.is_up().await;
    }
    know_each_other(&pods).await;
    let (mut random, mut clients) = (random(), Vec::new());
    for step in 0..150 {
        act(&pods, &mut clients, &mut random, step).await;
    }
    knows_all(&backend, &clients).await;
    for client in std::mem::take(&mut clients) {
        pods[client.pod].lose(client.member).await;
    }
    knows_all(&backend, &[]).await;
    let errors: Vec<u64> = pods.iter().map(|pod| pod.metrics.presence.redis_errors.get()).collect();
    assert_eq!(errors, [0, 0]);
}

/// `rookery_backend_room_events_total{outcome="accepted"}` of a pod.
fn accepted(pod: &Pod) -> usize {
    let families = pod.metrics.registry().gather();
    let mut of_events = families.iter().filter(|f| f.name() == "rookery_backend_room_events_total");
    let counters = of_events.next().unwrap().get_metric().iter();
    let accepted = counters.filter(|m| m.get_label().iter().any(|l| l.value() == "accepted"));
    accepted.map(|m| m.get_counter().get_value() as usize).sum()
}
