//! The binary as a process: exit codes, stdout and stderr.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs the binary with no `ROOKERY_…` variable in its environment except those of `envs`.
fn rookery_with(args: &[&str], envs: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    for name in ["CONFIG", "LISTEN", "INTERNAL", "REDIS", "SHARDS"] {
        command.env_remove(format!("ROOKERY_{name}"));
    }
    command.env_remove("RUST_LOG").args(args).envs(envs.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    Run {
        code: status.code().expect("no signal ended it"),
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
    }
}

fn rookery(args: &[&str]) -> Run {
    rookery_with(args, &[])
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().expect("a directory"))
    }

    /// Writes a file and returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    }
}

#[test]
fn help_exits_with_0_and_wrong_usage_with_2() {
    assert_eq!(rookery(&["--help"]).code, 0);
    assert_eq!(rookery(&["serve", "--help"]).code, 0);
    assert_eq!(rookery(&["--version"]).code, 0);
    assert_eq!(rookery(&[]).code, 2);
    assert_eq!(rookery(&["fly"]).code, 2);
    assert_eq!(rookery(&["serve", "--port", "1"]).code, 2);
    let run = rookery(&["serve", "--listen", "here"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("--listen"), "{}", run.err);
    assert_eq!(rookery(&["serve", "--shards", "0"]).code, 2);
}

#[test]
fn check_summarizes_a_valid_file() {
    let files = Files::new();
    let keys =
        files.write("keys", "# keys\nbilling:b1-0123456789abc\nshop:s1-0123456789abc publish\n");
    let config = files.write(
        "rookery.yaml",
        &format!(
            "redis: {{ url: 'redis://user:hunter2@redis:6379' }}\nauth: {{ apiKeysFile: {keys} }}\n"
        ),
    );
    let run = rookery(&["check", &config]);
    assert_eq!(run.code, 0, "{}", run.err);
    for part in ["is valid", "127.0.0.1:3000", "2 keys", "@redis:6379", "every room is open"] {
        assert!(run.out.contains(part), "{part} in\n{}", run.out);
    }
    assert!(run.out.contains("warning: `socketio.cors`"), "{}", run.out);
    assert!(!run.out.contains("hunter2") && !run.out.contains("b1-"), "{}", run.out);
}

#[test]
fn check_connects_only_if_asked_and_exits_with_1_where_that_fails() {
    let files = Files::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("redis: {{ url: 'redis://ann:hunter2@{free}' }}\n");
    let config = files.write("rookery.yaml", &text);
    assert_eq!(rookery(&["check", &config]).code, 0);
    let run = rookery(&["check", &config, "--connect"]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("is valid"), "{}", run.out);
    assert!(run.err.starts_with("error: cannot use Redis at "), "{}", run.err);
    assert!(run.err.contains("check the address") && !run.err.contains("hunter2"), "{}", run.err);

    let config = files.write("alone.yaml", "auth: { anonymous: true }\n");
    let run = rookery(&["check", &config, "--connect"]);
    assert!(run.code == 0 && run.out.contains("nothing to connect to"), "{}{}", run.out, run.err);
}

#[test]
fn check_reports_every_problem_and_exits_with_2() {
    let files = Files::new();
    let config = files.write(
        "rookery.yaml",
        "limits:\n  conections: 5\nevents:\n- { on: a, operation: jump, room: r }\n",
    );
    let run = rookery(&["check", &config]);
    assert_eq!(run.code, 2);
    let lines: Vec<&str> = run.err.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.err);
    assert!(lines[0].contains(&format!("{config}:2: `limits.conections`")), "{}", lines[0]);
    assert!(lines[0].contains("did you mean `limits.connections`?"), "{}", lines[0]);
    assert!(lines[1].contains(&format!("{config}:4: `events[0].operation`")), "{}", lines[1]);
    assert_eq!(run.out, "");
}

#[test]
fn check_validates_every_file_that_is_named() {
    let files = Files::new();
    let keys = files.write("keys", "billing:b1-0123456789abc\nnonsense\n");
    let text = format!(
        "auth:\n  apiKeysFile: {keys}\n  jwt: {{ algorithms: [HS256], secretFile: /nowhere/secret }}\n"
    );
    let config = files.write("rookery.yaml", &text);
    let run = rookery(&["check", &config]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains(&format!("`auth.apiKeysFile` is refused: {keys}:2:")), "{}", run.err);
    assert!(run.err.contains("`auth.jwt.secretFile` names /nowhere/secret"), "{}", run.err);

    let run = rookery(&["check", "/nowhere/rookery.yaml"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("/nowhere/rookery.yaml"), "{}", run.err);
}

#[test]
fn serve_reports_an_invalid_configuration_as_json_lines_and_exits_with_2() {
    let files = Files::new();
    let config = files.write("rookery.yaml", "limits: { conections: 5, queue: big }\n");
    for run in [
        rookery(&["serve", "--config", &config]),
        rookery_with(&["serve"], &[("ROOKERY_CONFIG", &config)]),
    ] {
        assert_eq!(run.code, 2);
        assert_eq!(run.out, "");
        let lines: Vec<serde_json::Value> =
            run.err.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 2, "{}", run.err);
        assert_eq!(lines[0]["key"], "limits.conections");
        assert_eq!(lines[1]["key"], "limits.queue");
    }
}

#[test]
fn serve_refuses_a_public_address_without_auth() {
    let run = rookery(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("`auth.jwt`") && run.err.contains("`auth.anonymous: true`"));
}

#[test]
fn a_flag_overrides_the_environment_which_overrides_the_file() {
    let files = Files::new();
    let config = files.write("rookery.yaml", "listen: 192.0.2.1:1\n");
    let refused = |args: &[&str], envs: &[(&str, &str)]| {
        let mut all = vec!["serve", "--config", &config];
        all.extend(args);
        let run = rookery_with(&all, envs);
        assert_eq!(run.code, 2, "{}", run.err);
        run.err
    };
    let env = [("ROOKERY_LISTEN", "192.0.2.2:2")];
    assert!(refused(&[], &[]).contains("192.0.2.1:1"));
    assert!(refused(&[], &env).contains("192.0.2.2:2"));
    assert!(refused(&["--listen", "192.0.2.3:3"], &env).contains("192.0.2.3:3"));
}

#[test]
fn an_invalid_rust_log_exits_with_2() {
    let run = rookery_with(&["serve", "--listen", "127.0.0.1:0"], &[("RUST_LOG", "a=b=c")]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("RUST_LOG"), "{}", run.err);
}

#[test]
fn the_schema_is_a_json_document() {
    let run = rookery(&["schema"]);
    assert_eq!(run.code, 0);
    let schema: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["listen"]["default"], "127.0.0.1:3000");
}

#[test]
fn a_token_is_one_line_on_stdout() {
    let files = Files::new();
    let secret = files.write("secret", "s3cret-0123456789-0123456789-abcdef\n");
    let config = files.write(
        "rookery.yaml",
        &format!("auth: {{ jwt: {{ algorithms: [HS256], secretFile: {secret} }} }}\n"),
    );
    let run = rookery(&[
        "token",
        "--config",
        &config,
        "--user",
        "ada",
        "--claims",
        r#"{"a":1}"#,
        "--expires",
        "5m",
    ]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.out.lines().count(), 1);
    assert_eq!(run.out.trim().split('.').count(), 3, "{}", run.out);

    for wrong in [["--claims", "[1]"], ["--expires", "soon"]] {
        let run = rookery(&["token", "--config", &config, wrong[0], wrong[1]]);
        assert_eq!(run.code, 2);
        assert!(run.err.contains(wrong[0]), "{}", run.err);
    }
}

#[test]
fn signing_a_token_needs_a_secret() {
    let files = Files::new();
    for (text, named) in [
        ("", "`auth.jwt`"),
        ("auth: { jwt: { jwksUrl: 'https://id.example' } }\n", "`auth.jwt.jwksUrl`"),
        ("auth: { jwt: { publicKeyFile: key.pem } }\n", "`auth.jwt.publicKeyFile`"),
        ("auth: { jwt: { algorithms: [HS256], secretFile: /nowhere/s } }\n", "/nowhere/s"),
    ] {
        let run = rookery(&["token", "--config", &files.write("rookery.yaml", text)]);
        assert_eq!(run.code, 2);
        assert!(run.err.contains(named) && run.err.contains("secretFile"), "{}", run.err);
        assert_eq!(run.out, "");
    }
}

#[test]
fn top_errors_name_the_flag_to_change() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    for mode in [&["--once"][..], &["--json"], &[]] {
        let run = rookery(&[&["top", "--api", &nobody], mode].concat());
        assert_eq!(run.code, 1, "{mode:?}: {}", run.err);
        assert!(run.err.contains("no server") && run.err.contains("--api"), "{}", run.err);
        assert_eq!(run.out, "");
    }
    for wrong in [
        ["--api", "here"],
        ["--sort", "name"],
        ["--limit", "0"],
        ["--limit", "1001"],
        ["--interval", "1ms"],
        ["--interval", "soon"],
    ] {
        let run = rookery(&[&["top"][..], &wrong].concat());
        assert_eq!(run.code, 2, "{wrong:?}");
        assert!(run.err.contains(wrong[0]), "{}", run.err);
    }
}
