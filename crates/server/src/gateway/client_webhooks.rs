//! The [`ClientWebhooks`]: what the backend has to do with one client.

use parking_lot::Mutex;

use super::disconnect_report::DisconnectReport;
use crate::backend::Answer;

/// What the backend has to do with one client.
#[derive(Debug, Default)]
pub struct ClientWebhooks {
    /// When the backend hears that the client is gone.
    pub disconnect: DisconnectReport,
    connect_answer: Mutex<Option<Box<Answer>>>,
}

impl ClientWebhooks {
    /// Keeps what the backend answered to the connect, until the client is in its namespace.
    pub fn set_connect_answer(&self, answer: Answer) {
        *self.connect_answer.lock() = Some(Box::new(answer));
    }

    /// What the backend answered to the connect; only once.
    pub fn take_connect_answer(&self) -> Option<Box<Answer>> {
        self.connect_answer.lock().take()
    }
}
