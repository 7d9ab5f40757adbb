//! [`check`]: tries what a configuration connects to.

use std::fmt::Write;

use rookery_config::{Backend, Config, Redis};
use rookery_ops::escape;
use rookery_server::backend::{Verdict, probe};
use rookery_server::backplane::inspection::{Finding, Inspection, Severity, Tracking, inspect};
use rookery_server::telemetry::metrics::Metrics;

use crate::cli::report::{self, Unusable};

/// Connects to Redis as an instance would, sends a test request to the backend, and prints what it
/// found: warnings and notes to stdout.
///
/// # Errors
/// [`Unusable`], with every reason why an instance could not use them.
pub fn check(config: &Config) -> anyhow::Result<()> {
    if config.redis.is_none() && config.backend.is_none() {
        return report::print("nothing to connect to: `redis` and `backend` are not set\n");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reasons = Vec::new();
    if let Some(redis) = &config.redis {
        reasons.extend(runtime.block_on(check_redis(redis, config))?);
    }
    if let Some(backend) = &config.backend {
        reasons.extend(runtime.block_on(check_backend(backend))?);
    }
    if reasons.is_empty() { Ok(()) } else { Err(Unusable(reasons).into()) }
}

/// The reasons why an instance could not use Redis.
async fn check_redis(redis: &Redis, config: &Config) -> anyhow::Result<Vec<String>> {
    let tracking = tracking(config);
    let metrics = Metrics::new()?;
    let inspection = match inspect(redis, &config.offered_namespaces()?, tracking, &metrics).await {
        Ok(inspection) => inspection,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    let (errors, others): (Vec<&Finding>, Vec<&Finding>) =
        inspection.findings.iter().partition(|finding| finding.severity == Severity::Error);
    report::print(&summary(&redis.redacted_url(), &inspection, &others))?;
    Ok(errors.iter().map(|error| error.text.clone()).collect())
}

/// What the rules of rooms keep track of.
fn tracking(config: &Config) -> Tracking {
    if config.rooms.iter().any(|rule| !rule.hooks.is_empty()) {
        return Tracking::Hooks;
    }
    match config.rooms.iter().any(|rule| !rule.presence.is_off()) {
        true => Tracking::Presence,
        false => Tracking::Off,
    }
}

fn summary(url: &str, inspection: &Inspection, others: &[&Finding]) -> String {
    let version = inspection.version.as_deref().unwrap_or("of an unknown version");
    let mut text = escape::text(&format!("connected to Redis {version} at {url}")).to_string();
    text.push('\n');
    for Finding { severity, text: found } in others {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{severity}: {}", escape::text(found));
    }
    text
}

/// The reason why an instance could not use the backend.
async fn check_backend(backend: &Backend) -> anyhow::Result<Option<String>> {
    let url = backend.redacted_url();
    let text = match probe(backend).await? {
        Verdict::Good(text) => format!("called the backend at {url}: {text}"),
        Verdict::Doubtful(text) => format!("warning: the backend at {url}: {text}"),
        Verdict::Unusable(text) => return Ok(Some(format!("the backend at {url}: {text}"))),
    };
    report::print(&format!("{}\n", escape::text(&text)))?;
    Ok(None)
}
