//! [`check`]: tries what a configuration connects to.

use std::fmt::Write;

use rookery_config::Config;
use rookery_ops::escape;
use rookery_server::backplane::inspection::{Finding, Inspection, Severity, inspect};
use rookery_server::telemetry::metrics::Metrics;

use crate::cli::report::{self, Unusable};

/// Connects to Redis as an instance would, and prints what it found: warnings and notes to stdout.
///
/// # Errors
/// [`Unusable`], with every reason why an instance could not use it.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let Some(redis) = &config.redis else {
        return report::print("nothing to connect to: `redis` is not set\n");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let presence = config.rooms.iter().any(|rule| !rule.presence.is_off());
    let metrics = Metrics::new()?;
    let inspecting = inspect(redis, &config.namespaces, presence, &metrics);
    let inspected = runtime.block_on(inspecting);
    let inspection = inspected.map_err(|error| Unusable(vec![error.to_string()]))?;
    let (errors, others): (Vec<&Finding>, Vec<&Finding>) =
        inspection.findings.iter().partition(|finding| finding.severity == Severity::Error);
    report::print(&summary(&redis.redacted_url(), &inspection, &others))?;
    match errors.as_slice() {
        [] => Ok(()),
        errors => Err(Unusable(errors.iter().map(|error| error.text.clone()).collect()).into()),
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
