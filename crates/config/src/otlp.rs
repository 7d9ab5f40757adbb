//! The URL of `telemetry.otlp`.

use reqwest::Url;

/// The URL that spans are posted to, for the base URL of a collector.
///
/// Source: OpenTelemetry Protocol Exporter specification, "Endpoint URLs for OTLP/HTTP".
///
/// # Errors
/// Says what is wrong with `base`, as the continuation of a sentence that begins with its key. The
/// URL may hold a password, so the message does not repeat it.
pub fn endpoint(base: &str) -> Result<Url, &'static str> {
    const EXPECTED: &str =
        "is not the URL of an OTLP collector over HTTP, such as http://otel-collector:4318";
    let mut url = Url::parse(base).map_err(|_| EXPECTED)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(EXPECTED);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have no `?` and no `#`, such as http://otel-collector:4318");
    }
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/v1/traces") {
        return Err("is the collector's base: leave `/v1/traces` out, it is added");
    }
    let path = format!("{path}/v1/traces");
    url.set_path(&path);
    Ok(url)
}
