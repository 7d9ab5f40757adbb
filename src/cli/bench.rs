//! `rookery bench`.
/// A.
#[derive(Debug, clap::Args)]
pub struct Args {}
/// R.
pub fn run(_: Args) -> anyhow::Result<()> {
    Ok(())
}
