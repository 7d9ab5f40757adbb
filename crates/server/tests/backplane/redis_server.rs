//! A real Redis for one test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `redis-server` on a free port; killed when dropped.
pub struct RedisServer {
    port: u16,
    /// Further words of its command line.
    more: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// A port that is free, with nothing on it yet.
    pub fn stopped() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        RedisServer { port: listener.local_addr().unwrap().port(), more: Vec::new(), process: None }
    }

    /// One that answers.
    pub async fn start() -> Self {
        let mut server = RedisServer::stopped();
        server.run().await;
        server
    }

    /// Starts it, the next time, with this option of its configuration.
    pub fn option(&mut self, name: &str, value: &str) {
        self.more.extend([format!("--{name}"), value.to_owned()]);
    }

    /// One that answers, and also listens at the Unix socket `path`.
    pub async fn at_socket(path: &Path) -> Self {
        let mut server = RedisServer::stopped();
        server.more = vec!["--unixsocket".to_owned(), path.display().to_string()];
        server.run().await;
        server
    }

    /// Starts it, again, on its port.
    pub async fn run(&mut self) {
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.more)
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need redis-server in the PATH");
        self.process = Some(child);
        super::until("redis-server answers", async || self.numbers("PING").await.is_some()).await;
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal, such as STOP.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    /// Channels with subscribers.
    pub async fn channels(&self) -> Vec<String> {
        self.subscribed("CHANNELS").await
    }

    /// Channels with subscribers by SSUBSCRIBE.
    pub async fn shard_channels(&self) -> Vec<String> {
        self.subscribed("SHARDCHANNELS").await
    }

    async fn subscribed(&self, which: &str) -> Vec<String> {
        let mut channels: Vec<String> = redis::cmd("PUBSUB")
            .arg(which)
            .query_async(&mut self.connection().await)
            .await
            .unwrap();
        channels.sort();
        channels
    }

    /// Publishes a message, as a server that is none of ours.
    pub async fn publish(&self, channel: &str, message: &[u8]) {
        let publish = redis::cmd("PUBLISH").arg(channel).arg(message).to_owned();
        publish.query_async::<()>(&mut self.connection().await).await.unwrap();
    }

    /// Sends a command, written as in `redis-cli`.
    pub async fn order(&self, line: &str) {
        let mut words = line.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async::<()>(&mut self.connection().await).await.unwrap();
    }

    async fn numbers(&self, command: &str) -> Option<()> {
        let client = redis::Client::open(self.url()).unwrap();
        let connecting = client.get_multiplexed_async_connection();
        let mut connection =
            tokio::time::timeout(Duration::from_secs(1), connecting).await.ok()?.ok()?;
        redis::cmd(command).query_async(&mut connection).await.ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
