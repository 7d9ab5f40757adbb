//! What other servers send.

pub mod backend_reply;
pub mod pod_message;
pub mod scrape;
pub mod wire;
