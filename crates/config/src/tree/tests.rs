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
    for (path, line) in [
        ("listen", Some(1)),
        ("limits.queue", Some(3)),
        ("limits.other", Some(2)),
        ("events[0].on", Some(5)),
        ("events[0].room", Some(6)),
        ("events[9].room", Some(4)),
        ("event", None),
    ] {
        assert_eq!(node.line_near(path), line, "{path}");
    }
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
fn lists_sections_and_texts_are_bounded() {
    let oversized = |text: &str| {
        let problems = Node::parse(text).unwrap().oversized();
        problems.into_iter().map(|problem| problem.text).collect::<Vec<_>>()
    };
    assert_eq!(oversized(&format!("a: [{}]\n", "x, ".repeat(MAX_ITEMS))), [""; 0]);
    assert_eq!(
        oversized(&format!("a: {{ b: [{}] }}\n", "x, ".repeat(MAX_ITEMS + 1))),
        ["`a.b` has 1001 items; at most 1000 are allowed"]
    );
    let keys: String = (0..=MAX_ITEMS).map(|i| format!("k{i}: 1\n")).collect();
    assert_eq!(oversized(&keys), ["the file has 1001 keys; at most 1000 are allowed"]);
    assert_eq!(
        oversized(&format!("a: {}\n", "x".repeat(MAX_TEXT + 1))),
        ["`a` has 16385 bytes; at most 16384 are allowed"]
    );
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
