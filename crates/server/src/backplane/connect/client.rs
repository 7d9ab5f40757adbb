//! [`ClientTemplate`]: what a connection needs besides an address: login and TLS.

use std::io;
use std::path::{Path, PathBuf};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult, TlsCertificates,
};
use rookery_config::client_certificate::{self, PairFile};
use rookery_config::error::Problem;
use rookery_config::{Redis, RedisTls, files};

/// The configuration of Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadRedis {
    /// Nothing says where Redis is, or what says so makes no sense.
    #[error("{}", .0.text)]
    Servers(Problem),
    /// The files of `redis.tls` cannot be used.
    #[error("redis.tls: {0}; expected certificates and a key in PEM")]
    Tls(#[from] redis::RedisError),
    /// A file that it names cannot be read.
    #[error("{key}: {}", unreadable(path, error))]
    File {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::InvalidData => format!("{path} cannot be used: {error}"),
        _ => format!("cannot read {path}: {error}; check the path and its mode"),
    }
}

/// Makes clients of servers with one login and the same certificates.
pub(super) struct ClientTemplate {
    settings: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
}

impl ClientTemplate {
    /// With the login of `settings`, or what is written beside the URL. Blocking I/O.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(super) fn of_redis(
        config: &Redis,
        mut settings: RedisConnectionInfo,
        certificates: Option<TlsCertificates>,
    ) -> Result<Self, BadRedis> {
        if let Some(username) = &config.username {
            settings = settings.set_username(username);
        }
        if let Some(path) = &config.password_file {
            let password = read("redis.passwordFile", path, files::read_password)?;
            settings = settings.set_password(password);
        }
        Ok(ClientTemplate { settings, certificates })
    }

    /// With the login of `redis.sentinel`. Blocking I/O.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(super) fn of_sentinels(
        config: &Redis,
        certificates: Option<TlsCertificates>,
    ) -> Result<Self, BadRedis> {
        let login = config.sentinel.clone().unwrap_or_default();
        let mut settings = RedisConnectionInfo::default();
        if let Some(username) = login.username {
            settings = settings.set_username(username);
        }
        if let Some(path) = &login.password_file {
            let password = read("redis.sentinel.passwordFile", path, files::read_password)?;
            settings = settings.set_password(password);
        }
        Ok(ClientTemplate { settings, certificates })
    }

    /// A client of the server at `address`; connects to nothing.
    ///
    /// # Errors
    /// Where the certificates cannot be used.
    pub(super) fn at(&self, address: ConnectionAddr) -> RedisResult<Client> {
        let is_tls = matches!(address, ConnectionAddr::TcpTls { .. });
        let info = address.into_connection_info()?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        // RESP3, because there messages are handed over while the socket is read: no queue between.
        let settings = self.settings.clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
        match self.certificates.clone().filter(|_| is_tls) {
            None => Client::open(info),
            Some(certificates) => Client::build_with_tls(info, certificates),
        }
    }
}

/// Reads the certificates that `tls` names; `None` where it names none. Blocking I/O.
///
/// # Errors
/// Where a file cannot be read, or holds something else.
pub(super) fn certificates(tls: &RedisTls) -> Result<Option<TlsCertificates>, BadRedis> {
    let root_cert = match &tls.ca_file {
        Some(path) => Some(read("redis.tls.caFile", path, files::read_authorities)?),
        None => None,
    };
    let client_tls = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => Some(client_tls(certificate, key)?),
        _ => None,
    };
    let is_any = root_cert.is_some() || client_tls.is_some();
    Ok(is_any.then_some(TlsCertificates { client_tls, root_cert }))
}

fn client_tls(certificate: &Path, key: &Path) -> Result<ClientTlsConfig, BadRedis> {
    match client_certificate::read(certificate, key) {
        Ok(pair) => Ok(ClientTlsConfig { client_cert: pair.chain, client_key: pair.key }),
        Err((PairFile::Certificate, error)) => {
            Err(BadRedis::File { key: "redis.tls.certFile", path: certificate.to_owned(), error })
        }
        Err((PairFile::Key, error)) => {
            Err(BadRedis::File { key: "redis.tls.keyFile", path: key.to_owned(), error })
        }
    }
}

fn read<T>(
    key: &'static str,
    path: &Path,
    read: fn(&Path) -> io::Result<T>,
) -> Result<T, BadRedis> {
    read(path).map_err(|error| BadRedis::File { key, path: path.to_owned(), error })
}
