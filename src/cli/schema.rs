//! `rookery schema`: the JSON Schema of the configuration.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::report;
use rookery_config::Config;
use rookery_operator::values;

/// Print the JSON Schema of the configuration, with its defaults.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: completion and validation in editors with the YAML language server
  rookery schema > rookery.schema.json
  # then, as the first line of rookery.yaml:
  # yaml-language-server: $schema=rookery.schema.json")]
pub struct Args {
    /// Print the schema of the values of the Helm chart `rookery` instead.
    #[arg(long)]
    values: bool,
    /// Print the schema of the values of the Helm chart `rookery-operator` instead.
    #[arg(long, conflicts_with = "values")]
    operator_values: bool,
}

/// Prints the schema.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let schema = match args {
        Args { values: true, .. } => values::schema(),
        Args { operator_values: true, .. } => values::operator_schema(),
        _ => schema(),
    };
    report::print(&format!("{schema:#}\n"))
}

/// The JSON Schema (2020-12) of a configuration file.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Config>();
    schema.insert("title".to_owned(), "Rookery".into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema at `pointer`, through references and options.
    fn resolve<'s>(root: &'s Value, mut at: &'s Value) -> &'s Value {
        loop {
            if let Some(reference) = at["$ref"].as_str() {
                at = root.pointer(reference.trim_start_matches('#')).expect("it resolves");
            } else if let Some(any) = at["anyOf"].as_array() {
                at = any.iter().find(|s| s["type"] != "null").expect("one is not null");
            } else {
                return at;
            }
        }
    }

    fn property<'s>(root: &'s Value, path: &str) -> &'s Value {
        path.split('.').fold(root, |at, key| {
            let section = resolve(root, at);
            let section = match section["items"].is_null() {
                true => section,
                false => resolve(root, &section["items"]),
            };
            assert_eq!(section["additionalProperties"], false, "unknown keys beside {path}");
            let found = &section["properties"][key];
            assert!(!found.is_null(), "no `{key}` of {path}");
            found
        })
    }

    const KEYS: &str = "listen internal healthPath trustedProxies socketio.path socketio.transports socketio.parser \
        socketio.eio3 socketio.pingInterval socketio.pingTimeout socketio.connectTimeout \
        socketio.maxPayload socketio.perMessageDeflate.threshold socketio.cors.origins socketio.cors.credentials redis.url redis.addresses \
        redis.mode redis.sentinel.master redis.sentinel.username redis.sentinel.passwordFile \
        redis.username redis.passwordFile redis.tls.enabled redis.tls.caFile redis.tls.certFile \
        redis.tls.keyFile redis.wire \
        redis.prefix redis.whenDown redis.bridge.channel redis.bridge.namespace redis.bridge.room \
        redis.bridge.event redis.bridge.args auth.anonymous auth.jwt.algorithms \
        auth.jwt.secretFile auth.jwt.publicKeyFile auth.jwt.jwksUrl auth.jwt.issuer \
        auth.jwt.audience auth.jwt.userClaim auth.queryParam auth.apiKeysFile namespaces \
        events.on events.operation events.byField.name events.byField.join events.byField.leave \
        events.byField.publish events.room events.reply.event events.event events.args \
        events.except rooms.match rooms.join rooms.publish rooms.hooks limits.connections limits.memory \
        limits.connectRate limits.perIp.connections limits.perIp.connectRate \
        limits.perIp.ipv6Prefix limits.unconnected limits.firstPacket limits.roomsPerClient limits.namespaces limits.eventsPerSecond limits.bytesPerSecond limits.queue limits.writeStall \
        limits.headerRead limits.keepAlive limits.bodyIdle limits.bodyRate limits.bodies limits.httpConnections \
        backend.url backend.events backend.hooks backend.timeout \
        backend.signingKeyFile backend.caFile backend.maxInFlight backend.queue backend.maxReply \
        backend.retryQueue backend.retryFor backend.vacatedDelay latency.sampleEvery latency.trackRooms latency.topRooms \
        drain.lead drain.window drain.pace drain.longestWindow drain.order drain.keepReady drain.patience drain.stickyCookie \
        rebalance.threshold rebalance.rate rebalance.after admin.namespace \
        admin.username admin.passwordHashFile admin.readonly admin.mode admin.maxSockets telemetry.otlp \
        telemetry.traceRatio telemetry.logFormat";

    #[test]
    fn the_schema_has_every_key_and_allows_no_other() {
        let schema = schema();
        for key in KEYS.split_whitespace() {
            property(&schema, key);
        }
    }

    #[test]
    fn every_key_has_a_description() {
        let schema = schema();
        for key in KEYS.split_whitespace() {
            let found = property(&schema, key);
            assert!(found["description"].is_string(), "{key}: {found}");
        }
    }

    #[test]
    fn the_schema_has_the_defaults() {
        let schema = schema();
        for (key, default) in [
            ("listen", Value::from("127.0.0.1:3000")),
            ("socketio.pingInterval", "25s".into()),
            ("socketio.maxPayload", "1MiB".into()),
            ("redis.prefix", "socket.io".into()),
            ("redis.wire", "classic".into()),
            ("auth.jwt.userClaim", "sub".into()),
            ("limits.connections", 50_000.into()),
            ("drain.window", "30s".into()),
            ("latency.topRooms", 50.into()),
            ("telemetry.traceRatio", 0.01.into()),
            ("telemetry.logFormat", "auto".into()),
        ] {
            assert_eq!(property(&schema, key)["default"], default, "{key}");
        }
        assert_eq!(schema["properties"]["events"]["default"][0]["on"], "application");
    }
}
