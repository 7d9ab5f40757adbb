//! `rookery top`, with and without a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, signal, until};
use crate::ranking::{deliver, members, two};
use crate::redis::Redis;

fn top(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    for name in ["ROOKERY_API", "ROOKERY_KEY", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.arg("top").args(args);
    command
}

/// The output of `rookery top` without a terminal.
async fn piped(args: &[&str]) -> Output {
    let mut command = top(args);
    command.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn api(server: &Rookery) -> String {
    format!("http://{}", server.internal)
}

/// A pseudo-terminal that runs `rookery top`.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
    before: Termios,
}

impl Terminal {
    fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        resize(&theirs, 12, 90);
        let before = tcgetattr(&theirs).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = top(args);
        command.envs(environment.iter().copied()).stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(12), cells(90), 0)));
        let mut output = File::from(ours.try_clone().unwrap());
        let seen = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().process(&bytes[..n]);
            }
        });
        Terminal { ours: ours.into(), theirs, child, screen, before }
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen shows a text.
    async fn shows(&self, text: &str) {
        until(&format!("the screen shows {text}"), async || self.text().contains(text)).await;
    }

    /// The color of the first character of a text.
    fn colour(&self, text: &str) -> vt100::Color {
        let parser = self.screen.lock().unwrap();
        let rows: Vec<String> = parser.screen().rows(0, 90).collect();
        let row = rows.iter().position(|row| row.contains(text)).unwrap();
        let at = rows[row].find(text).map(|at| rows[row][..at].chars().count()).unwrap();
        parser.screen().cell(row as u16, at as u16).unwrap().fgcolor()
    }

    /// Waits for the end; returns the exit code, and checks that the terminal was restored.
    async fn ends(&mut self) -> Option<i32> {
        until("it ends", async || self.child.try_wait().unwrap().is_some()).await;
        let restored = async || {
            let parser = self.screen.lock().unwrap();
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        };
        until("the screen is restored", restored).await;
        let after = tcgetattr(&self.theirs).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes, "raw mode is left");
        assert_eq!(after.input_modes, self.before.input_modes);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the screen:\n{}", self.text());
        }
    }
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

/// The room names on the screen, from top to bottom.
fn rooms(screen: &str) -> Vec<String> {
    let names = screen.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("room-")).map(str::to_owned).collect()
}

#[tokio::test]
async fn top_shows_the_rooms_of_both_instances_and_reacts_to_keys() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut here = members(&servers, "room-here", [3, 0]).await;
    let mut there = members(&servers, "room-there", [0, 2]).await;
    deliver(&servers[0], "room-here", &mut here, 1).await;
    deliver(&servers[0], "room-there", &mut there, 9).await;
    let api = api(&servers[0]);
    let mut terminal = Terminal::start(&["--api", &api, "--interval", "100ms"], &[]);
    terminal.shows("2 pods").await;
    terminal.shows("▼P99").await;
    assert!(terminal.screen.lock().unwrap().screen().alternate_screen());

    terminal.press("r");
    terminal.shows("▼RATE/S").await;
    until("the busiest is first", async || rooms(&terminal.text()) == ["room-there", "room-here"])
        .await;
    terminal.press("m");
    terminal.shows("▼MEMBERS").await;
    until("the fullest is first", async || rooms(&terminal.text()) == ["room-here", "room-there"])
        .await;
    terminal.press("/room-t\r");
    until("one is left", async || rooms(&terminal.text()) == ["room-there"]).await;
    terminal.press("\u{1b}");
    until("both are back", async || rooms(&terminal.text()).len() == 2).await;

    resize(&terminal.theirs, 7, 50);
    terminal.screen.lock().unwrap().screen_mut().set_size(cells(7), cells(50));
    signal(terminal.child.id(), "WINCH");
    until("it fits", async || !terminal.text().contains("COUNT")).await;
    terminal.shows("room-here").await;

    terminal.press(" ");
    terminal.shows("paused").await;
    terminal.press("q");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn errors_are_shown_above_the_last_table() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut both = members(&servers, "room-\u{1b}[2J", [1, 1]).await;
    deliver(&servers[0], "room-\u{1b}[2J", &mut both, 2).await;
    let api = api(&servers[0]);
    let args = ["--api", api.as_str(), "--interval", "100ms"];
    let mut terminal = Terminal::start(&args, &[]);
    terminal.shows(r"room-\u{1b}[2J").await;
    signal(servers[1].pid(), "STOP");
    terminal.shows("no response from: ").await;
    assert_eq!(terminal.colour("no response from"), vt100::Color::Idx(3));
    signal(servers[1].pid(), "CONT");
    terminal.shows("2 pods").await;
    drop(servers);
    terminal.shows("no server at").await;
    terminal.shows(r"room-\u{1b}[2J").await;
    assert_eq!(terminal.colour("no server at"), vt100::Color::Idx(1));
    signal(terminal.child.id(), "TERM");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn colors_can_be_disabled() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let api = api(&server);
    let mut terminal = Terminal::start(&["--api", &api], &[("NO_COLOR", "1")]);
    terminal.shows("no room had a delivery").await;
    drop(server);
    terminal.shows("no server at").await;
    assert_eq!(terminal.colour("no server at"), vt100::Color::Default);
    terminal.press("\u{3}");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn without_a_terminal_top_prints_one_table() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut both = members(&servers, "room", [1, 1]).await;
    deliver(&servers[0], "room", &mut both, 2).await;
    let api = api(&servers[0]);
    until("all is counted", async || {
        let one = servers[0].internal("/api/rooms/room/latency").await;
        one.status == 200 && one.json()["count"] == 4
    })
    .await;
    for args in [&["--api", &api][..], &["--api", &api, "--once"]] {
        let run = piped(args).await;
        assert!(run.status.success());
        let out = String::from_utf8(run.stdout).unwrap();
        assert!(!out.contains('\u{1b}'), "{out}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("ROOM") && lines[0].contains("▼P99"), "{out}");
        let cells: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!((lines.len(), cells[0], cells[1], cells.last()), (2, "room", "2", Some(&"4")));
    }
    let run = piped(&["--api", &api, "--json", "--once", "--sort", "members"]).await;
    let text = String::from_utf8(run.stdout).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((text.lines().count(), document["rooms"][0]["members"].as_u64()), (1, Some(2)));
    let other = piped(&["--api", &api, "--namespace", "/other", "--once"]).await;
    assert_eq!(other.status.code(), Some(1));
    assert!(
        String::from_utf8(other.stderr).unwrap().contains("Namespace `/other` is not configured")
    );
}

#[tokio::test]
async fn json_mode_prints_one_document_after_another() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let api = api(&server);
    let mut command = top(&["--api", &api, "--json", "--interval", "100ms"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let three = tokio::task::spawn_blocking(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(output));
        lines.take(3).map(Result::unwrap).collect::<Vec<_>>()
    });
    for line in three.await.unwrap() {
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["pods"], 1, "{line}");
    }
    // A closed output is not a failure; a signal ends it too.
    signal(child.id(), "INT");
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(ended.success());
}

#[tokio::test]
async fn json_mode_escapes_terminal_control_characters() {
    const ROOM: &str = "room-\u{9b}2J-\u{202e}-房间";
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    member.join(ROOM).await;
    let api = api(&server);
    let run = piped(&["--api", &api, "--json", "--once", "--sort", "members"]).await;
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains(r"room-\u009b2J-\u202e-房间"), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["rooms"][0]["room"], ROOM);
}

#[tokio::test]
async fn a_missing_or_wrong_api_key_is_reported_with_its_flag() {
    let _permit = shared_permit().await;
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    std::fs::write(&keys, "ops:sesame-0123456789 members\n").unwrap();
    let server =
        Rookery::start(&format!("auth: {{ apiKeysFile: \"{}\" }}\n", keys.display())).await;
    let api = api(&server);
    let wrong = "another-sesame-7731";
    for args in [&["--api", &api][..], &["--api", &api, "--key", wrong]] {
        let run = piped(args).await;
        assert_eq!(run.status.code(), Some(1));
        let told = String::from_utf8(run.stderr).unwrap();
        assert!(told.contains("--key") && !told.contains(wrong), "{told}");
    }
    let with_user = api.replace("http://", &format!("http://ada:{wrong}@"));
    let run = piped(&["--api", &with_user]).await;
    assert_eq!(run.status.code(), Some(2));
    let told = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    assert!(told.contains("--key") && !told.contains(wrong), "{told}");
    let mut refused = Terminal::start(&["--api", &api], &[]);
    refused.shows("--key").await;
    assert_eq!(refused.ends().await, Some(1));
    assert!(piped(&["--api", &api, "--key", "sesame-0123456789"]).await.status.success());
    let mut let_in = top(&["--api", &api]);
    let_in.env("ROOKERY_KEY", "sesame-0123456789");
    let let_in = tokio::task::spawn_blocking(move || let_in.output().unwrap()).await.unwrap();
    assert!(let_in.status.success());
}
