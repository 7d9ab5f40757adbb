//! What is done for a client that its namespace has accepted.

use std::sync::Arc;

use super::admin::welcome::welcome;
use super::client::Client;
use super::webhooks;
use crate::connection::Wait;

/// The namespace has accepted the client, and CONNECT is on its way. Returns what must end before the
/// client's first event is handled.
pub fn accepted(client: &Arc<Client>) -> Wait {
    match client.gateway().admin_of(&client.member.namespace) {
        Some(admin) => welcome(client, admin),
        None => webhooks::connect::accepted(client),
    }
}
