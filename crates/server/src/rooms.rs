//! The rooms of this instance: who is in them, and delivery to their members.
//!
//! Each core has a [`Shard`](shard::Shard) that owns the rooms of its sessions;
//! [`LocalRooms`](local::LocalRooms) is all of them together. Nothing here knows other instances:
//! what has to be heard of them is written down in [`interest`].

pub mod batch;
pub mod encoded_publication;
pub mod hooks;
pub mod index;
pub mod interest;
pub mod local;
pub mod member;
pub mod membership;
pub mod presence;
pub mod ranking;
pub mod recipients;
pub mod scheduler;
pub mod shard;
pub mod shares;
pub mod statistics;
#[cfg(test)]
mod testing;
pub mod topic;
