//! [`inspect`]: what a Redis server lets an instance do, before one depends on it.

mod command_trials;
mod finding;
mod nodes;
mod settings;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd};
use rookery_config::Redis;
use rookery_config::redis_servers::RedisServers;
use rookery_policy::Namespaces;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connect::{BadRedis, Connector, is_replica};
use super::decoder::routes::Routes;
use super::subscriber::commands;
use super::wire::channels::Channels;
use super::wire::node::NodeWire;
use crate::message::{PodId, RoomKeyRef};
use crate::telemetry::metrics::Metrics;
use command_trials::CommandTrial;
pub use command_trials::Tracking;
pub use finding::{Finding, Inspection, Severity};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// Nothing could be inspected.
#[derive(Debug, thiserror::Error)]
pub enum NotInspected {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] BadRedis),
    /// No connection, or no login.
    #[error("cannot use Redis at {url}: {error}; {fix}")]
    Redis {
        /// The server's URL, without its password.
        url: String,
        /// What Redis, or the system, says.
        error: RedisError,
        /// What to look at.
        fix: &'static str,
    },
}

/// Connects like an instance, by its sentinels where there are any, and tries every command and
/// channel that one needs. Nobody hears anything of it: what is published goes to a channel of an
/// instance that does not exist, and the keys that are written are deleted.
///
/// # Errors
/// When the configuration cannot be used, or the server cannot be reached or does not accept the
/// login.
pub async fn inspect(
    config: &Redis,
    namespaces: &Namespaces,
    tracking: Tracking,
    metrics: &Metrics,
) -> Result<Inspection, NotInspected> {
    let wire = NodeWire::of(config);
    let channels = Channels::new(wire, &config.prefix, PodId::random());
    let (connector, watches) = Connector::new(config, metrics, &Arc::default(), channels.pods())?;
    // They end with this function.
    let mut questions = JoinSet::new();
    for watch in watches {
        questions.spawn(watch.run(CancellationToken::new()));
    }
    let not_inspected = |error: RedisError| {
        let fix = what_to_check(&error, &connector);
        NotInspected::Redis { url: config.redacted_url(), error, fix }
    };
    let (connections, findings) = nodes::connect(&connector).await.map_err(not_inspected)?;
    let mut inspections = Vec::new();
    for (node, connection) in connections {
        let (user, is_node) = (user(config), node.is_some());
        let trial = Trial { connection, user, wire, is_node, findings: Vec::new() };
        let inspected = trial.run_all(&channels, config, namespaces, tracking).await;
        inspections.push((node, inspected.map_err(not_inspected)?));
    }
    let mut inspection = nodes::merge(inspections, findings);
    inspection.findings.sort_by_key(|finding| finding.severity);
    Ok(inspection)
}

/// The name that the connection logs in with.
fn user(config: &Redis) -> String {
    let in_url = || RedisServers::of(config).ok()?.settings.username().map(ToOwned::to_owned);
    config.username.clone().or_else(in_url).unwrap_or_else(|| "default".to_owned())
}

/// What to look at after an error of a connection.
fn what_to_check(error: &RedisError, connector: &Connector) -> &'static str {
    if let Some(advice) = connector.advice(error) {
        return advice;
    }
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) => "check the user and the password",
        (ErrorKind::Io, _) => {
            "check the address, that no firewall or NetworkPolicy is in the way, and that the URL begins \
             with rediss:// if the server expects TLS, and only then"
        }
        (_, Some("ERR")) => "the server must be Redis 6 or later",
        _ => "see what it says",
    }
}

/// A connection that tries what an instance needs.
struct Trial {
    connection: MultiplexedConnection,
    user: String,
    wire: NodeWire,
    /// Whether the server is a node of a Cluster.
    is_node: bool,
    findings: Vec<Finding>,
}

impl Trial {
    fn found(&mut self, severity: Severity, text: String) {
        self.findings.push(Finding { severity, text });
    }

    /// Tries everything.
    async fn run_all(
        mut self,
        channels: &Channels,
        config: &Redis,
        namespaces: &Namespaces,
        tracking: Tracking,
    ) -> RedisResult<Inspection> {
        let (version, mode) = self.greeting().await?;
        if let Some(why) = mode.and_then(|mode| self.is_another_kind(&mode)) {
            // What else it refuses has the same reason.
            self.found(Severity::Error, why.to_owned());
            return Ok(Inspection { version, findings: self.findings });
        }
        self.channels(channels, config, namespaces).await?;
        let prefix = &*config.prefix;
        let mut tried = command_trials::of_instance(self.wire, channels, prefix, namespaces);
        tried.extend(command_trials::of_tracking(prefix, tracking));
        if self.is_node {
            tried.extend(command_trials::of_node());
        }
        self.commands(prefix, tried).await?;
        self.settings().await?;
        Ok(Inspection { version, findings: self.findings })
    }

    async fn run(&mut self, command: &Cmd) -> RedisResult<Result<Value, RedisError>> {
        answered(command.query_async(&mut self.connection).await)
    }

    /// The server's version and mode, as far as it tells; a replica is an error.
    async fn greeting(&mut self) -> RedisResult<(Option<String>, Option<String>)> {
        let Ok(greeting) = self.run(cmd("HELLO").arg(3)).await? else { return Ok((None, None)) };
        if is_replica(&greeting) {
            let why = "the server is a replica: what is published there does not reach the other \
                       instances; use the address of the primary";
            self.found(Severity::Error, why.to_owned());
        }
        let fields: HashMap<String, Value> =
            redis::from_redis_value_ref(&greeting).unwrap_or_default();
        let text = |name: &str| redis::from_redis_value_ref(fields.get(name)?).ok();
        Ok((text("version"), text("mode")))
    }

    /// Why the server is not what it was taken for, by the mode that it tells.
    fn is_another_kind(&self, mode: &str) -> Option<&'static str> {
        match mode {
            "sentinel" => Some(
                "this is a sentinel and no Redis server: write `redis.mode: sentinel` with \
                 `redis.sentinel.master`, or a redis-sentinel:// URL",
            ),
            "cluster" if !self.is_node => Some(
                "this Redis is a node of a Cluster; write `redis.mode: cluster`, or a \
                 redis-cluster:// URL",
            ),
            _ => None,
        }
    }

    /// Whether everything that every instance subscribes is permitted.
    async fn channels(
        &mut self,
        channels: &Channels,
        config: &Redis,
        namespaces: &Namespaces,
    ) -> RedisResult<()> {
        let wire = self.wire;
        let needed = needed(channels, namespaces);
        self.subscriptions(wire, &needed).await?;
        // Whoever uses the bridge publishes by PUBLISH, whatever the wire.
        let bridge = config
            .bridge_in(namespaces)
            .iter()
            .map(|rule| rule.channel.clone())
            .collect::<Vec<_>>();
        self.subscriptions(NodeWire::Classic, &bridge).await?;
        match wire {
            NodeWire::Classic => self.patterns(channels, namespaces).await,
            NodeWire::Sharded(_) => Ok(()),
        }
    }

    /// Tries each channel. SUBSCRIBE and UNSUBSCRIBE are sent together, so that others count no
    /// instance more.
    async fn subscriptions(&mut self, wire: NodeWire, channels: &[String]) -> RedisResult<()> {
        let mut refused = Vec::new();
        let mut may_end = true;
        for channel in channels {
            let (mut begins, mut ends) = (self.connection.clone(), self.connection.clone());
            let only = [channel];
            let (begun, ended) = tokio::join!(
                biased;
                commands::subscribe(wire, &mut begins, &only),
                commands::unsubscribe(wire, &mut ends, &only),
            );
            may_end &= match answered(ended)? {
                Ok(()) => true,
                Err(error) => self.is_node && nodes::is_elsewhere(&error),
            };
            match answered(begun)? {
                Ok(()) => {}
                Err(error) if lacks_command(&error) => {
                    self.lacks(&format!("{}subscribe", initial(wire)));
                    break;
                }
                Err(error) if commands::is_forbidden(&error) => refused.push(channel),
                // Rights are looked at first: another node would have taken it.
                Err(error) if nodes::is_elsewhere(&error) && self.is_node => {}
                Err(error) => {
                    let error = commands::explain(wire, error, channel.as_bytes());
                    self.fails(&format!("{}SUBSCRIBE", initial(wire).to_uppercase()), &error);
                    break;
                }
            }
        }
        // The bridge's channels stay subscribed, on either wire.
        if !may_end && wire == self.wire {
            self.lacks(&format!("{}unsubscribe", initial(wire)));
        }
        for channel in refused {
            let user = &self.user;
            let text = format!(
                "user {user} may not use the channel {channel}: `ACL SETUSER {user} &{channel}`, or a \
                 pattern that covers it"
            );
            self.found(Severity::Error, text);
        }
        Ok(())
    }

    /// Whether members can be addressed by the narrow pattern, by a wider one, or not at all.
    async fn patterns(&mut self, channels: &Channels, namespaces: &Namespaces) -> RedisResult<()> {
        let [own, wide, everything] = channels.patterns(namespaces);
        for patterns in [&own, &wide, &everything] {
            match answered(self.connection.psubscribe(patterns).await)? {
                Err(error) if lacks_command(&error) => self.lacks("psubscribe"),
                Err(error) if commands::is_forbidden(&error) => continue,
                Err(error) => self.fails("PSUBSCRIBE", &error),
                Ok(()) if *patterns == own => {}
                Ok(()) => {
                    let text = format!(
                        "user {} may not subscribe the pattern of an instance's own members: each \
                         instance reads what is published to all rooms; `allchannels` in place of \
                         single channels lets it read its own only",
                        self.user
                    );
                    self.found(Severity::Warning, text);
                }
            }
            return Ok(());
        }
        let (user, patterns) = (&self.user, wide.join(" &"));
        let text = format!(
            "user {user} may not subscribe any pattern that holds an instance's members: `ACL SETUSER \
             {user} &{patterns}`"
        );
        self.found(Severity::Error, text);
        Ok(())
    }

    /// Whether these commands are permitted and work.
    async fn commands(&mut self, prefix: &str, tried: Vec<CommandTrial>) -> RedisResult<()> {
        for (right, command) in tried {
            match self.run(&command).await? {
                Ok(_) => {}
                Err(error) if nodes::is_elsewhere(&error) && self.is_node => {}
                Err(error) if lacks_command(&error) => self.lacks(&right),
                Err(error) if commands::is_forbidden(&error) => {
                    let user = &self.user;
                    let text = format!(
                        "user {user} may not use what {} needs ({error}): `ACL SETUSER {user} \
                         ~{prefix}:rookery:* &{prefix}*`",
                        right.to_uppercase()
                    );
                    self.found(Severity::Error, text);
                }
                Err(error) => self.fails(&right.to_uppercase(), &error),
            }
        }
        Ok(())
    }

    /// How the server treats slow subscribers and full memory.
    async fn settings(&mut self) -> RedisResult<()> {
        let wanted =
            cmd("CONFIG").arg("GET").arg("maxmemory*").arg("client-output-buffer-limit").to_owned();
        match self.run(&wanted).await? {
            Ok(answer) => self.findings.extend(settings::judge(&settings::Settings::read(&answer))),
            Err(_) => {
                let text = format!(
                    "user {} may not run CONFIG GET, so `client-output-buffer-limit pubsub` and \
                     `maxmemory-policy` were not looked at; an instance does not need it",
                    self.user
                );
                self.found(Severity::Note, text);
            }
        }
        Ok(())
    }

    fn lacks(&mut self, right: &str) {
        let (user, right) = (&self.user, right.to_lowercase());
        let text = format!("user {user} lacks +{right}: `ACL SETUSER {user} +{right}`");
        self.found(Severity::Error, text);
    }

    fn fails(&mut self, command: &str, error: &RedisError) {
        self.found(Severity::Error, format!("{command} fails: {error}"));
    }
}

/// Takes a refusal by Redis for an answer.
///
/// # Errors
/// When the connection is lost, or the answer takes too long.
fn answered<T>(result: RedisResult<T>) -> RedisResult<Result<T, RedisError>> {
    match result {
        Err(error) if error.kind() == ErrorKind::Io => Err(error),
        answer => Ok(answer),
    }
}

/// What the names of the wire's commands begin with.
fn initial(wire: NodeWire) -> &'static str {
    match wire {
        NodeWire::Classic => "",
        NodeWire::Sharded(_) => "s",
    }
}

/// The channels of the wire that every instance subscribes, and one of a room in each namespace; of
/// a pattern, those of a namespace that it matches.
fn needed(channels: &Channels, namespaces: &Namespaces) -> Vec<String> {
    let examples = namespaces.examples();
    let names = Namespaces::compile(&examples).unwrap_or_default();
    let routes = Routes::new(channels, &Arc::new(names), &[]);
    let (of_wire, _) = routes.channels();
    let of_wire = of_wire.into_iter().map(|name| String::from_utf8_lossy(name).into_owned());
    let room = |namespace: &Arc<str>| channels.room(RoomKeyRef { namespace, room: "check" });
    let mut needed: Vec<String> = of_wire.chain(examples.iter().map(room)).collect();
    needed.sort();
    needed
}

/// Whether a refusal is about the command, and not about a key or channel: Redis 6 and 7 say "no
/// permissions to run the 'publish' command".
fn lacks_command(error: &RedisError) -> bool {
    commands::is_forbidden(error)
        && error.detail().is_some_and(|detail| detail.contains(" to run the "))
}
