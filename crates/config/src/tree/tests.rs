use super::*;

#[test]
fn an_empty_document_is_null() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "~\n"] {
        let node = Node::parse(text).unwrap();
        assert!(matches!(node.value, Value::Null), "{text:?}: {node:?}");
    }
}

#[test]
fn every_key_has_its_line_by_path() {
    let node =
        Node::parse("listen: a\nlimits:\n  queue: 1\nevents:\n- on: join\n  room: x\n").unwrap();
    assert_eq!(node.line_near("listen"), Some(1));
    assert_eq!(node.line_near("limits.queue"), Some(3));
    assert_eq!(node.line_near("events[0].on"), Some(5));
    assert_eq!(node.line_near("events[0].room"), Some(6));
    assert_eq!(node.line_near("events[0].args"), Some(5), "of the section around it");
    assert_eq!(node.line_near("auth.jwt"), None);
}

#[test]
fn every_repeated_key_is_found_with_both_lines() {
    let node = Node::parse("a: 1\nb:\n  c: 1\n  c: 2\na: 2\n").unwrap();
    let problems = node.duplicates();
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0].key.as_deref(), Some("b.c"));
    assert_eq!(problems[0].line, Some(4));
    assert!(problems[1].text.contains("first on line 1"), "{:?}", problems[1]);
}

#[test]
fn the_booleans_of_yaml_1_1_are_text() {
    let node = Node::parse("on: off\nyes: no\n").unwrap();
    let Value::Map(entries) = node.value else { panic!("no mapping") };
    assert!(matches!(&entries[0], Entry { key, node: Node { value: Value::Text(v), .. }, .. }
        if key == "on" && v == "off"));
}

#[test]
fn malformed_yaml_is_refused_with_its_line() {
    let problem = Node::parse("listen: [1\nb: {").unwrap_err();
    assert!(problem.text.contains("YAML"), "{problem:?}");
    assert!(problem.line.is_some());
    assert!(Node::parse("a: 1\n---\nb: 2\n").is_err());
}

#[test]
fn a_document_is_bounded_in_bytes_values_depth_and_keys() {
    let refused = |text: &str| Node::parse(text).unwrap_err().text;
    let bytes = refused(&format!("a: {}", "x".repeat(MAX_BYTES)));
    assert!(bytes.contains("at most 4194304 are allowed"), "{bytes}");
    refused(&format!("a: [{}]", "1,".repeat(MAX_NODES)));
    refused(&format!("a: {}{}", "[".repeat(40), "]".repeat(40)));
    refused(&format!("a: {}", "[".repeat(100_000)));
    let key = refused(&format!("a: 1\n{}: 1\n", "k".repeat(513)));
    assert!(key.contains("a key on line 2 has 513 bytes"), "{key}");
}

#[test]
fn what_aliases_stand_for_is_bounded() {
    let laughs: String = (1..9)
        .map(|i| format!("l{i}: &l{i} [{}]\n", vec![format!("*l{}", i - 1); 9].join(", ")))
        .collect();
    Node::parse(&format!("l0: &l0 lol\n{laughs}")).unwrap_err();
    let long = "x".repeat(1 << 20);
    let uses = "*long, ".repeat(90);
    Node::parse(&format!("a: &long {long}\nb: [{uses}]\n")).unwrap_err();
    Node::parse("a: &b [1, 2]\nc: *b\n").unwrap();
}
