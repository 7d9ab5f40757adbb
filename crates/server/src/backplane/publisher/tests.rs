use std::time::Duration;

use rookery_config as config;
use rookery_ops::critical::CriticalTasks;
use rookery_policy::Namespaces;
use rookery_protocol::Data;
use smallvec::smallvec;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::*;
use crate::backplane::{Backplane, BackplaneParts, Tasks, room_interests};
use crate::message::{MemberId, Publication};

/// A backplane whose Redis is away.
fn backplane(metrics: &Arc<Metrics>) -> Backplane {
    let config = config::Redis::at("redis://127.0.0.1:1".to_owned());
    let namespaces = Arc::new(Namespaces::compile(&["/"]).unwrap());
    let parts = BackplaneParts {
        interests: room_interests(&config, &namespaces, Duration::from_secs(30)),
        config,
        pod: PodId::from("pod-aaaa"),
        namespaces,
        metrics: metrics.clone(),
        bridge: Vec::new(),
        rollout: None,
    };
    let tasks = Tasks {
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        critical: CriticalTasks::default(),
    };
    Backplane::start(parts, &tasks).unwrap().0
}

fn publish(outgoing: &Outgoing) -> bool {
    let (member, args) = (MemberId::from("a"), smallvec![Data::from("x")]);
    let publication =
        Publication::of_client(&member, "/".into(), "room".into(), "event".into(), args, false);
    outgoing.push_publication(&publication, "channel".to_owned(), vec![0]).is_ok()
}

#[tokio::test]
async fn what_is_accepted_when_a_publisher_ends_is_counted_as_unsent() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let backplane = backplane(&metrics);
    let (outgoing, queue) = Outgoing::new();
    let publisher = Publisher::new(&backplane.parts, outgoing.clone(), queue);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    // Taken by a queue that was open a moment ago.
    outgoing.open();
    assert!(publish(&outgoing));
    let before = metrics.redis_unsent.get();
    publisher.run(shutdown).await;
    assert_eq!(metrics.redis_unsent.get(), before + 1);
    assert!(!publish(&outgoing), "nobody would count it");
}
