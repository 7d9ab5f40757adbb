use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decision::Permission;
use crate::room_hooks::RoomHook;

fn rule(pattern: &str, join: Option<&str>, publish: Option<&str>) -> RoomRule {
    RoomRule {
        pattern: pattern.to_owned(),
        join: join.map(str::to_owned),
        publish: publish.map(str::to_owned),
        ..RoomRule::default()
    }
}

fn subject(claims: Value) -> Subject {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    let user = claims.get("sub").and_then(Value::as_str).map(str::to_owned);
    Subject::new(user, Arc::new(claims))
}

/// Decides a join of `w1:a1` by one expression.
fn join(expression: &str, claims: Value) -> Decision<'static> {
    let rules = Rules::compile(&[rule("{workspace}:{app}", Some(expression), None)]).unwrap();
    let rules = Box::leak(Box::new(rules));
    rules.decide(Permission::Join, &Namespace::root(), "w1:a1", &subject(claims))
}

fn refused(expression: &str) -> String {
    let error = Rules::compile(&[rule("{w}:{a}", Some(expression), None)]).unwrap_err();
    assert_eq!((error.section, error.index, error.key), ("rooms", 0, "join"), "{expression}");
    error.to_string()
}

/// Whether somebody without a token may join a room.
fn anonymous_join<'r>(rules: &'r Rules, room: &str) -> Decision<'r> {
    rules.decide(Permission::Join, &Namespace::root(), room, &Subject::anonymous())
}

#[test]
fn without_rules_everything_is_allowed() {
    let rules = Rules::compile(&[]).unwrap();
    for permission in [Permission::Join, Permission::Publish] {
        let decision = rules.decide(permission, &Namespace::root(), "any", &Subject::anonymous());
        assert!(decision.allowed);
        assert_eq!(decision.reason.to_string(), "no rules are configured");
        assert_eq!(decision.rule, None);
    }
    assert_eq!(&**rules.class_of("any"), "default");
}

#[test]
fn a_room_that_no_rule_matches_is_denied() {
    let rules = Rules::compile(&[rule("{w}:{a}", None, None)]).unwrap();
    let decision = anonymous_join(&rules, "lobby");
    assert!(!decision.allowed);
    assert_eq!(decision.reason.to_string(), "no rule matches this room");
    assert_eq!(decision.rule, None);
}

#[test]
fn a_rule_without_an_expression_allows() {
    let rules = Rules::compile(&[rule("{w}:{a}", None, Some("false"))]).unwrap();
    let decide =
        |permission| rules.decide(permission, &Namespace::root(), "w:a", &Subject::anonymous());
    assert!(decide(Permission::Join).allowed);
    assert!(!decide(Permission::Publish).allowed);
    assert_eq!(decide(Permission::Join).rule, Some("{w}:{a}"));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = Rules::compile(&[
        rule("public:{name}", Some("true"), None),
        rule("{a}:{b}", Some("false"), None),
        rule("{room*}", Some("true"), None),
    ])
    .unwrap();
    let decide = |room: &str| {
        let decision = anonymous_join(&rules, room);
        (decision.allowed, decision.rule.unwrap().to_string())
    };
    assert_eq!(decide("public:x"), (true, "public:{name}".to_owned()));
    assert_eq!(decide("private:x"), (false, "{a}:{b}".to_owned()));
    assert_eq!(decide("a:b:c"), (true, "{room*}".to_owned()));
}

#[test]
fn expressions_see_captures_claims_user_and_room() {
    let claims = json!({
        "sub": "ada", "workspaces": ["w0", "w1"], "level": 3, "share": 0.5, "big": u64::MAX,
        "admin": false, "nothing": null, "org": {"apps": ["a1"]},
    });
    for expression in [
        "workspace in claims.workspaces",
        "app in claims.org.apps && workspace == 'w1'",
        "user == 'ada' && user == claims.sub",
        "room == 'w1:a1' && room == workspace + ':' + app",
        "captures.workspace == workspace && captures['app'] == app",
        "claims.level + 1 == 4 && claims.level > 2 && claims.share < 1.0",
        "claims.big > 9223372036854775807u",
        "claims.nothing == null && !claims.admin",
        "!has(claims.missing) && has(claims.sub)",
        "claims.workspaces.exists(w, w == workspace)",
        "claims.workspaces.all(w, w.startsWith('w')) && size(claims.workspaces) == 2",
        "claims.workspaces.map(w, w + '!').filter(x, x == 'w1!').size() == 1",
        "room.matches('^w[0-9]+:')",
        "type(user) == string",
        "[1, 2].exists(workspace, workspace == 2)",
    ] {
        let decision = join(expression, claims.clone());
        assert!(decision.allowed, "{expression}: {}", decision.reason);
        assert_eq!(decision.reason.to_string(), format!("`{expression}` is true"));
    }
    let anonymous = join("user == null", json!({}));
    assert!(anonymous.allowed, "{}", anonymous.reason);
}

#[test]
fn captures_are_decoded_before_cel_sees_them() {
    let rules = Rules::compile(&[rule("{w}:{a}", Some("w == 'a:b' && a == '100%'"), None)]);
    let rules = rules.unwrap();
    let decision = anonymous_join(&rules, "a%3Ab:100%25");
    assert!(decision.allowed, "{}", decision.reason);
}

#[test]
fn a_capture_takes_precedence_over_a_variable_of_its_name() {
    let rules = Rules::compile(&[rule("user-{user}", Some("user == claims.sub"), None)]);
    let (rules, ada) = (rules.unwrap(), subject(json!({"sub": "ada"})));
    assert!(rules.decide(Permission::Join, &Namespace::root(), "user-ada", &ada).allowed);
    assert!(!rules.decide(Permission::Join, &Namespace::root(), "user-bob", &ada).allowed);
}

#[test]
fn an_expression_that_fails_denies_and_says_why() {
    let cases = [
        ("workspace in claims.workspaces", "workspaces"),
        ("claims.sub == 'ada' && claims.gone == 1", "gone"),
        ("claims.sub + 1 == 2", "failed"),
        ("claims.sub / 0 == 1", "failed"),
        ("1 / 0 == claims.n", "zero"),
        ("claims.sub[0] == 'a'", "failed"),
        ("workspace.nosuch()", "nosuch"),
        ("claims", "map, not true or false"),
        ("workspace", "string, not true or false"),
        ("claims.n", "int, not true or false"),
    ];
    for (expression, why) in cases {
        let decision = join(expression, json!({"sub": "ada", "n": 1}));
        assert!(!decision.allowed, "{expression}");
        assert!(decision.reason.to_string().contains(why), "{expression}: {}", decision.reason);
        assert_eq!(decision.rule, Some("{workspace}:{app}"));
    }
}

#[test]
fn the_reason_of_a_failed_expression_is_bounded() {
    let decision = join("claims.long + 1 == 2", json!({"long": "é".repeat(5000)}));
    assert!(!decision.allowed);
    let length = decision.reason.to_string().len();
    assert!(length < 400, "{length}");
}

#[test]
fn malformed_expressions_name_their_rule_and_key() {
    assert!(refused("w in").starts_with("rooms[0].join: line 1, column "));
    assert!(refused("").starts_with("rooms[0].join: "));
    assert!(refused("workspce == w").contains("no variable `workspce`; known: w, a, claims"));
    assert!(refused("[1].exists(x, y)").contains("`y`"));
    assert!(refused("[1].exists(x, true) && x").contains("`x`"));
    assert!(refused(&format!("'{}' == w", "x".repeat(4096))).contains("4096"));
    let bad = Rules::compile(&[rule("ok", None, None), rule("{a}{b}", None, None)]);
    assert!(bad.unwrap_err().to_string().starts_with("rooms[1].match: "));
    let bad = Rules::compile(&[rule("ok", None, Some("b"))]).unwrap_err();
    assert_eq!((bad.key, bad.section), ("publish", "rooms"));
    let twice = Rules::compile(&[rule("{a}:b", None, None), rule("{a}:b", None, None)]);
    assert!(twice.unwrap_err().to_string().starts_with("rooms[1].match: rooms[0]"));
}

/// Every shape that nests, `n` levels of it.
fn nested(n: usize) -> Vec<String> {
    let shape = |open: &str, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(n), close.repeat(n))
    };
    vec![
        shape("(", "true", ")"),
        shape("!", "true", ""),
        shape("-", "claims.n", " == 1"),
        shape("[", "", "]"),
        shape("{1:", "1", "}"),
        shape("true && ", "true", ""),
        shape("w == 'x' || ", "true", ""),
        shape("true ? true : ", "true", ""),
        shape("1 + ", "1 > 0", ""),
        shape("1-", "1 > 0", ""),
        shape("1<", "1", ""),
        shape("1 in ", "[]", ""),
        shape("", "claims", ".a"),
        shape("", "claims", "[0]"),
        shape("", "claims", ".f()"),
        shape("[1].exists(x, ", "true", ")"),
        shape("[1].map(x, ", "true", ")"),
    ]
}

#[test]
fn deep_expressions_are_refused_or_evaluated_but_never_overflow_the_stack() {
    for text in (0..12).flat_map(|power| nested(1 << power)).chain(nested(28)) {
        if let Ok(rules) = Rules::compile(&[rule("{w}:{a}", Some(&text), None)]) {
            anonymous_join(&rules, "w:a");
        }
    }
    assert!(refused(&format!("{}true", "1-1<".repeat(100))).contains("32 deep"));
    let names = "w == 'x' || ".repeat(300) + "w == 'w'";
    let rules = Rules::compile(&[rule("{w}:{a}", Some(&names), None)]).unwrap();
    assert!(anonymous_join(&rules, "w:a").allowed);
}

#[test]
fn the_user_claim_names_the_subjects_user() {
    let claims = |id: Value| json!({"id": id}).as_object().cloned().map(Arc::new).unwrap();
    let user = |id| Subject::from_claims(claims(id), "id").user().map(str::to_owned);
    assert_eq!(user(json!("ada")).as_deref(), Some("ada"));
    assert_eq!(user(json!(7)).as_deref(), Some("7"));
    assert_eq!(user(json!(["ada"])), None);
    assert_eq!(Permission::from_key("publish"), Some(Permission::Publish));
    assert_eq!(Permission::from_key("leave"), None);
}

#[test]
fn every_room_has_a_class_that_is_shared() {
    let rules = Rules::compile(&[
        rule("{w}:{a}", None, None),
        rule("default", None, None),
        rule("lobby", None, None),
    ])
    .unwrap();
    let classes: Vec<&str> = rules.classes().iter().map(|c| &**c).collect();
    assert_eq!(classes, ["default", "{w}:{a}", "lobby"]);
    assert_eq!(&**rules.class_of("x:y"), "{w}:{a}");
    assert_eq!(&**rules.class_of("lobby"), "lobby");
    assert_eq!(&**rules.class_of("other"), "default");
    assert_eq!(&**rules.class_of("default"), "default");
    assert_eq!(rules.class_index("lobby"), 2);
    assert!(Arc::ptr_eq(rules.class_of("lobby"), &rules.classes()[2]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_expression_makes_the_rules_panic(
        text in "[a-c0-9.,:?!&|()\\[\\]{}'\"`+*/%<>= \\\\@x-]{0,24}",
        any in "\\PC{0,24}",
    ) {
        for text in [text, any] {
            if let Ok(rules) = Rules::compile(&[rule("{a}:{b}", Some(&text), None)]) {
                anonymous_join(&rules, "a:b");
            }
        }
    }
}

#[test]
fn patterns_and_loops_that_could_take_long_are_refused_when_loaded() {
    let refusal = |text: &str| Expression::compile(text, &[]).unwrap_err();
    let computed = refusal("room.matches(claims.pattern)");
    assert!(computed.contains("must be written out"), "{computed}");
    let computed = refusal("matches(room, '^' + user)");
    assert!(computed.contains("must be written out"), "{computed}");
    let invalid = refusal("[room].exists(r, r.matches('('))");
    assert!(invalid.contains("is not valid"), "{invalid}");
    let large = refusal(r"room.matches('(\\w{100}){100}')");
    assert!(large.contains("exceeds size limit"), "{large}");
    let nested = "claims.a.all(x, claims.b.all(y, claims.c.all(z, x == y)))";
    assert!(refusal(nested).contains("nests more than 2"), "{}", refusal(nested));
    for fine in ["room.matches('^a+$')", "claims.a.all(x, claims.b.exists(y, x == y))"] {
        Expression::compile(fine, &[]).unwrap();
    }
}

#[test]
fn a_rule_over_its_budget_denies_and_says_so() {
    let nested = "claims.a.exists(x, claims.b.exists(y, x == y))";
    let claims = |n: usize| {
        let list = |from: usize| (from..from + n).collect::<Vec<_>>();
        json!({ "a": list(0), "b": list(n - 1) })
    };
    assert!(join(nested, claims(40)).allowed);
    let over = join(nested, claims(5_000));
    assert!(!over.allowed);
    assert!(over.reason.to_string().contains("1000000 are allowed"), "{}", over.reason);
    let simple = join("claims.a.exists(x, x == 4999)", claims(5_000));
    assert!(simple.allowed, "{}", simple.reason);
}

#[test]
fn regular_expressions_match_in_both_forms_and_in_loops() {
    for (expression, expected) in [
        ("room.matches('^w1:') && matches(room, 'a1$')", true),
        ("room.matches('^w2:') || matches(room, '^a1')", false),
        ("claims.teams.exists(t, t.matches('^w[0-9]$') && room.startsWith(t))", true),
        ("claims.teams.exists(t, t.matches('^x') && !room.matches('^y'))", false),
        ("{'a': room.matches('w')}['a'] ? ['b'].exists(b, b.matches('b')) : false", true),
    ] {
        let decision = join(expression, json!({ "teams": ["v", "w1"] }));
        assert_eq!(decision.allowed, expected, "{expression}: {}", decision.reason);
    }
    let wrong = join("claims.teams.matches('a')", json!({ "teams": [1] }));
    assert!(!wrong.allowed, "{}", wrong.reason);
    assert!(Rules::compile(&[rule("{w}:{a}", Some("@matches(room, 0)"), None)]).is_err());
}

fn presence(presence: Presence, info: Option<&str>) -> Rules {
    let info = info.map(str::to_owned);
    let rule = RoomRule { presence, presence_info: info, ..rule("{team}:{doc}", None, None) };
    Rules::compile(&[rule]).unwrap()
}

#[test]
fn presence_info_is_json_of_claims_and_captures() {
    let info = "{'name': claims.name, 'team': team, 'n': [1, 2.5, true, null]}";
    let rules = presence(Presence::User, Some(info));
    let shown =
        rules.track_as(&Namespace::root(), "a:b", &subject(json!({ "name": "Ann" }))).unwrap();
    let expected = json!({ "name": "Ann", "team": "a", "n": [1, 2.5, true, null] });
    assert_eq!(shown, TrackAs { by: Presence::User, is_shown: true, info: Some(Ok(expected)) });
    assert!(rules.has_presence("a:b") && !rules.has_presence("lobby"));
    assert_eq!(rules.track_as(&Namespace::root(), "lobby", &Subject::anonymous()), None);
}

#[test]
fn without_presence_nobody_is_shown_and_without_info_nothing_of_them() {
    let off = presence(Presence::Off, None);
    assert_eq!(off.track_as(&Namespace::root(), "a:b", &Subject::anonymous()), None);
    assert!(!off.has_presence("a:b"));
    let bare =
        presence(Presence::Member, None).track_as(&Namespace::root(), "a:b", &Subject::anonymous());
    assert_eq!(bare, Some(TrackAs { by: Presence::Member, is_shown: true, info: None }));
}

#[test]
fn with_hooks_alone_users_are_tracked_and_shown_to_nobody() {
    let hooks: RoomHooks = [RoomHook::MemberJoined].into_iter().collect();
    let hooked = RoomRule { hooks, ..rule("{team}:{doc}", None, None) };
    let rules = Rules::compile(&[hooked]).unwrap();
    let tracked = rules.track_as(&Namespace::root(), "a:b", &Subject::anonymous());
    assert_eq!(tracked, Some(TrackAs { by: Presence::User, is_shown: false, info: None }));
    assert!(!rules.has_presence("a:b"));
    assert_eq!((rules.hooks_of("a:b"), rules.hooks_of("lobby")), (hooks, RoomHooks::default()));
}

#[test]
fn presence_info_that_fails_or_is_too_large_says_why() {
    let info = |expression: &str, claims: Value| {
        let rules = presence(Presence::User, Some(expression));
        rules.track_as(&Namespace::root(), "a:b", &subject(claims)).unwrap().info.unwrap()
    };
    assert!(info("claims.name", json!({})).unwrap_err().contains("name"));
    let long = info("claims.name", json!({ "name": "x".repeat(1_100) }));
    assert_eq!(long.unwrap_err(), "it gives 1102 bytes; at most 1024 are allowed");
    let steps = info("claims.a.map(x, x in claims.a)", json!({ "a": vec![1; 5_000] }));
    assert!(steps.unwrap_err().contains("steps"));
}

#[test]
fn presence_info_that_does_not_compile_is_refused_with_its_key() {
    let info = Some("claims.".to_owned());
    let rule = RoomRule { presence_info: info, ..rule("{w}:{a}", None, None) };
    assert_eq!(Rules::compile(&[rule]).unwrap_err().key, "presenceInfo");
}

#[test]
fn a_rule_knows_the_namespace_and_what_its_pattern_captured() {
    let namespaces = crate::namespaces::Namespaces::compile(&["/", "/tenant-{id}"]).unwrap();
    let own = "nsp.params.id == claims.tenant && nsp.name.startsWith('/tenant-')";
    let rules = Rules::compile(&[rule("{id}:{name}", Some(own), Some("id == 'id'"))]).unwrap();
    let decide = |name: &str, permission| {
        let namespace = namespaces.get(name).unwrap();
        rules.decide(permission, &namespace, "id:x", &subject(json!({ "tenant": "7" }))).allowed
    };
    assert!(decide("/tenant-7", Permission::Join));
    assert!(!decide("/tenant-8", Permission::Join));
    assert!(!decide("/", Permission::Join), "a parameter that is not there denies");
    assert!(decide("/tenant-7", Permission::Publish), "the rule's own capture of that name");
    let has = Rules::compile(&[rule("{r}", Some("!has(nsp.params.id)"), None)]).unwrap();
    let anonymous = Subject::anonymous();
    assert!(has.decide(Permission::Join, &namespaces.get("/").unwrap(), "r", &anonymous).allowed);
}

#[test]
fn no_capture_may_hide_the_namespace() {
    let error = Rules::compile(&[rule("{nsp}:{pod}", None, None)]).unwrap_err();
    assert_eq!((error.section, error.key), ("rooms", "match"));
    assert!(error.message.contains("would hide the variable `nsp`"), "{error}");
}
