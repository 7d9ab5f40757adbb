//! The routes, one file for each resource: its handlers, and the bodies of its requests and answers.

pub(super) mod batch;
pub(super) mod explain;
pub(super) mod latency;
pub(super) mod members;
pub(super) mod presence;
pub(super) mod publish;
pub(super) mod rooms;
pub(super) mod status;
