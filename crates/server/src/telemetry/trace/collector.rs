//! The [`Collector`]: the endpoint, headers and resource with which spans are exported.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use percent_encoding::percent_decode_str;
use reqwest::{Client, Url, redirect};

use rookery_config::otlp::endpoint;
use rookery_config::redacted;

/// An OTLP collector that is reached over HTTP.
pub(super) struct Collector {
    /// The URL that spans are posted to.
    pub endpoint: Url,
    /// Headers of each request; their values are marked as sensitive.
    pub headers: HeaderMap,
    /// The HTTP client.
    pub client: Client,
    /// Resource attributes from the environment.
    resource: Vec<KeyValue>,
}

/// Why a collector cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The URL is not valid.
    #[error("`telemetry.otlp` {0}")]
    Url(&'static str),
    /// The item of this number, from 1, in the environment's headers is malformed. The message does
    /// not repeat it: any part of a malformed item may be a secret.
    #[error(
        "`OTEL_EXPORTER_OTLP_HEADERS`: item {0} is not a header's name and value; write \
         name=value,name=value, with `,` in a value as %2C"
    )]
    Header(usize),
    /// The HTTP client could not be created.
    #[error("cannot create an HTTP client for `telemetry.otlp`: {0}")]
    Client(#[from] reqwest::Error),
}

/// How long a request may take.
///
/// Source: OpenTelemetry Protocol Exporter specification, the default of the timeout.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Collector {
    /// The collector at a base URL; `environment` looks up a variable.
    ///
    /// # Errors
    /// See [`CollectorError`].
    pub fn new(
        base: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CollectorError> {
        let headers = environment("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        let attributes = environment("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let name = environment("OTEL_SERVICE_NAME").filter(|name| !name.is_empty());
        let attributes = pairs(&attributes).filter_map(|(key, value)| Some((key, value?)));
        let attributes = attributes.chain(name.map(|name| ("service.name", name)));
        Ok(Collector {
            endpoint: endpoint(base).map_err(CollectorError::Url)?,
            headers: header_map(&headers)?,
            client: Client::builder()
                .timeout(TIMEOUT)
                .redirect(redirect::Policy::none())
                .user_agent(concat!("rookery/", env!("CARGO_PKG_VERSION")))
                .build()?,
            resource: attributes.map(|(k, v)| KeyValue::new(k.to_owned(), v)).collect(),
        })
    }

    /// The resource attributes of every span. Those of the environment take precedence.
    pub fn resource(&self, pod: &str) -> ResourceAttributesWithSchema {
        let ours = [
            KeyValue::new("service.name", "rookery"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", pod.to_owned()),
        ];
        let resource = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(ours)
            .with_attributes(self.resource.iter().cloned())
            .build();
        (&resource).into()
    }
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Collector")
            .field("endpoint", &redacted(self.endpoint.as_str()))
            .field("headers", &self.headers)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// Parses `key=value,key=value` with percent-encoded values. A value is `None` where it is missing
/// or not UTF-8.
///
/// Source: OpenTelemetry, "Resource SDK", on OTEL_RESOURCE_ATTRIBUTES, and "Protocol Exporter", on
/// OTEL_EXPORTER_OTLP_HEADERS; both are W3C Baggage without metadata.
fn pairs(text: &str) -> impl Iterator<Item = (&str, Option<String>)> {
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').map_or((pair, None), |(k, v)| (k, Some(v)));
        let value = value.map(|value| percent_decode_str(value.trim()).decode_utf8());
        (key.trim(), value.and_then(Result::ok).map(|value| value.into_owned()))
    })
}

fn header_map(text: &str) -> Result<HeaderMap, CollectorError> {
    let mut headers = HeaderMap::new();
    for (at, (name, value)) in pairs(text).enumerate() {
        let wrong = || CollectorError::Header(at + 1);
        let value = value.ok_or_else(wrong)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(HeaderName::try_from(name).map_err(|_| wrong())?, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(environment: &[(&str, &str)]) -> Result<Collector, CollectorError> {
        Collector::new("http://user:s3cret@c:4318", |name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn resource(environment: &[(&str, &str)]) -> Vec<(String, String)> {
        let resource = collector(environment).unwrap().resource("podpodpo");
        let mut found: Vec<_> = resource
            .attributes
            .0
            .iter()
            .map(|kv| (kv.key.clone(), format!("{:?}", kv.value.as_ref().unwrap())))
            .collect();
        found.sort();
        found
    }

    fn has(resource: &[(String, String)], key: &str, value: &str) -> bool {
        let quoted = format!("\"{value}\"");
        resource.iter().any(|(k, v)| k == key && v.contains(&quoted))
    }

    #[test]
    fn the_traces_path_is_appended_to_the_base_url() {
        for (base, full) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("https://c/some/where/", "https://c/some/where/v1/traces"),
        ] {
            assert_eq!(endpoint(base).unwrap().as_str(), full);
        }
        for bad in
            ["", "c:4318", "grpc://c:4317", "http://", "http://c/?a=b", "http://c/v1/traces", "/x"]
        {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_environment_takes_precedence_over_our_attributes() {
        let ours = resource(&[]);
        assert!(has(&ours, "service.name", "rookery"), "{ours:?}");
        assert!(has(&ours, "service.instance.id", "podpodpo"), "{ours:?}");
        let theirs = resource(&[
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=a, deployment.environment.name=a%2Cb,broken",
            ),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        assert!(has(&theirs, "service.name", "b"), "{theirs:?}");
        assert!(has(&theirs, "deployment.environment.name", "a,b"), "{theirs:?}");
        assert_eq!(theirs.len(), ours.len() + 1);
    }

    #[test]
    fn headers_are_parsed_and_never_printed() {
        let variable = "OTEL_EXPORTER_OTLP_HEADERS";
        let headers = collector(&[(variable, "Authorization=Bearer%20secret,x-scope=7")]).unwrap();
        assert_eq!(headers.headers["authorization"], "Bearer secret");
        assert_eq!(headers.headers["x-scope"], "7");
        let shown = format!("{headers:?}");
        assert!(!shown.contains("secret") && !shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("http://***@c:4318/v1/traces"), "{shown}");
        for bad in ["Authorization:Bearer s3cret", "Bearer s3cret==", "a b=s3cret", "a=s3cret%00"] {
            let error = collector(&[(variable, &format!("a=b,{bad}"))]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("item 2 ") && text.contains("write name=value"), "{text}");
            assert!(!text.contains("s3cret") && !format!("{error:?}").contains("s3cret"), "{text}");
        }
    }
}
