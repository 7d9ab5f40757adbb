//! `rookery check`: validate a configuration file and summarize it, and try what it connects to.

mod connections;

use std::fmt::Write;
use std::path::PathBuf;

use super::report;
use rookery_config::api_keys::ApiKeys;
use rookery_config::check::warnings::warnings;
use rookery_config::load::Sources;
use rookery_config::units::Rate;
use rookery_config::{Admin, AdminMode, Auth, Config, Hook, Jwt};
use rookery_ops::escape;
use rookery_policy::Operation;

/// Validate a configuration file and the files that it names, and summarize it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  rookery check rookery.yaml
  rookery check rookery.yaml --connect    # also tries Redis (login, version, rights, limits) and
                                          # the backend, with a signed test request

Exit codes: 0 valid, 1 what it connects to cannot be used, 2 invalid.")]
pub struct Args {
    /// The configuration file, in YAML
    file: PathBuf,
    /// Also connect to Redis as an instance would, and name what is missing: nothing is changed
    /// there, and no instance hears of it. And send a signed request of the type `check` to the
    /// backend, which asks it for nothing
    #[arg(long)]
    connect: bool,
    /// The URL of the Redis server, as `rookery serve` takes it [default: the file's `redis.url`]
    #[arg(long, value_name = "URL", env = "ROOKERY_REDIS", hide_env_values = true)]
    redis: Option<String>,
}

impl Args {
    fn sources(&self) -> Sources {
        // As `rookery serve` takes it; an empty environment variable counts as unset.
        let redis = self.redis.clone().filter(|url| !url.is_empty());
        Sources { redis, ..Sources::file(&self.file) }
    }
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Args")
            .field("sources", &self.sources())
            .field("connect", &self.connect)
            .finish()
    }
}

/// Prints a summary of the configuration, and warnings about settings that are probably mistakes.
///
/// # Errors
/// Every problem of the configuration; or [`Unusable`](report::Unusable), when what it connects to
/// was tried and cannot be used.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.sources().load()?;
    let keys = config.auth.api_keys_file.as_deref().map(ApiKeys::load).transpose()?;
    let mut text = format!("{} is valid\n", args.file.display());
    for (name, value) in summary(&config, keys.as_ref()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<11}{}", escape::text(&value));
    }
    for warning in warnings(&config) {
        let _ = writeln!(text, "warning: {}", escape::text(&warning));
    }
    report::print(&text)?;
    if args.connect { connections::check(&config) } else { Ok(()) }
}

/// The names and values of the summary's lines. They contain no secret.
fn summary(config: &Config, keys: Option<&ApiKeys>) -> Vec<(&'static str, String)> {
    let socketio = &config.socketio;
    let transports: Vec<&str> = socketio.transports.iter().map(|t| t.label()).collect();
    let versions = if socketio.eio3 { "2, 3 and 4" } else { "3 and 4" };
    let mut lines = vec![
        (
            "listen",
            format!(
                "{}{} for Socket.IO {versions}, over {}",
                config.listen,
                socketio.path,
                transports.join(" and ")
            ),
        ),
        ("internal", format!("{}, {}", config.internal, api(keys))),
        ("origins", origins(config)),
        ("auth", auth(&config.auth, config.anonymous())),
        ("redis", redis(config)),
        ("namespaces", config.namespaces.join(" ")),
        ("events", events(config)),
        ("backend", backend(config)),
        ("rooms", rooms(config)),
        ("limits", limits(config)),
    ];
    lines.extend(config.admin.as_ref().map(|admin| ("admin", admin_ui(admin))));
    lines
}

fn admin_ui(admin: &Admin) -> String {
    let shown = match admin.mode {
        AdminMode::Development => "sockets, rooms and figures",
        AdminMode::Production => "figures only",
    };
    let may = if admin.readonly { ", to look at" } else { "" };
    format!("the admin UI at {}: {shown}{may}", admin.namespace)
}

fn api(keys: Option<&ApiKeys>) -> String {
    match keys.map(ApiKeys::count) {
        None => "the HTTP API without keys, on the loopback address only".to_owned(),
        Some(1) => "the HTTP API with 1 key".to_owned(),
        Some(n) => format!("the HTTP API with {n} keys"),
    }
}

fn origins(config: &Config) -> String {
    let named = &config.socketio.cors.origins;
    if named.iter().any(|origin| origin == "*") {
        return "pages of any site".to_owned();
    }
    let local = config.allows_localhost_origins().then_some("localhost");
    let others: Vec<&str> = named.iter().map(String::as_str).chain(local).collect();
    match others.is_empty() {
        true => "pages of the server's own origin only".to_owned(),
        false => format!("pages of the server's own origin and of {}", others.join(" ")),
    }
}

fn auth(auth: &Auth, anonymous: bool) -> String {
    let without =
        if anonymous { "clients without a token are accepted" } else { "a token is required" };
    match &auth.jwt {
        None => without.to_owned(),
        Some(jwt) => format!("{}; {without}", tokens(jwt)),
    }
}

fn tokens(jwt: &Jwt) -> String {
    let algorithms: Vec<String> = jwt.algorithms.iter().map(|a| format!("{a:?}")).collect();
    let files = [&jwt.secret_file, &jwt.public_key_file];
    let key = files.into_iter().flatten().map(|path| path.display().to_string());
    let key = key.chain(jwt.jwks_url.clone()).collect::<Vec<_>>().join(" ");
    let mut text =
        format!("{} tokens verified by {key}, user in `{}`", algorithms.join(" "), jwt.user_claim);
    for (name, value) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {value}");
        }
    }
    text
}

fn redis(config: &Config) -> String {
    let Some(redis) = &config.redis else {
        return "none: a single instance, in memory".to_owned();
    };
    let channels: Vec<&str> = redis.bridge.iter().map(|rule| rule.channel.as_str()).collect();
    let bridge = match channels.as_slice() {
        [] => "no bridge".to_owned(),
        channels => format!("bridge from {}", channels.join(" ")),
    };
    format!("{}, prefix {}, {bridge}", redis.redacted_url(), redis.prefix)
}

fn events(config: &Config) -> String {
    let rules = config.events.iter().map(|rule| {
        let what = match rule.operation {
            Operation::Join => "joins",
            Operation::Leave => "leaves",
            Operation::Publish => "publishes",
            Operation::ByField => "depends on a field",
        };
        format!("{} ({what})", rule.on)
    });
    let rules: Vec<String> = rules.collect();
    if rules.is_empty() { "none".to_owned() } else { rules.join(", ") }
}

fn backend(config: &Config) -> String {
    let Some(backend) = &config.backend else { return "none".to_owned() };
    let hooks: Vec<&str> = backend.hooks.iter().map(|hook| hook.label()).collect();
    let mut text = format!("{} at {}", hooks.join(" "), backend.redacted_url());
    if backend.has(Hook::Event) {
        let _ = write!(text, ", of the events {}", backend.events.join(" "));
    }
    text.push_str(if backend.signing_key_file.is_some() { ", signed" } else { ", not signed" });
    text
}

fn rooms(config: &Config) -> String {
    match &*config.rooms {
        [] => "no rules: every room is open".to_owned(),
        rules => {
            let patterns: Vec<&str> = rules.iter().map(|rule| rule.pattern.as_str()).collect();
            format!("only {}", patterns.join(", "))
        }
    }
}

fn limits(config: &Config) -> String {
    let limits = &config.limits;
    let mut text = format!("{} sessions, {}", limits.connections.get(), limits.connect_rate);
    let written = limits.per_ip.clone().unwrap_or_default();
    let connections = written.connections.unwrap_or_else(|| limits.default_connections_per_ip());
    let rate = written.connect_rate.unwrap_or(Rate(limits.default_connect_rate_per_ip()));
    let _ = write!(text, "; from one address {connections}, {rate}");
    match config.trusted_proxies.as_slice() {
        [] => text.push_str(", behind a proxy only once `trustedProxies` names its network"),
        networks => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            let _ = write!(text, ", as reported by {}", networks.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rookery_config::Redis;

    #[test]
    fn the_summary_contains_no_password() {
        let config = Config {
            redis: Some(Redis::at("redis://user:pass@redis:6379".to_owned())),
            ..Config::default()
        };
        let text = format!("{:?}", summary(&config, None));
        assert!(text.contains("@redis:6379") && !text.contains("pass"), "{text}");
        assert!(text.contains("clients without a token are accepted"), "{text}");
        assert!(text.contains("rookery:publish"), "{text}");
    }
}
