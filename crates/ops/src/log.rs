//! The log, which is text on a terminal and JSON otherwise, and the layer that exports spans. Each
//! event is one line, in which text from outside is escaped.

mod fields;
mod json_lines;

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::SdkTracer;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use rookery_config::LogFormat;

use fields::EscapedFields;
use json_lines::JsonLines;

/// The target of spans of publications and deliveries, which are exported and not logged.
pub const SPANS: &str = "rookery::span";

/// The longest value of a field, in bytes before it is escaped; the rest is cut.
const MAX_VALUE_BYTES: usize = 4096;

/// The filter without `RUST_LOG`.
const DEFAULT_FILTER: &str = "info";

/// The filter for libraries that log about single connections: only their warnings are logged
/// unless `RUST_LOG` names the library itself. Their lower levels reveal secrets: tungstenite logs
/// every frame, with tokens, payloads and session ids.
const LIBRARY_FILTER: &str = "socketioxide=warn,engineioxide=warn,tungstenite=warn,tokio_tungstenite=warn,\
    hyper=warn,hyper_util=warn,h2=warn,reqwest=warn,rustls=warn,kube=error,kube_runtime=error";

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` is malformed.
    #[error("`RUST_LOG` is malformed: {0}; write for example info or rookery=debug")]
    Filter(#[from] ParseError),
    /// The process has a log already.
    #[error("the log has been started already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the process's log on standard output, and passes spans to `tracer` if there is one. Panics
/// are logged too, so that every line has the same format.
///
/// # Errors
/// Fails if `RUST_LOG` is malformed, and when called twice.
pub fn init(format: LogFormat, tracer: Option<SdkTracer>) -> Result<(), LogError> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref())?;
    let terminal = io::stdout().is_terminal();
    let colours = terminal && colours_wanted();
    let lines = lines(is_json(format, terminal), colours, io::stdout);
    // Spans are exported whatever RUST_LOG says, and never logged. Without the hint the most verbose
    // level would be in force, and `log::trace!` in a library would reach the filter each time:
    // tungstenite calls it several times for each frame.
    let not_spans = filter_fn(|metadata| metadata.target() != SPANS);
    let filter = filter.and(not_spans.with_max_level_hint(LevelFilter::TRACE));
    let layers: Vec<_> =
        std::iter::once(lines.with_filter(filter).boxed()).chain(tracer.map(spans)).collect();
    tracing_subscriber::registry().with(layers).try_init()?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(target: "rookery", "{panic}")));
    Ok(())
}

/// Whether lines are JSON: as `format` says, and with `auto` unless they go to a terminal.
pub fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// Whether terminal output may be coloured, which a non-empty `NO_COLOR` forbids (no-color.org).
pub fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The layer that exports spans with the target [`SPANS`], and no others, to OpenTelemetry.
pub fn spans(tracer: SdkTracer) -> Box<dyn Layer<Registry> + Send + Sync> {
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_level(false)
        .with_target(false)
        .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
        .boxed()
}

/// The layer that writes log lines to `out`.
fn lines<W>(json: bool, colours: bool, out: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer();
    if json {
        let layer = layer.with_writer(JsonLines(out)).json().flatten_event(true);
        layer.with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_writer(out).fmt_fields(EscapedFields).with_ansi(colours).boxed()
    }
}

fn filter(rust_log: Option<&str>) -> Result<EnvFilter, ParseError> {
    let written = rust_log.map(str::trim).filter(|written| !written.is_empty());
    let written = written.unwrap_or(DEFAULT_FILTER);
    // The last bare level is the one for all targets.
    let mut parts = written.split(',').rev();
    match parts.find_map(|part| part.trim().parse::<LevelFilter>().ok()) {
        Some(all) if all > LevelFilter::WARN => {
            EnvFilter::try_new(format!("{LIBRARY_FILTER},{written}"))
        }
        _ => EnvFilter::try_new(written),
    }
}

#[cfg(test)]
mod tests;
