//! The memory that a client's event takes: nothing is allocated that is not kept.

use std::hint::black_box;
use std::sync::Arc;

use rookery_policy::{
    Action, EventRule, EventRules, Namespace, Permission, RoomRule, Rules, Subject,
};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::packet::{self, PacketHead};
use rookery_server::message::{MemberId, Publication};
use rookery_server::rooms::encoded_publication::EncodedPublication;

/// What an event meets on its way.
struct Path {
    events: EventRules,
    rules: Rules,
    subject: Subject,
    member: MemberId,
    namespace: Arc<str>,
    in_namespace: Namespace,
}

impl Path {
    /// The default events, and rules whose last one allows everything.
    fn new() -> Self {
        let rule = |pattern: &str, publish: Option<&str>| RoomRule {
            pattern: pattern.to_owned(),
            publish: publish.map(str::to_owned),
            ..RoomRule::default()
        };
        let rules = [rule("user:{id}", Some("user == id")), rule("{workspace}:{app}", None)];
        Path {
            events: EventRules::compile(&EventRule::defaults()).expect("the defaults compile"),
            rules: Rules::compile(&rules).expect("the rules compile"),
            subject: Subject::anonymous(),
            member: MemberId::from("podpodpo123456789012"),
            namespace: "/".into(),
            in_namespace: Namespace::root(),
        }
    }

    /// Handles the text of an event that publishes, up to what the shards are given, as
    /// `gateway::events` does. With an ack, its packet too.
    fn publish(&self, text: &str) -> (EncodedPublication, Option<Encoded>) {
        let head = PacketHead::parse(text).expect("a packet");
        let (event, args) = packet::decode_event(head.payload, None).expect("an event");
        let mut request = self.events.request(event, args);
        let Ok(Action::Publish { room, event, except_sender }) = request.action() else {
            panic!("the event publishes")
        };
        assert!(
            self.rules
                .decide(Permission::Publish, &self.in_namespace, &room, &self.subject)
                .allowed
        );
        let ack = head.id.map(|id| request.success(None, |answer| Encoded::ack("/", id, [answer])));
        let args = request.take_args();
        packet::check_args(&args).expect("few and flat enough");
        let namespace = self.namespace.clone();
        let publication =
            Publication::of_client(&self.member, namespace, room, event, args, except_sender);
        let class = |room: &str| self.rules.class_of(room).clone();
        (EncodedPublication::new(publication, None, class, None), ack)
    }

    /// The number of allocations that an event takes.
    fn allocations(&self, text: &str) -> u64 {
        let measured = allocation_counter::measure(|| {
            black_box(self.publish(text));
        });
        assert_eq!(measured.count_current, 0, "nothing is leaked");
        measured.count_total
    }
}

/// What parsing keeps: the event's name, the list of its arguments, and the object's list of
/// fields. Keys and strings of up to 24 bytes are part of these lists.
const PARSED: u64 = 3;

/// What the shards get: the name of the room, the name of the event, the frame, the packet that
/// outboxes share, and the tag that its deliveries are counted under.
const PUBLISHED: u64 = 5;

#[test]
fn an_event_that_publishes_allocates_what_is_kept_and_nothing_else() {
    let path = Path::new();
    let event =
        |data: &str| format!(r#"2["publish",{{"room":"w:a","event":"news","data":{data}}}]"#);
    assert_eq!(path.allocations(&event("17")), PARSED + PUBLISHED);
    // A longer string is parsed into one allocation, which is moved all the way to the frame.
    let text = format!("\"{}\"", "x".repeat(1000));
    assert_eq!(path.allocations(&event(&text)), PARSED + 1 + PUBLISHED);
    // So is a tree: four lists, of which one grows beyond four elements.
    let tree = r#"{"x":1,"y":2,"by":{"id":7,"name":"Ada"},"tags":["a","b"],"path":[1,2,3]}"#;
    assert_eq!(path.allocations(&event(tree)), PARSED + 4 + 1 + PUBLISHED);
}

#[test]
fn an_ack_costs_its_own_packet_and_no_copy_of_the_event() {
    let path = Path::new();
    let event =
        |id: &str| format!(r#"2{id}["publish",{{"room":"w:a","event":"e","data":["x",{{}}]}}]"#);
    assert_eq!(path.allocations(&event("17")), path.allocations(&event("")) + 1);
}

#[test]
fn a_rule_that_allows_without_an_expression_allocates_nothing() {
    let path = Path::new();
    let measured = allocation_counter::measure(|| {
        for permission in [Permission::Join, Permission::Publish] {
            black_box(path.rules.decide(
                permission,
                &path.in_namespace,
                "workspace:app",
                &path.subject,
            ));
        }
        black_box(path.rules.class_of("workspace:app"));
    });
    assert_eq!(measured.count_total, 0);
}
