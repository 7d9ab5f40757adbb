//! A real server process for one test.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::{Request, Response};

/// How long a condition may take on a loaded machine before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many tests may run beside each other.
const TURNS: u32 = 4;

static TURN: Semaphore = Semaphore::const_new(TURNS as usize);

/// Keeps other tests from running, or this one from running beside one that measures.
pub struct Turn(#[expect(dead_code, reason = "held, not read")] SemaphorePermit<'static>);

/// A turn beside other tests.
pub async fn turn() -> Turn {
    Turn(TURN.acquire().await.unwrap())
}

/// A turn of one's own, for a test that measures.
pub async fn alone() -> Turn {
    Turn(TURN.acquire_many(TURNS).await.unwrap())
}

/// Waits for a condition; panics, with its name, when it does not come.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, wait).await;
}

/// Waits for a future; panics, with its name, when it does not end.
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

/// `rookery serve` on free ports; killed when dropped.
pub struct Rookery {
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Where the API and the metrics are.
    pub internal: SocketAddr,
    child: Child,
    directory: TempDir,
    log: Arc<Mutex<String>>,
}

impl Rookery {
    /// Starts one with a configuration in YAML, and waits until it is ready. Connections and
    /// events are not rated unless `config` says so.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// Starts one with these environment variables besides.
    pub async fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("rookery.yaml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        for name in ["CONFIG", "LISTEN", "INTERNAL", "REDIS", "SHARDS"] {
            command.env_remove(format!("ROOKERY_{name}"));
        }
        for name in ["SERVICE_NAME", "RESOURCE_ATTRIBUTES", "EXPORTER_OTLP_HEADERS"] {
            command.env_remove(format!("OTEL_{name}"));
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"])
            .args(["--shards", "2", "--config"])
            .arg(directory.path().join("rookery.yaml"))
            .env_remove("ROOKERY_REVISION")
            .env("RUST_LOG", "info")
            .envs(environment.iter().copied())
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

    /// The configuration's file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("rookery.yaml")
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A GET of the internal listener.
    pub async fn internal(&self, target: &str) -> Response {
        Request::get(target).send(self.internal).await.unwrap()
    }

    /// A publication by the HTTP API; gives how many members it was addressed to.
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

    /// A sample of `/metrics`, by its name and labels as they stand there; 0 where absent.
    pub async fn metric(&self, sample: &str) -> f64 {
        let metrics = self.internal("/metrics").await;
        let text = metrics.text();
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(name, _)| *name == sample).map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// Sessions, whatever carries them.
    pub async fn connections(&self) -> f64 {
        self.metric("rookery_connections{transport=\"polling\"}").await
            + self.metric("rookery_connections{transport=\"websocket\"}").await
    }

    /// `rookery_rejected_total` of a reason.
    pub async fn rejected(&self, reason: &str) -> f64 {
        self.metric(&format!("rookery_rejected_total{{reason=\"{reason}\"}}")).await
    }

    /// `rookery_disconnects_total` of a reason.
    pub async fn disconnects(&self, reason: &str) -> f64 {
        self.metric(&format!("rookery_disconnects_total{{reason=\"{reason}\"}}")).await
    }

    /// `rookery_deliveries_total` of an outcome.
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

/// The addresses in the line that says where it serves.
fn announced(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let address = |url: &Value| {
        let rest = url.as_str()?.strip_prefix("http://")?;
        rest.split('/').next()?.parse().ok()
    };
    lines.into_iter().find_map(|line| {
        let fields = line.get("fields").unwrap_or(&line);
        Some((address(fields.get("clients")?)?, address(fields.get("api")?)?))
    })
}
