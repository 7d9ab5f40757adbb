//! The log, which is text on a terminal and JSON otherwise, and the layer that exports spans.

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::SdkTracer;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use rookery_config::LogFormat;

/// The target of spans of publications and deliveries, which are exported and not logged.
pub const SPANS: &str = "rookery::span";

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
    let layer = tracing_subscriber::fmt::layer().with_writer(out);
    if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(colours).boxed()
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
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn logged(json: bool, rust_log: Option<&str>) -> String {
        let out = Arc::new(Mutex::new(Vec::new()));
        let layer = lines(json, false, Shared(out.clone())).with_filter(filter(rust_log).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _span = tracing::info_span!("session", sid = "a").entered();
            tracing::info!(target: "rookery", rooms = 2, "first\nline \"quoted\"");
            tracing::info!(target: "hyper", "chatter");
            tracing::warn!(target: "hyper", "trouble");
            tracing::debug!(target: "rookery", "detail");
        });
        String::from_utf8(out.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Shared {
        type Writer = Shared;

        fn make_writer(&self) -> Shared {
            self.clone()
        }
    }

    #[test]
    fn every_json_line_is_an_object_with_the_message_and_its_fields() {
        let text = logged(true, None);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["message"], "first\nline \"quoted\"");
        assert_eq!(lines[0]["rooms"], 2);
        assert_eq!(lines[1]["level"], "WARN");
    }

    #[test]
    fn rust_log_replaces_the_default_filter() {
        assert!(!logged(false, None).contains("detail"));
        assert!(logged(false, Some(" ")).contains("trouble"));
        let text = logged(false, Some("rookery=debug"));
        assert!(text.contains("detail") && !text.contains("trouble"), "{text}");
        assert!(filter(Some("a=b=c")).is_err());
    }

    #[test]
    fn libraries_log_only_warnings_unless_they_are_named() {
        for all in ["trace", " debug ", "rookery=trace,info"] {
            let text = logged(false, Some(all));
            assert!(!text.contains("chatter") && text.contains("trouble"), "{all}: {text}");
        }
        assert!(logged(false, Some("trace,hyper=info")).contains("chatter"));
        assert!(!logged(false, Some("error")).contains("trouble"));
    }

    #[test]
    fn the_format_depends_on_the_terminal_unless_it_is_configured() {
        assert!(is_json(LogFormat::Auto, false) && !is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Json, true) && !is_json(LogFormat::Text, false));
    }
}
