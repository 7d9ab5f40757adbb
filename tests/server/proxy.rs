//! Minimal ingresses, some of them broken: each request uses a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// How an ingress behaves.
#[derive(Clone, Default)]
pub struct IngressBehavior {
    /// The instances, used round robin.
    pub servers: Vec<SocketAddr>,
    /// Sticky sessions with this cookie and these attributes.
    pub sticky: Option<(&'static str, &'static str)>,
    /// Does not forward the Upgrade header.
    pub no_upgrade: bool,
    /// Closes connections that were idle for this long.
    pub idle: Option<Duration>,
    /// Answers every request itself, with this response.
    pub answer: Option<&'static str>,
    /// Adds this header line to every response.
    pub header: Option<&'static str>,
    /// Terminates TLS with this certificate.
    pub tls: Option<tokio_rustls::TlsAcceptor>,
}

/// An ingress that runs until it is dropped.
pub struct Proxy {
    /// The address it listens on.
    pub address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    pub async fn start(behavior: IngressBehavior) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (behavior, next_instance) = (Arc::new(behavior), Arc::new(AtomicUsize::new(0)));
        let serve = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (behavior, next_instance) = (behavior.clone(), next_instance.clone());
                tokio::spawn(async move {
                    match &behavior.tls {
                        None => forward(stream, &behavior, &next_instance).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => forward(stream, &behavior, &next_instance).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        };
        Proxy { address, _task: AbortOnDropHandle::new(tokio::spawn(serve)) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Forwards one connection until either side closes.
async fn forward<S>(
    mut client: S,
    behavior: &IngressBehavior,
    next_instance: &AtomicUsize,
) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut head, rest) = read_head(&mut client).await?;
    if let Some(answer) = behavior.answer {
        client.write_all(answer.as_bytes()).await.ok()?;
        return client.shutdown().await.ok();
    }
    let kept = behavior.sticky.and_then(|(name, _)| cookie(&head, name));
    let next = kept
        .unwrap_or_else(|| next_instance.fetch_add(1, Ordering::Relaxed) % behavior.servers.len());
    let mut server = TcpStream::connect(behavior.servers[next]).await.ok()?;
    if behavior.no_upgrade {
        head = without(&head, &["upgrade:", "connection:"]);
    }
    server.write_all(head.as_bytes()).await.ok()?;
    server.write_all(&rest).await.ok()?;
    let answered = read_head(&mut server);
    let (mut head, rest) = match behavior.idle {
        Some(limit) => timeout(limit, answered).await.ok()??,
        None => answered.await?,
    };
    let mut add = String::new();
    if let (Some((name, attributes)), None) = (behavior.sticky, kept) {
        add = format!("set-cookie: {name}={next}{attributes}\r\n");
    }
    if let Some(header) = behavior.header {
        add = format!("{add}{header}\r\n");
    }
    head.insert_str(head.find("\r\n")? + 2, &add);
    client.write_all(head.as_bytes()).await.ok()?;
    client.write_all(&rest).await.ok()?;
    copy(&mut client, &mut server, behavior.idle).await
}

async fn copy<S>(client: &mut S, server: &mut TcpStream, idle: Option<Duration>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = ([0; 16384], [0; 16384]);
    loop {
        let moved = async {
            tokio::select! {
                read = client.read(&mut up) => match read.ok()? {
                    0 => None,
                    n => server.write_all(&up[..n]).await.ok(),
                },
                read = server.read(&mut down) => match read.ok()? {
                    0 => None,
                    n => client.write_all(&down[..n]).await.ok(),
                },
            }
        };
        match idle {
            Some(limit) => timeout(limit, moved).await.ok()??,
            None => moved.await?,
        }
    }
}

/// The head including its empty line, and the bytes read after it.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Some((String::from_utf8(read).ok()?, rest));
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await.ok()? {
            0 => return None,
            n => read.extend_from_slice(&part[..n]),
        }
    }
}

fn cookie(head: &str, name: &str) -> Option<usize> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("cookie:"))?;
    let pairs = line.split_once(':')?.1.split(';');
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('='));
    values.find(|(n, _)| *n == name)?.1.parse().ok()
}

fn without(head: &str, names: &[&str]) -> String {
    let kept = head.split_inclusive("\r\n").filter(|line| {
        let line = line.to_ascii_lowercase();
        !names.iter().any(|name| line.starts_with(name))
    });
    kept.collect()
}
