//! Random stories of a session, step by step.

use proptest::prelude::*;

/// The shape of a packet: bytes and attachments.
pub(super) type Shape = (usize, usize);

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The engine gets packets to write for the client.
    Engine(Vec<Shape>),
    /// The engine writes at most so many bytes of them.
    Write(usize),
    /// A shard delivers packets; each may be volatile.
    Deliver(Vec<(Shape, bool)>),
    /// The client reads at most so many bytes, or polls.
    Receive(usize),
    /// The client sends so many packets.
    Send(usize),
    /// The engine reads all that is available.
    Read,
    /// What the client's last event waits for is done.
    Done,
    /// A waiting GET is answered.
    ReleasePoll,
    /// The WebSocket takes over; so many of the bytes that follow were read with the HTTP upgrade.
    Attach(usize),
    /// Other tasks run.
    Yield,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Finish,
    Abort,
    EngineCloses,
    EngineGoes,
}

#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) v3: bool,
    /// Messages on the WebSocket are compressed.
    pub(super) deflate: bool,
    pub(super) queue: usize,
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
    pub(super) afterwards: Vec<Step>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let size = prop_oneof![4 => 0usize..300, 2 => 300usize..5_000, 1 => 5_000usize..80_000];
    (size, prop_oneof![3 => Just(0usize), 1 => 1usize..4])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop::collection::vec(shape(), 1..4).prop_map(Step::Engine),
        4 => (1usize..3_000).prop_map(Step::Write),
        1 => Just(Step::Write(usize::MAX)),
        4 => prop::collection::vec((shape(), prop::bool::weighted(0.2)), 1..5).prop_map(Step::Deliver),
        4 => (1usize..20_000).prop_map(Step::Receive),
        2 => (1usize..4).prop_map(Step::Send),
        2 => Just(Step::Read),
        2 => Just(Step::Done),
        1 => Just(Step::ReleasePoll),
        1 => (0usize..60).prop_map(Step::Attach),
        2 => Just(Step::Yield),
    ]
}

pub(super) fn story() -> impl Strategy<Value = Story> {
    let end = prop_oneof![
        3 => Just(End::Finish),
        1 => Just(End::Abort),
        1 => Just(End::EngineCloses),
        1 => Just(End::EngineGoes),
    ];
    let queue = prop_oneof![4 => Just(64usize << 20), 1 => 1_000usize..200_000];
    (
        any::<(bool, bool)>(),
        queue,
        prop::collection::vec(step(), 0..60),
        end,
        prop::collection::vec(step(), 0..6),
    )
        .prop_map(|((v3, deflate), queue, steps, end, afterwards)| Story {
            v3,
            deflate,
            queue,
            steps,
            end,
            afterwards,
        })
}
