//! What a session does with packets as they pass through its stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::Session;
use crate::connection::Wait;
use crate::connection::outbox::Ending;
use crate::connection::stream::{EngineHooks, PacketAction};
use crate::gateway::namespaces::{MAX_OF_SESSION, NamespaceLease};
use crate::gateway::token_bucket::TokenBucket;
use crate::gateway::{accepted, connect_error, events};
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_policy::{Code, Refusal};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::{CloseCode, FrameError};
use rookery_protocol::packet::{PacketError, PacketHead};
use rookery_protocol::{Data, Revision, packet};

impl Session {
    /// socketioxide accepted the client in a namespace: the CONNECT gets the client's public id,
    /// and its events are handled from now on. In revision 3 CONNECT holds no id (Socket.IO
    /// protocol, revision 4).
    fn connected(&self, packet: &[u8]) -> PacketAction {
        let text = String::from_utf8_lossy(packet);
        let Ok(PacketHead { namespace, .. }) = PacketHead::parse(&text) else {
            return PacketAction::Drop;
        };
        let Some(client) = self.clients.get(namespace) else { return PacketAction::Drop };
        self.count();
        let sid = Data::Object(vec![("sid".into(), Data::from(&*client.member.id))]);
        let payload = (self.outbox.revision() == Revision::V4).then_some(&sid);
        let packet = Encoded::message(&packet::encode_connect(namespace, payload), Vec::new());
        PacketAction::SendThen(packet, Box::new(move || accepted::accepted(&client)))
    }

    /// A namespace refuses the client, which may be the end of the session.
    fn connect_refused(&self, packet: &[u8]) -> PacketAction {
        self.asked.put(None);
        let text = String::from_utf8_lossy(packet);
        let namespace = PacketHead::parse(&text).map_or("/", |head| head.namespace);
        let packet = connect_error::rewrite(packet, self.outbox.revision());
        if !self.clients.connect_refused(self.gateway(), namespace) {
            return PacketAction::Send(packet);
        }
        let outbox = self.outbox.clone();
        let close = move || {
            outbox.close(Disconnected::Refused, Ending::Finish);
            None
        };
        PacketAction::SendThen(packet, Box::new(close))
    }

    /// A lease of the namespace that the client asks for, if it is of a pattern.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn lease(&self, namespace: &str) -> Result<Option<NamespaceLease>, &'static str> {
        let gateway = self.gateway();
        let most = gateway.limits.config().namespaces;
        let lease = gateway.namespaces.acquire(namespace, most);
        let lease =
            lease.map_err(|_| "as many namespaces are in use as may be; try again later")?;
        let Some(lease) = lease else { return Ok(None) };
        let is_of_pattern = |name: &str| !gateway.namespaces.served().is_fixed(name);
        let clients = self.clients.all();
        let own = clients.iter().filter(|client| is_of_pattern(&client.member.namespace));
        if own.count() >= MAX_OF_SESSION {
            return Err("the connection is in as many namespaces as it may be; leave one first");
        }
        Ok(Some(lease))
    }

    /// Refuses a namespace before the engine hears of it, which may be the end of the session.
    fn refuse_namespace(&self, namespace: &str, message: &'static str) {
        let gateway = self.gateway();
        gateway.metrics.connects_refused.inc();
        let subject = self.log_subject().in_namespace(namespace);
        gateway.refused(Rejected::Namespaces, subject, &message);
        let refusal = Refusal::new(Code::TooManyNamespaces, message);
        let packet = connect_error::encode(namespace, refusal.into(), self.outbox.revision());
        self.outbox.send(Arc::new(packet));
        if self.clients.connect_refused(gateway, namespace) {
            self.outbox.close(Disconnected::Refused, Ending::Finish);
        }
    }

    /// Whether a CONNECT_ERROR of revision 3 is that of a root that is not offered.
    fn is_root_not_offered(&self, packet: &[u8]) -> bool {
        self.outbox.revision() == Revision::V3
            && !self.gateway().namespaces.served().is_fixed("/")
            && std::str::from_utf8(packet)
                .is_ok_and(|text| PacketHead::parse(text).is_ok_and(|head| head.namespace == "/"))
    }
}

impl EngineHooks for Session {
    fn on_packet(&self, text: &[u8], attachments: Vec<Bytes>) -> PacketAction {
        match text {
            // The open packet: the handshake has sent ours, with our session id.
            [b'0', ..] => PacketAction::Drop,
            [b'4', b'0', ..] => self.connected(&text[1..]),
            // The engine asks for the root by itself; the client would take an error of the root for
            // one of all its namespaces (`socket.io-client` 2).
            [b'4', b'4', ..] if self.is_root_not_offered(&text[1..]) => PacketAction::Drop,
            [b'4', b'4', ..] => self.connect_refused(&text[1..]),
            _ => PacketAction::Send(Encoded::new(text, attachments)),
        }
    }

    fn on_connect(&self, namespace: &str) -> bool {
        match self.lease(namespace) {
            Ok(lease) => {
                self.asked.put(lease);
                true
            }
            Err(message) => {
                self.refuse_namespace(namespace, message);
                false
            }
        }
    }

    fn is_connected(&self, namespace: &str) -> bool {
        self.clients.get(namespace).is_some_and(|client| client.is_connected())
    }

    fn on_client_packet(&self, head: &PacketHead<'_>, attachments: &[Bytes]) -> Wait {
        // It may have been disconnected while its attachments came.
        let client = self.clients.get(head.namespace)?;
        events::receive(&client, head, attachments).unwrap_or_else(|error| {
            events::record_bad_packet(&client, &error);
            self.outbox.close(Disconnected::TransportError, Ending::Finish);
            None
        })
    }

    fn on_inflated(&self, bytes: usize) -> Wait {
        let rate = self.gateway().limits.config().bytes_per_second.0;
        let (rate, now) = (u32::try_from(rate).unwrap_or(u32::MAX), Instant::now());
        let mut bucket = self.inflatable.lock();
        let bucket = bucket.get_or_insert_with(|| Box::new(TokenBucket::full(rate, now)));
        let pause = bucket.owe(bytes, rate, now);
        if pause.is_zero() { None } else { Some(Box::pin(tokio::time::sleep(pause))) }
    }

    fn may_hold(&self, bytes: usize) -> bool {
        let mut held = self.held.lock();
        if bytes == 0 {
            *held = None;
            return true;
        }
        let limits = &self.gateway().limits;
        let permit = held.get_or_insert_with(|| limits.body(self.clients.origin()).into());
        let Err(limit) = permit.grow(bytes) else { return true };
        self.gateway().refused(limit.reason, self.log_subject(), &limit.explanation);
        self.outbox.set_close_code(Some(CloseCode::TRY_AGAIN_LATER));
        self.outbox.close(Disconnected::TransportError, Ending::Finish);
        false
    }

    fn on_turn_end(&self) {
        if !self.has_spoken.load(Ordering::Relaxed) {
            self.has_spoken.store(true, Ordering::Relaxed);
        }
        self.gateway().broker.end_turn(self.shard);
    }

    fn on_malformed(&self, error: &PacketError) {
        self.gateway().refused(Rejected::BadPacket, self.log_subject(), error);
        if *error == PacketError::AttachmentsTooLong {
            self.outbox.set_close_code(Some(CloseCode::TOO_BIG));
        }
        self.outbox.close(Disconnected::TransportError, Ending::Finish);
    }

    fn on_violation(&self, error: FrameError) {
        let reason = match error {
            FrameError::TooLong => Rejected::Payload,
            _ => Rejected::BadPacket,
        };
        self.gateway().refused(reason, self.log_subject(), &error);
        self.outbox.set_close_code(Some(error.close_code()));
        self.outbox.close(Disconnected::TransportError, Ending::Finish);
    }

    fn on_close(&self, gave_up: bool) {
        let clients = self.clients.close(gave_up);
        let in_time = self.opened.elapsed() < self.gateway().config.socketio.connect_timeout.0;
        if gave_up && clients == 0 && in_time {
            let error = "the first message is not a packet";
            self.gateway().refused(Rejected::BadPacket, self.log_subject(), &error);
        }
    }
}
