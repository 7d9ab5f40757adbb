//! What the log says about sentinels that name no primary.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Rookery, shared_permit, until};

/// A sentinel that watches nothing; killed when dropped.
struct Sentinel {
    port: u16,
    child: Child,
    _files: TempDir,
}

impl Sentinel {
    fn start(settings: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = files.path().join("sentinel.conf");
        std::fs::write(&path, format!("bind 127.0.0.1\nport {port}\n{settings}\n")).unwrap();
        let child = Command::new("redis-server")
            .arg(&path)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need redis-server in the PATH");
        Sentinel { port, child, _files: files }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_log_says_of_each_sentinel_why_it_names_no_primary() {
    let _permit = shared_permit().await;
    let (away, ignorant) = (free_port(), Sentinel::start(""));
    let locked = Sentinel::start("requirepass secret");
    let url = format!(
        "redis-sentinel://:hunter2@127.0.0.1:{away},127.0.0.1:{},127.0.0.1:{}/main",
        ignorant.port, locked.port
    );
    let server = Rookery::start(&format!("redis: {{ url: '{url}' }}\n")).await;
    let lines = |port: u16| {
        let log = server.log();
        let lines = log.lines().filter(|line| line.contains(&format!("127.0.0.1:{port}")));
        lines.collect::<Vec<_>>().join("\n")
    };
    for (port, says) in [
        (away, "refused"),
        (ignorant.port, "a sentinel does not know the primary; correct redis.sentinel.master"),
        (locked.port, "redis.sentinel.passwordFile"),
    ] {
        until(says, async || lines(port).contains(says)).await;
    }
    until("the link says why", async || {
        server.log().contains("no sentinel knows a primary of this name")
    })
    .await;
    assert!(!server.log().contains("hunter2"), "{}", server.log());
}
