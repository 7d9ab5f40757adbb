//! `rookery operator`: the Kubernetes operator.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::Context as _;
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::report::{Failure, Usage};
use crate::server::signals;
use rookery_config::LogFormat;
use rookery_operator as operator;
use rookery_operator::Options;
use rookery_operator::validate::Rights;
use rookery_ops::log;

/// Run the Kubernetes operator, which deploys the servers that `Rookery` resources describe.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It connects to the cluster with its pod's service account, or else with your kubeconfig.
The chart in charts/rookery-operator installs it with the permissions that it needs.

Examples:
  rookery operator
  rookery operator --watch-namespaces chat,games --image rookery:0.1.0
  rookery operator --allow-images 'registry.example.com/*' --allow-ingress-hosts '*.example.com'")]
pub struct Args {
    /// The namespaces whose resources to manage [default: all]
    #[arg(long, value_name = "NAMES", env = "ROOKERY_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// The address that serves /metrics, /livez and /readyz
    #[arg(long, value_name = "ADDR", env = "ROOKERY_INTERNAL", default_value = "0.0.0.0:9090")]
    internal: SocketAddr,
    /// The address that serves custom.metrics.k8s.io, with TLS; `none` leaves that API to others
    #[arg(long, value_name = "ADDR", env = "ROOKERY_METRICS_API", default_value = "0.0.0.0:6443")]
    metrics_api: ListenAddress,
    /// The address that serves KEDA's external scaler, by gRPC without TLS [default: none]
    #[arg(long, value_name = "ADDR", env = "ROOKERY_EXTERNAL_SCALER")]
    external_scaler: Option<SocketAddr>,
    /// The default image, for resources that name none
    #[arg(long, value_name = "IMAGE", env = "ROOKERY_IMAGE", default_value = concat!("rookery:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// The Service in front of the metrics API, on port 443
    #[arg(long, value_name = "NAME", env = "ROOKERY_SERVICE", default_value = "rookery-operator")]
    service: String,
    /// The ClusterRole that owns the APIService, which is deleted with it
    #[arg(
        long,
        value_name = "NAME",
        env = "ROOKERY_CLUSTER_ROLE",
        default_value = "rookery-operator"
    )]
    cluster_role: String,
    /// The operator's Deployment, which owns its Secret and its Lease; the Lease has its name
    #[arg(
        long,
        value_name = "NAME",
        env = "ROOKERY_DEPLOYMENT",
        default_value = "rookery-operator"
    )]
    deployment: String,
    /// The name of this pod, as the holder of the Lease
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "rookery-operator")]
    pod: String,
    /// The namespace of the operator itself
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// The images that resources may name, as patterns in which `*` stands for any text [default: all]
    #[arg(
        long,
        value_name = "PATTERN",
        env = "ROOKERY_ALLOW_IMAGES",
        value_delimiter = ',',
        num_args = 1..
    )]
    allow_images: Vec<String>,
    /// The hosts that resources may ask for, as patterns in which `*` stands for any text [default:
    /// all]
    #[arg(
        long,
        value_name = "PATTERN",
        env = "ROOKERY_ALLOW_INGRESS_HOSTS",
        value_delimiter = ',',
        num_args = 1..
    )]
    allow_ingress_hosts: Vec<String>,
    /// Refuse annotations of the servers' ServiceAccount, by which clouds give it an identity
    #[arg(
        long,
        env = "ROOKERY_FORBID_SERVICE_ACCOUNT_ANNOTATIONS",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    forbid_service_account_annotations: bool,
    /// Refuse egress beyond what the configuration needs
    #[arg(
        long,
        env = "ROOKERY_FORBID_EXTRA_EGRESS",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    forbid_extra_egress: bool,
}

/// An address to listen on, or `none`.
#[derive(Clone, Copy, Debug)]
struct ListenAddress(Option<SocketAddr>);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(ListenAddress(None)),
            address => address.parse().map(|address| ListenAddress(Some(address))).map_err(|_| {
                "expected an address and a port, such as 0.0.0.0:6443, or `none`".to_owned()
            }),
        }
    }
}

impl From<Args> for Options {
    fn from(args: Args) -> Self {
        Options {
            watch_namespaces: written(args.watch_namespaces),
            internal: args.internal,
            metrics_api: args.metrics_api.0,
            external_scaler: args.external_scaler,
            image: args.image,
            service: args.service,
            cluster_role: args.cluster_role,
            deployment: args.deployment,
            pod: args.pod,
            namespace: args.namespace,
            rights: Rights {
                images: written(args.allow_images),
                ingress_hosts: written(args.allow_ingress_hosts),
                forbid_service_account_annotations: args.forbid_service_account_annotations,
                forbid_extra_egress: args.forbid_extra_egress,
            },
        }
    }
}

/// The items without empty ones: an empty environment variable counts as unset.
fn written(items: Vec<String>) -> Vec<String> {
    let trimmed = items.iter().map(|item| item.trim());
    trimmed.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Initializes the log and runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// When there is no cluster, or an address is in use; formatted like the log's lines.
pub fn run(args: Args) -> Result<(), Failure> {
    let format = LogFormat::Auto;
    log::init(format, None)
        .map_err(|error| Failure::logged(Usage(error.to_string()).into(), format))?;
    serve(args.into()).map_err(|error| Failure::logged(error, format))
}

fn serve(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut signals = signals::listen()?;
        let client = Client::try_default()
            .await
            .context("no cluster: found neither a kubeconfig nor a pod's service account")?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(operator::run(options, client, stop.clone()));
        tokio::pin!(running);
        tokio::select! {
            () = signals.first() => {}
            ended = &mut running => return ended.context("the operator panicked")?,
        }
        stop.cancel();
        tokio::select! {
            () = signals.first() => anyhow::bail!("terminated by a second signal"),
            ended = &mut running => ended.context("the operator panicked")?,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_api_has_an_address_or_none() {
        let parse = |text: &str| text.parse::<ListenAddress>().map(|address| address.0);
        assert_eq!(parse("none"), Ok(None));
        assert_eq!(parse("0.0.0.0:6443"), Ok(Some(([0, 0, 0, 0], 6443).into())));
        for wrong in ["", "6443", "None", "host:6443"] {
            assert!(parse(wrong).is_err_and(|error| error.contains("`none`")), "{wrong}");
        }
    }
}
