//! A real Redis for one test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::harness::until;

/// `redis-server` on a free port; killed when dropped.
pub struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need redis-server in the PATH");
        let redis = Redis { port, child };
        until("redis-server answers", async || redis.answers().await.is_some()).await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Requires a password from new connections.
    pub async fn require(&self, password: &str) {
        let command = format!("CONFIG SET requirepass {password}\r\n");
        assert_eq!(self.order(&command).await.as_deref(), Some("+OK"));
    }

    /// Closes every other connection.
    pub async fn kill_connections(&self) {
        for kind in ["normal", "pubsub"] {
            let answer = self.order(&format!("CLIENT KILL TYPE {kind} SKIPME yes\r\n")).await;
            assert!(answer.is_some_and(|answer| answer.starts_with(':')));
        }
    }

    /// Sends a command; returns the first line of the reply.
    async fn order(&self, command: &str) -> Option<String> {
        let mut socket = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await.ok()?);
        socket.write_all(command.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_line(&mut answer).await.ok()?;
        Some(answer.trim_end().to_owned())
    }

    /// Publishes a message like an application.
    pub async fn publish(&self, channel: &str, message: &str) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut command = String::from("*3\r\n");
        for part in ["PUBLISH", channel, message] {
            command.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        socket.write_all(command.as_bytes()).await.unwrap();
        // Until the reply arrives, the message may be lost with the connection.
        assert_eq!(socket.read_u8().await.unwrap(), b':');
    }

    /// The channels that are subscribed: `CHANNELS`, or `SHARDCHANNELS` for those of the sharded wire.
    pub async fn channels(&self, kind: &str) -> Vec<String> {
        let mut socket =
            BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap());
        socket.write_all(format!("PUBSUB {kind} *\r\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        let count: usize = line.trim_end().strip_prefix('*').unwrap().parse().unwrap();
        let mut channels = Vec::new();
        for _ in 0..count {
            socket.read_line(&mut String::new()).await.unwrap();
            let mut channel = String::new();
            socket.read_line(&mut channel).await.unwrap();
            channels.push(channel.trim_end().to_owned());
        }
        channels
    }

    /// The rooms of the namespace `/` whose channels an instance has subscribed.
    pub async fn subscribed_rooms(&self) -> Vec<String> {
        let channels = self.channels("CHANNELS").await;
        let rooms = channels.iter().filter_map(|channel| {
            channel.strip_prefix("socket.io#/#")?.strip_suffix('#').map(str::to_owned)
        });
        let mut rooms: Vec<String> = rooms.collect();
        rooms.sort();
        rooms
    }

    async fn answers(&self) -> Option<()> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        socket.write_all(b"PING\r\n").await.ok()?;
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).await.ok()?;
        (&answer == b"+PONG").then_some(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
