//! The parser that handles clients' events in place makes of a packet what socketioxide's makes of
//! it, but for the listed differences.

mod verdict;

use proptest::prelude::*;

use verdict::{Verdict, assert_same, engines, ours};

/// Parts of packets, most of them valid in their place.
fn packet() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        6 => prop::sample::select(vec!["2", "3", "5", "6"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["0", "1", "4", "7", "", "é", "22"]).prop_map(str::to_owned),
    ];
    let attachments =
        prop::sample::select(vec!["", "0-", "1-", "2-", "10-", "11-", "-", "x-", "1"]);
    let namespace =
        prop::sample::select(vec!["", "/,", "/chat,", "/a/b?c=1,", "/é,", "/open", ","]);
    let id = prop::sample::select(vec![
        "",
        "0",
        "7",
        "00012",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999",
        "-1",
        "1 ",
    ]);
    let array = prop_oneof![
        4 => prop::sample::select(vec![
            "[\"e\"]", "[\"e\",1]", "[\"e\",{\"_placeholder\":true,\"num\":0}]",
            "[\"e\",{\"_placeholder\":true,\"num\":9}]", "[]", "[1]", "[-1.5,2]", "[null]", "{}",
            "\"e\"", "[\"connect\"]", "[\"e\"", "[\"e\",]", "[\"e\"]]", "", " [\"e\"]", "[ \"e\" ]",
            "[\"\\ud800\"]", "[\"e\",\"\\udfff\"]", "[\"\\u0065\"]", "[\"e\",1e999]", "[[\"e\"]]",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    (kind, attachments, namespace, id, array).prop_map(
        |(kind, attachments, namespace, id, array)| {
            format!("{kind}{attachments}{namespace}{id}{array}")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn both_parsers_agree_on_packets(text in packet()) {
        assert_same(&text);
    }

    #[test]
    fn both_parsers_agree_on_any_text(text in "[0-7][0-9/,\\[\\]{}\":e -]{0,24}") {
        assert_same(&text);
    }
}

#[test]
fn a_message_is_told_from_what_the_engine_handles() {
    let event = |id, array: &str| Verdict::Message {
        event: true,
        namespace: "/chat".to_owned(),
        id,
        array: array.to_owned(),
    };
    assert_eq!(ours("2/chat,7[\"e\"]"), event(Some(7), "[\"e\"]"));
    assert_eq!(engines("2/chat,7[\"e\"]"), event(Some(7), "[\"e\"]"));
    assert_eq!(ours("2/chat,[1]"), event(None, "[1]"));
    assert_eq!((ours("0"), engines("1/chat,")), (Verdict::Control, Verdict::Control));
    assert_eq!((ours("2[]"), engines("2[]")), (Verdict::Refused, Verdict::Refused));
}
