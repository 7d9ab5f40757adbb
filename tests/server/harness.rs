//! A real server process for one test.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::{Request, Response};

/// How long a condition may take on a loaded machine before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many tests may run concurrently.
const CONCURRENT_TESTS: u32 = 4;

static PERMITS: Semaphore = Semaphore::const_new(CONCURRENT_TESTS as usize);

/// A permit to run: shared with other tests, or exclusive for a test that measures.
pub struct Permit(#[expect(dead_code, reason = "held, not read")] SemaphorePermit<'static>);

/// A permit to run alongside other tests.
pub async fn shared_permit() -> Permit {
    Permit(PERMITS.acquire().await.unwrap())
}

/// An exclusive permit, for a test that measures.
pub async fn exclusive_permit() -> Permit {
    Permit(PERMITS.acquire_many(CONCURRENT_TESTS).await.unwrap())
}

/// Waits for a condition; panics with its name if it does not become true.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, wait).await;
}

/// Waits for a future; panics with its name if it does not complete.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Sends a process a signal, such as STOP.
pub fn signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

/// A command without the environment variables that a server reads.
fn clean_command(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in ["CONFIG", "LISTEN", "INTERNAL", "REDIS", "SHARDS", "REVISION"] {
        command.env_remove(format!("ROOKERY_{name}"));
    }
    for name in ["SERVICE_NAME", "RESOURCE_ATTRIBUTES", "EXPORTER_OTLP_HEADERS"] {
        command.env_remove(format!("OTEL_{name}"));
    }
    command.env("RUST_LOG", "info");
    command
}

/// `rookery serve` on free ports; killed when dropped.
pub struct Rookery {
    /// The address for clients.
    pub clients: SocketAddr,
    /// The address of the API and the metrics.
    pub internal: SocketAddr,
    child: Child,
    directory: TempDir,
    log: Arc<Mutex<String>>,
}

impl Rookery {
    /// Starts an instance with a YAML configuration and waits until it is ready. Connections
    /// and events are not rate-limited unless `config` says so.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// Like `start`, with additional environment variables.
    pub async fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = clean_command(env!("CARGO_BIN_EXE_rookery"));
        command.envs(environment.iter().copied());
        Self::start_command(command, config).await
    }

    /// Like `start`, in the cgroup of this folder.
    pub async fn start_in(cgroup: &Path, config: &str) -> Self {
        let mut command = clean_command("sh");
        command.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]);
        command.arg(cgroup).arg(env!("CARGO_BIN_EXE_rookery"));
        Self::start_command(command, config).await
    }

    async fn start_command(mut command: Command, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("rookery.yaml"), config).unwrap();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"])
            .args(["--shards", "2", "--config"])
            .arg(directory.path().join("rookery.yaml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), log.clone());
        collect(child.stderr.take().unwrap(), log.clone());
        let unbound = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server =
            Rookery { clients: unbound, internal: unbound, child, directory, log: log.clone() };
        until("the server says where it serves", async || {
            let said = log.lock().unwrap().clone();
            assert!(!said.contains("\"ERROR\""), "{said}");
            announced(&said).is_some()
        })
        .await;
        (server.clients, server.internal) = announced(&log.lock().unwrap()).unwrap();
        let ready = async || server.internal("/readyz").await.status == 200;
        until("the server is ready", ready).await;
        server
    }

    /// The path of the configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("rookery.yaml")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has this text: a line is read a moment after what it is about.
    pub async fn logged(&self, text: &str) {
        until(&format!("`{text}` is logged"), async || self.log().contains(text)).await;
    }

    /// Sends a GET to the internal listener.
    pub async fn internal(&self, target: &str) -> Response {
        Request::get(target).send(self.internal).await.unwrap()
    }

    /// Publishes through the HTTP API; returns the number of members.
    pub async fn publish(&self, room: &str, event: &str, arg: Value) -> u64 {
        let body = serde_json::json!({ "room": room, "event": event, "args": [arg] });
        let answer = Request::post("/api/publish", body.to_string())
            .header("content-type", "application/json")
            .send(self.internal)
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["members"].as_u64().unwrap()
    }

    /// A sample of `/metrics`, by its name and labels as printed there; 0 if absent.
    pub async fn metric(&self, sample: &str) -> f64 {
        let metrics = self.internal("/metrics").await;
        let text = metrics.text();
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(name, _)| *name == sample).map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// The number of sessions on all transports.
    pub async fn connections(&self) -> f64 {
        self.metric("rookery_connections{transport=\"polling\"}").await
            + self.metric("rookery_connections{transport=\"websocket\"}").await
    }

    /// `rookery_rejected_total` for a reason.
    pub async fn rejected(&self, reason: &str) -> f64 {
        self.metric(&format!("rookery_rejected_total{{reason=\"{reason}\"}}")).await
    }

    /// `rookery_disconnects_total` for a reason.
    pub async fn disconnects(&self, reason: &str) -> f64 {
        self.metric(&format!("rookery_disconnects_total{{reason=\"{reason}\"}}")).await
    }

    /// `rookery_deliveries_total` for an outcome.
    pub async fn deliveries(&self, outcome: &str) -> f64 {
        self.metric(&format!("rookery_deliveries_total{{outcome=\"{outcome}\"}}")).await
    }
}

impl Drop for Rookery {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = into.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// The addresses in the log line about serving.
fn announced(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut lines = log.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| {
            // Text: `… name="value" …`.
            let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
            pairs.map(|(name, value)| (name, value.trim_matches('"'))).collect()
        })
    });
    let address = |url: &Value| {
        let rest = url.as_str()?.strip_prefix("http://")?;
        rest.split('/').next()?.parse().ok()
    };
    lines.find_map(|line| {
        let fields = line.get("fields").unwrap_or(&line);
        Some((address(fields.get("clients")?)?, address(fields.get("api")?)?))
    })
}
