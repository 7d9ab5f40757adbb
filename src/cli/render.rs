//! `rookery render`: print the objects that the operator would apply.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kube::{ResourceExt as _, core::DynamicObject};

use super::report;
use rookery_config::error::{ConfigError, Problem};
use rookery_operator::build::{Capabilities, build};
use rookery_operator::manifest;
use rookery_operator::validate::{DEFAULT_IMAGE, Defaults, validate};
use rookery_operator::yaml;
use rookery_ops::escape;

/// Print the Kubernetes objects of a `Rookery` resource, for a cluster without the operator.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rookery render chat.yaml --image registry.example.com/rookery:0.1 | kubectl apply -f -
  rookery render - < chat.yaml

Without the operator nothing serves the metric `rookery_connections` to the autoscaler: set
`autoscaling.metrics: external` in the resource and let another custom metrics server, such as
prometheus-adapter, serve it. Until one does, there are `replicas.min` servers.")]
pub struct Args {
    /// The file with the resource, in YAML; `-` reads stdin
    file: PathBuf,
    /// The image, for a resource that names none [default: `rookery` of this version]
    #[arg(long, env = "ROOKERY_IMAGE")]
    image: Option<String>,
    /// Also print a ServiceMonitor and a PrometheusRule, for the Prometheus operator
    #[arg(long)]
    monitoring: bool,
    /// Ask for session persistence in the HTTPRoute, for the Gateway API's experimental channel
    #[arg(long)]
    session_persistence: bool,
}

/// Prints the objects, in the order to apply them.
///
/// # Errors
/// When the file cannot be read, is not a `Rookery` resource, or is invalid.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (name, text) = read(&args.file)?;
    let (resource, node) = manifest::read(&name, &text)?;
    let image = args.image.clone().filter(|image| !image.is_empty());
    let image = image.unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let defaults = Defaults { image, ..Defaults::default() };
    let validated = validate(&resource, &defaults).map_err(|invalid| {
        let problems = invalid.0.into_iter();
        let problems =
            problems.map(|p| Problem::new(&p.field, format!("`{}` {}", p.field, p.text)));
        ConfigError::located(&name, problems.collect(), |key| node.line_near(key))
    })?;
    for warning in &validated.warnings {
        eprintln!("warning: {}", escape::text(warning));
    }
    // What is written for a kind is for a cluster that has it.
    let capabilities = Capabilities {
        service_monitor: args.monitoring,
        pod_monitor: args.monitoring,
        prometheus_rule: args.monitoring,
        http_route: true,
        session_persistence: args.session_persistence,
        ..Capabilities::default()
    };
    report::print(&documents(&build(&validated, &capabilities))?)
}

/// The file's name, for messages, and its text.
fn read(path: &Path) -> anyhow::Result<(String, String)> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
        return Ok(("stdin".to_owned(), text));
    }
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let text = format!("cannot read the file: {error}; check its path and permissions");
            Err(ConfigError::whole(name, text).into())
        }
    }
}

fn documents(objects: &[DynamicObject]) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        let kind = object.types.as_ref().map_or("", |types| &types.kind);
        // Through JSON, whose keys are sorted.
        let object_text = yaml::text(&serde_json::to_value(object)?);
        // Writing to a String cannot fail.
        let _ = write!(text, "---\n# {kind} {}\n{object_text}", object.name_any());
    }
    Ok(text)
}
