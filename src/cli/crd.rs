//! `rookery crd`: the custom resource definition.

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};

use super::report;
use rookery_operator::{crd, names};

/// Print the custom resource definition, or apply it to the cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rookery crd | kubectl apply --server-side -f -
  rookery crd --apply                            the same, with the pod's service account or your kubeconfig")]
pub struct Args {
    /// Apply the definition to the cluster instead of printing it.
    #[arg(long)]
    apply: bool,
}

/// Prints or applies the definition.
///
/// # Errors
/// When stdout cannot be written, or the cluster cannot be reached or refuses the definition.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let definition = crd::definition();
    if !args.apply {
        return report::print(&yaml(&definition)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let applied = runtime.block_on(apply(&definition))?;
    report::print(&format!("{} is up to date (generation {applied})\n", definition.name_any()))
}

async fn apply(definition: &CustomResourceDefinition) -> anyhow::Result<i64> {
    let client = Client::try_default()
        .await
        .context("no cluster: found neither a kubeconfig nor a pod's service account")?;
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let params = PatchParams::apply(names::MANAGER).force();
    let applied = api.patch(&definition.name_any(), &params, &Patch::Apply(definition)).await;
    let applied = applied.context("the cluster refused the definition")?;
    Ok(applied.metadata.generation.unwrap_or_default())
}

/// The definition as a YAML document.
///
/// # Errors
/// Never in practice: YAML can express every value of a definition.
pub fn yaml(definition: &CustomResourceDefinition) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(definition)?)
}
