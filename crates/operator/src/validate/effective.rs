//! The effective configuration of the servers: what the user wrote, completed by the operator.

use serde_json::{Map, Value};

use super::problem::Problems;
use super::rollout;
use crate::crd::{RebalanceMode, RedisSource, RookerySpec};
use crate::{names, yaml};
use rookery_config::error::Problem;
use rookery_config::load::Sources;
use rookery_config::units::Period;
use rookery_config::{Config, Drain};

/// Directory in which the servers find their configuration.
pub(crate) const CONFIG_DIR: &str = "/etc/rookery";

/// Directory in which the servers find the password of Redis.
pub(crate) const REDIS_PASSWORD_DIR: &str = "/etc/rookery-redis/password";

/// Directory in which the servers find the authorities of Redis.
pub(crate) const REDIS_CA_DIR: &str = "/etc/rookery-redis/ca";

/// File in [`REDIS_PASSWORD_DIR`].
pub(crate) const REDIS_PASSWORD_FILE: &str = "password";

/// File in [`REDIS_CA_DIR`].
pub(crate) const REDIS_CA_FILE: &str = "ca.crt";

/// Sections that servers reload without a restart.
const RELOADED: [&str; 2] = ["rooms", "limits"];

/// Default name of the sticky cookie.
const STICKY_COOKIE: &str = "rookery";

/// The effective configuration, as text and parsed.
pub(super) struct Effective {
    pub(super) config: Config,
    pub(super) text: String,
    pub(super) restart_text: String,
}

/// Renders the configuration and parses it as the servers will; `None` if it does not have the
/// shape of a configuration.
pub(super) fn read(spec: &RookerySpec, most: i32, problems: &mut Problems) -> Option<Effective> {
    let tree = tree(spec, most);
    let text = yaml::text(&tree);
    let mut rest = tree;
    rest.retain(|section, _| !RELOADED.contains(&section.as_str()));
    // Only its being there matters; the real one is not known.
    let secret = spec.redis.as_ref().and_then(|redis| redis.url_secret.as_ref());
    let has_ca = spec.redis.as_ref().is_some_and(|redis| redis.ca_secret.is_some());
    let scheme = if has_ca { "rediss" } else { "redis" };
    let redis = secret.map(|secret| format!("{scheme}://redis:{}", secret.port));
    let sources = Sources { redis, ..Sources::default() };
    match sources.judge_text(&text) {
        Err(error) => {
            error.problems.iter().for_each(|problem| say(spec, problem, problems));
            None
        }
        Ok((config, found)) => {
            check_auth(&config, problems);
            check_listeners(&config, problems);
            // Of `listen` nothing can be wrong besides what was just checked.
            let found = found.iter().filter(|problem| problem.key.as_deref() != Some("listen"));
            found.for_each(|problem| say(spec, problem, problems));
            Some(Effective { config, text, restart_text: yaml::text(&rest) })
        }
    }
}

/// Whether the ingress or the Gateway uses a cookie for sticky sessions.
pub(super) fn is_sticky(spec: &RookerySpec) -> bool {
    spec.ingress.as_ref().is_some_and(|ingress| ingress.sticky)
        || spec.gateway.as_ref().is_some_and(|gateway| gateway.sticky)
}

/// What was written, and what was not and has to be for a server in a pod. No password is in it
/// that was not written in the resource itself.
fn tree(spec: &RookerySpec, most: i32) -> Map<String, Value> {
    let mut tree = spec.config.0.clone();
    let any = |port: u16| Value::from(format!("0.0.0.0:{port}"));
    default(&mut tree, "listen", any(names::DEFAULT_CLIENT_PORT));
    default(&mut tree, "internal", any(names::DEFAULT_INTERNAL_PORT));
    let at_hand = |redis: &RedisSource| redis.written_url().is_some() || redis.url_secret.is_some();
    let has_redis = spec.redis.as_ref().is_some_and(at_hand)
        || spec.config.0.get("redis").is_some_and(Value::is_object);
    if let Some(drain) = section(&mut tree, "drain") {
        for (key, decided, otherwise) in [
            ("lead", spec.drain.lead, Drain::default().lead),
            ("window", spec.drain.window, Drain::default().window),
        ] {
            let text = |period: Period| Value::from(period.to_string());
            if let Some(decided) = decided {
                drain.insert(key.to_owned(), text(decided));
            }
            default(drain, key, text(otherwise));
        }
        default(drain, "keepReady", Value::Bool(true));
        if has_redis {
            complete_rollout(spec, most, drain);
        }
        if is_sticky(spec) {
            default(drain, "stickyCookie", STICKY_COOKIE.into());
        }
    }
    if has_redis {
        complete_rebalance(spec, &mut tree);
    }
    if let Some(redis) = &spec.redis {
        add_redis(&mut tree, redis);
    }
    tree
}

/// Writes where Redis is and how to log in; a Secret's content is in a file.
fn add_redis(tree: &mut Map<String, Value>, source: &RedisSource) {
    let password = source.password_secret.as_ref();
    let ca = source.ca_secret.as_ref();
    let settings: Vec<(&str, Value)> = [
        ("url", source.written_url().map(Value::from)),
        ("username", source.username.clone().map(Value::from)),
        (
            "passwordFile",
            password.map(|_| format!("{REDIS_PASSWORD_DIR}/{REDIS_PASSWORD_FILE}").into()),
        ),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    if settings.is_empty() && ca.is_none() {
        return;
    }
    let Some(redis) = section(tree, "redis") else { return };
    redis.extend(settings.into_iter().map(|(key, value)| (key.to_owned(), value)));
    // Beside a client certificate that the configuration names.
    if ca.is_some()
        && let Some(tls) = section(redis, "tls")
    {
        tls.insert("caFile".to_owned(), format!("{REDIS_CA_DIR}/{REDIS_CA_FILE}").into());
    }
}

/// How servers that know of each other share out a rollout: see [`rollout`].
fn complete_rollout(spec: &RookerySpec, most: i32, drain: &mut Map<String, Value>) {
    let part = |drain: &Map<String, Value>, key: &str, otherwise: Period| {
        let written = drain.get(key).and_then(Value::as_str);
        written.and_then(|text| Period::parse(text).ok()).unwrap_or(otherwise).0
    };
    let otherwise = Drain::default();
    let lead = part(drain, "lead", otherwise.lead);
    let window = part(drain, "window", otherwise.window);
    let patience = rollout::patience(spec, most, lead, window);
    default(drain, "patience", Period(patience).to_string().into());
    default(drain, "order", "together".into());
    let pace = spec.rollout.as_ref().and_then(|rollout| rollout.pace_of_reconnects);
    if let Some(pace) = pace {
        drain.insert("pace".to_owned(), pace.to_string().into());
    }
    let longest = rollout::longest_window(spec, most, window);
    default(drain, "longestWindow", Period(longest).to_string().into());
}

/// Servers that know of each other give clients away, unless the resource says that they are not
/// to.
fn complete_rebalance(spec: &RookerySpec, tree: &mut Map<String, Value>) {
    let asked = spec.rebalance.clone().unwrap_or_default();
    if asked.mode == RebalanceMode::Manual {
        tree.remove("rebalance");
        return;
    }
    let Some(rebalance) = section(tree, "rebalance") else { return };
    for (key, decided) in [
        ("threshold", asked.threshold.map(|percent| percent.to_string())),
        ("rate", asked.rate.map(|rate| rate.to_string())),
        ("after", asked.after.map(|after| after.to_string())),
    ] {
        if let Some(decided) = decided {
            rebalance.insert(key.to_owned(), decided.into());
        }
    }
}

/// Writes `key` where it is not written, or nothing stands there.
fn default(section: &mut Map<String, Value>, key: &str, value: Value) {
    let slot = section.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value;
    }
}

/// A section, made where it is not written; `None` where something else stands there, which the
/// reading will refuse.
fn section<'t>(tree: &'t mut Map<String, Value>, key: &str) -> Option<&'t mut Map<String, Value>> {
    default(tree, key, Value::Object(Map::new()));
    tree.get_mut(key)?.as_object_mut()
}

/// A problem of the configuration, in terms of the resource.
fn say(spec: &RookerySpec, problem: &Problem, problems: &mut Problems) {
    let Some(key) = &problem.key else {
        return problems.add("spec.config", &problem.text);
    };
    let text = problem.text.strip_prefix(&format!("`{key}`"));
    let text = text.map_or(problem.text.as_str(), |rest| rest.trim_start_matches([':', ' ']));
    let source = spec.redis.as_ref();
    let elsewhere = source.is_some_and(|redis| redis.url.is_some());
    match key.as_str() {
        "redis.url" if source.is_some_and(|redis| redis.host.is_some()) => {
            problems.add("spec.redis.host", "is no host name or address");
        }
        "redis.username" if source.is_some_and(|redis| redis.username.is_some()) => {
            problems.add("spec.redis.username", text);
        }
        "redis.passwordFile" if source.is_some_and(|redis| redis.password_secret.is_some()) => {
            problems.add("spec.redis.passwordSecret", text);
        }
        "redis.tls.caFile" if source.is_some_and(|redis| redis.ca_secret.is_some()) => {
            problems.add("spec.redis.caSecret", "needs TLS; write `tls: true` or a rediss:// URL");
        }
        "redis.url" if elsewhere => problems.add("spec.redis.url", text),
        // The message for a file speaks of flags.
        "redis.url" if text.starts_with("is missing") => problems.add(
            "spec.config.redis",
            "has no URL; write `spec.redis.url`, or `spec.redis.urlSecret` where it holds a password",
        ),
        key => problems.add(format!("spec.config.{key}"), text),
    }
}

/// The servers are there for others to reach, so it must be said who may.
fn check_auth(config: &Config, problems: &mut Problems) {
    let decided = config.auth.jwt.is_some() || config.auth.anonymous == Some(true);
    problems.add_if(
        !decided,
        "spec.config.auth",
        "does not say who may connect: configure `jwt`, or write `anonymous: true` to let \
         everybody in",
    );
}

fn check_listeners(config: &Config, problems: &mut Problems) {
    for (key, address, port) in [
        ("listen", config.listen, names::DEFAULT_CLIENT_PORT),
        ("internal", config.internal, names::DEFAULT_INTERNAL_PORT),
    ] {
        let field = format!("spec.config.{key}");
        if !address.ip().is_unspecified() {
            problems.add(
                &*field,
                format_args!(
                    "is {address}, where nobody outside the pod reaches it; write an address \
                     such as 0.0.0.0:{port} or [::]:{port}, or leave the key out"
                ),
            );
        }
        if address.port() == 0 {
            problems.add(&*field, format_args!("has no fixed port; write one, such as {port}"));
        }
    }
}
