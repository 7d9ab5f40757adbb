//! [`BackendMetrics`]: calls to the application's backend.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use rookery_policy::RoomHook;

use super::families::Families;
use rookery_config::Hook;

/// The values of the label `outcome` of `rookery_backend_room_events_total`.
const ACCEPTED: &str = "accepted";
const DROPPED: &str = "dropped";

/// What is counted of the calls to the application's backend.
pub struct BackendMetrics {
    requests: IntCounterVec,
    /// `rookery_backend_request_seconds`: time until the backend's whole reply was read, or the
    /// request failed, in seconds.
    pub seconds: Histogram,
    /// `rookery_backend_in_flight`: requests that the backend has not answered yet.
    pub in_flight: IntGauge,
    /// `rookery_backend_waiting`: connects and events that wait because too many are in flight.
    pub waiting: IntGauge,
    /// `rookery_backend_retry_queue`: notifications that wait to be sent, or to be sent again.
    pub retry_queue: IntGauge,
    /// `rookery_backend_dropped_total{kind="notification"}`: notifications that were given up.
    pub dropped_notifications: IntCounter,
    /// `rookery_backend_dropped_total{kind="publication"}`: publications of replies that were not
    /// accepted.
    pub dropped_publications: IntCounter,
    room_events: IntCounterVec,
    /// `rookery_backend_rooms`: rooms of which this instance tells the backend, or would if others did
    /// not.
    pub rooms: IntGauge,
}

/// What became of a request to the backend: label `outcome` of `rookery_backend_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendOutcome {
    /// The backend answered, and its reply is valid.
    Ok,
    /// The backend's reply is an `error`.
    Refused,
    /// The backend did not answer in time.
    Timeout,
    /// There was no connection, or it broke.
    Unreachable,
    /// The status is not 2xx.
    Status,
    /// The reply is larger than `backend.maxReply`.
    TooLarge,
    /// The reply is not what a reply must be.
    BadReply,
    /// Not sent: the last calls failed, and the backend is left alone for a moment.
    CircuitOpen,
    /// Not sent: `backend.queue` was full.
    Overloaded,
}

impl BackendOutcome {
    /// Every value, in declaration order.
    pub const ALL: [BackendOutcome; 9] = [
        BackendOutcome::Ok,
        BackendOutcome::Refused,
        BackendOutcome::Timeout,
        BackendOutcome::Unreachable,
        BackendOutcome::Status,
        BackendOutcome::TooLarge,
        BackendOutcome::BadReply,
        BackendOutcome::CircuitOpen,
        BackendOutcome::Overloaded,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            BackendOutcome::Ok => "ok",
            BackendOutcome::Refused => "refused",
            BackendOutcome::Timeout => "timeout",
            BackendOutcome::Unreachable => "unreachable",
            BackendOutcome::Status => "status",
            BackendOutcome::TooLarge => "too_large",
            BackendOutcome::BadReply => "bad_reply",
            BackendOutcome::CircuitOpen => "circuit_open",
            BackendOutcome::Overloaded => "overloaded",
        }
    }
}

impl BackendMetrics {
    pub(super) fn new(families: &Families) -> prometheus::Result<Self> {
        let requests = families.counter_matrix(
            "rookery_backend_requests_total",
            "Webhooks, by what became of them",
            ["hook", "outcome"],
        )?;
        for hook in Hook::ALL {
            for outcome in BackendOutcome::ALL {
                requests.with_label_values(&[hook.label(), outcome.label()]);
            }
        }
        let dropped = families.counter_vec(
            "rookery_backend_dropped_total",
            "Notifications that the backend did not get, and publications of its replies that were refused",
            "kind",
        )?;
        let room_events = families.counter_matrix(
            "rookery_backend_room_events_total",
            "Events of rooms that the backend was told, or that were given up",
            ["type", "outcome"],
        )?;
        for hook in RoomHook::ALL {
            for outcome in [ACCEPTED, DROPPED] {
                room_events.with_label_values(&[hook.label(), outcome]);
            }
        }
        Ok(BackendMetrics {
            requests,
            room_events,
            rooms: families.gauge("rookery_backend_rooms", "Rooms of which the backend is told")?,
            seconds: families.histogram(
                "rookery_backend_request_seconds",
                "Time until the backend has answered a webhook",
            )?,
            in_flight: families
                .gauge("rookery_backend_in_flight", "Webhooks that the backend has not answered")?,
            waiting: families.gauge(
                "rookery_backend_waiting",
                "Connects and events that wait for others to be answered by the backend",
            )?,
            retry_queue: families.gauge(
                "rookery_backend_retry_queue",
                "Notifications that wait to be sent to the backend",
            )?,
            dropped_notifications: dropped.with_label_values(&["notification"]),
            dropped_publications: dropped.with_label_values(&["publication"]),
        })
    }

    /// Counts an event of a room: accepted by the backend, or given up.
    pub fn room_event(&self, hook: RoomHook, is_accepted: bool) {
        let outcome = if is_accepted { ACCEPTED } else { DROPPED };
        self.room_events.with_label_values(&[hook.label(), outcome]).inc();
    }

    /// Counts a request.
    pub fn requested(&self, hook: Hook, outcome: BackendOutcome) {
        self.requests.with_label_values(&[hook.label(), outcome.label()]).inc();
    }
}
