//! What other servers send.

pub mod pod_message;
pub mod scrape;
pub mod wire;
