//! Messages from Redis: broadcasts and requests of Node servers and other instances.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use rookery_server::backplane::wire::{classic, requests};
use rookery_protocol::msgpack;

fuzz_target!(|input: &[u8]| {
    if let Ok(data) = msgpack::read(input) {
        let mut written = Vec::new();
        msgpack::write(&mut written, &data);
        let again = msgpack::read(&written).expect("what was written is read");
        let mut twice = Vec::new();
        msgpack::write(&mut twice, &again);
        assert_eq!(written, twice);
    }
    let _ = classic::sender(input);
    let _ = requests::decode(input);
    let _ = requests::fetched(input);
    let Ok(decoded) = classic::decode(input) else { return };
    let namespace: Arc<str> = decoded.namespace.as_str().into();
    let publication = decoded.into_publication(namespace, || "id".into(), Instant::now());
    let bytes = classic::encode(&publication, "abcdefgh", Some(1));
    let again = classic::decode(&bytes).expect("what was encoded is decoded");
    assert_eq!((again.event, again.rooms), (publication.event, publication.rooms));
    assert_eq!(classic::sender(&bytes), Some(&b"abcdefgh"[..]));
});
