//! Small sources that break the rules, or only look as if they did.

use super::graph::Crate;
use super::rules;
use super::scan::scan;

fn server<const N: usize>(files: [(&str, &str); N]) -> Crate {
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    Crate::new("crates/server/src", files)
}

#[test]
fn an_upward_import_is_found_with_its_file_line_and_rule() {
    let server = server([
        ("rooms.rs", "pub mod shard;"),
        ("rooms/shard.rs", "\nuse crate::backplane::Backplane;\n"),
        ("backplane.rs", "pub struct Backplane;"),
    ]);
    assert_eq!(
        rules::layers(&server),
        ["crates/server/src/rooms/shard.rs:2: `use crate::backplane::Backplane`: \
          rooms may not import backplane: see docs/architecture.md"]
    );
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    let imports = [
        "fn f() { crate::broker::start(); }",
        "use super::super::broker;",
        "use crate::{message::A, broker::{Broker as B}};",
        "use crate::broker::*;",
        "mod inner { use super::super::super::broker::Broker; }",
        "fn f() { format!(\"{}\", crate::broker::NAME) }",
        "pub use crate::broker::Broker;",
    ];
    for import in imports {
        let server = server([("rooms/shard.rs", import), ("broker.rs", ""), ("message.rs", "")]);
        let found = rules::layers(&server);
        assert_eq!(found.len(), 1, "{import}: {found:?}");
        assert!(found[0].contains("rooms may not import broker"), "{found:?}");
    }
}

#[test]
fn gateway_and_api_do_not_import_each_other_and_both_may_import_auth() {
    let server = server([
        ("gateway.rs", "use crate::api::State; use crate::auth::Keys;"),
        ("api.rs", "use crate::auth::Keys; use crate::broker::Broker;"),
        ("auth.rs", "use crate::message::PodId;"),
        ("broker.rs", "use crate::auth::Keys;"),
        ("message.rs", ""),
    ]);
    let found = rules::layers(&server).join("\n");
    let refused = ["auth may not import message", "broker may not import auth", "import api"];
    assert!(refused.iter().all(|rule| found.contains(rule)), "{found}");
    assert_eq!(found.lines().count(), refused.len(), "{found}");
}

#[test]
fn a_module_without_a_layer_is_found() {
    let found = rules::layers(&server([("helpers.rs", "")]));
    assert_eq!(found, ["helpers has no layer: add it to tests/layers/rules.rs"]);
}

#[test]
fn comments_strings_and_test_modules_are_no_imports() {
    let text = r##"
        //! use crate::broker::Broker;
        /* use crate::broker::Broker; */
        /// [`crate::broker::Broker`]
        pub(in crate::broker) const A: &str = "use crate::broker::Broker;";
        const B: &str = r#"crate::broker"#;
        #[cfg(test)]
        mod tests { use crate::broker::Broker; }
        #[cfg(test)]
        impl A { fn f() { crate::broker::start() } }
        #[cfg(test)]
        mod fakes;
        fn f(&self) -> impl Sized + use<'_> { self.broker }
    "##;
    let used = "use crate::broker::Broker;";
    let server = server([
        ("rooms.rs", text),
        ("rooms/fakes.rs", used),
        ("rooms/tests.rs", used),
        ("rooms/testing/pods.rs", used),
        ("broker.rs", ""),
    ]);
    assert_eq!(rules::layers(&server), [""; 0]);
}

#[test]
fn a_circle_of_three_files_is_found() {
    let server = server([
        ("rooms.rs", "mod a; mod b; mod c;"),
        ("rooms/a.rs", "use super::b::B;"),
        ("rooms/b.rs", "use crate::rooms::c::C;"),
        ("rooms/c.rs", "fn f() { super::a::f() }"),
    ]);
    let circles = rules::circles(&server);
    assert_eq!(circles.len(), 1, "{circles:?}");
    let steps = [
        "  crates/server/src/rooms/a.rs:1: `use super::b::B`",
        "  crates/server/src/rooms/b.rs:1: `use crate::rooms::c::C`",
        "  crates/server/src/rooms/c.rs:1: `super::a::f`",
    ];
    assert!(circles[0].ends_with(&steps.join("\n")), "{}", circles[0]);
}

#[test]
fn a_circle_through_a_reexport_is_found() {
    let server = server([
        ("rooms.rs", "mod a; mod b; pub use b::B;"),
        ("rooms/a.rs", "use super::B;"),
        ("rooms/b.rs", "use super::a::A;"),
    ]);
    assert_eq!(rules::circles(&server).len(), 1);
}

#[test]
fn a_child_may_import_its_parents_types() {
    let server = server([
        ("rooms.rs", "mod a; use a::A; struct Parts;"),
        ("rooms/a.rs", "use super::Parts;"),
    ]);
    assert_eq!(rules::circles(&server), [""; 0]);
}

#[test]
fn a_long_file_and_a_long_function_are_found() {
    let body = "    let _ = 1;\n".repeat(48);
    let short = format!("fn short() {{\n{body}}}\n");
    let long = format!("fn long() {{\n{body}    let _ = 2;\n}}\n");
    let comments = "// A comment.\n".repeat(300);
    let server =
        server([("message.rs", &format!("{short}{long}{comments}")), ("rooms.rs", &short)]);
    assert_eq!(
        rules::sizes(&server),
        [
            "crates/server/src/message.rs: 401 lines: at most 400",
            "crates/server/src/message.rs:51: `long` has 51 lines: at most 50"
        ]
    );
}

#[test]
fn a_dependency_on_a_higher_crate_is_found() {
    let manifest = "[dependencies]\nrookery-ops.workspace = true\nserde.workspace = true\n\
        [dev-dependencies]\nrookery-server = { path = \"../server\" }\n\
        [features]\nrookery-client = []\n";
    assert_eq!(
        rules::dependencies("operator", manifest),
        ["the Cargo.toml of operator, line 5: operator may not depend on server: \
          see docs/architecture.md"]
    );
    assert_eq!(rules::dependencies("protocol", manifest).len(), 2);
    assert_eq!(rules::dependencies("rookery", manifest).len(), 0);
}

#[test]
fn the_scanner_reads_the_type_of_an_impl() {
    let scan = scan(
        "impl<'a, T: A<B>> Deref for a::Guard<'a, T> { fn deref() -> impl Fn() { fn inner() {} } }
         impl<T> Pool<T> { const SIZE: usize = 1; }
         fn free() -> impl Fn() { || () }
         fn last() {}",
    );
    assert_eq!(scan.items[0], "Guard::deref");
    assert_eq!(scan.items[2..], ["Pool::SIZE", "free", "last"]);
}

#[test]
fn the_scanner_reads_names_and_lines() {
    let scan = scan("use a::{b, c as d};\n\nstruct S;\nimpl S {\n    fn f() {}\n}\n");
    let names: Vec<_> = scan.imports.iter().map(|import| import.name.as_deref()).collect();
    assert_eq!(names, [Some("b"), Some("d")]);
    assert_eq!(scan.items, ["S", "S::f"]);
    assert_eq!((scan.functions[0].line, scan.functions[0].lines), (5, 1));
}
