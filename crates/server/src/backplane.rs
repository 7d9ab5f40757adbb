//! Fan-out between instances over Redis pub/sub, on the wire of Node's `@socket.io/redis-adapter`
//! (classic) and `@socket.io/redis-emitter`.
//!
//! Two connections: one only listens (`subscriber`), one sends (`queue`, `sender`). What arrives
//! goes through `inbound`, straight to the shards. `classic`, `requests`, `msgpack` and `peers`
//! are pure: bytes in, values out.
//!
//! Clients of this server cannot ack a broadcast that another server sent with acks: such a
//! broadcast is delivered, and the answer says that no client will ack, so that the sender's call
//! ends without waiting for them.

pub mod bridge;
pub mod channels;
pub mod classic;
pub mod clock;
pub mod link;
pub mod peers;
pub mod requests;
pub mod subscriptions;

mod answering;
mod connect;
mod inbound;
mod queue;
mod sender;
mod subscriber;

pub use bridge::CompiledBridge;
pub use link::{Link, LinkParts};
pub use subscriptions::Hold;
