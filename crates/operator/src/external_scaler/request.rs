//! What a `ScaledObject` asks for. Pure.

use tonic::Status;

use super::messages::ScaledObjectRef;
use crate::crd::Autoscaling;
use crate::pods::PodMetric;

/// The keys of a trigger's metadata that are KEDA's own.
const OF_KEDA: [&str; 4] = ["scalerAddress", "enableTLS", "unsafeSsl", "tlsCertFile"];

/// A `Rookery` and the targets per pod to scale it by.
#[derive(Debug, PartialEq, Eq)]
pub struct ScaledRookery {
    /// Namespace of the `Rookery`: that of the `ScaledObject`.
    pub namespace: String,
    /// Name of the `Rookery`: `rookery` in the metadata, or the name of the `ScaledObject`.
    pub rookery: String,
    /// The targets; there is at least one.
    pub targets: Vec<(PodMetric, u64)>,
}

impl ScaledRookery {
    /// Reads the trigger's metadata. Without a target, there is that of `connectionsPerPod`'s
    /// default.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if a key is unknown or a target is not a positive number.
    // A `Status` is what the caller answers with, once for each call.
    #[allow(clippy::result_large_err)]
    pub fn of(object: &ScaledObjectRef) -> Result<Self, Status> {
        let mut rookery = object.name.clone();
        let mut targets = Vec::new();
        for (key, value) in &object.scaler_metadata {
            let metric = PodMetric::ALL.into_iter().find(|metric| metric.target_key() == key);
            match (key.as_str(), metric) {
                ("rookery", _) => rookery.clone_from(value),
                (_, Some(metric)) => targets.push((metric, target(key, value)?)),
                (other, None) if OF_KEDA.contains(&other) => {}
                (other, None) => return Err(unknown(other)),
            }
        }
        if targets.is_empty() {
            let default = Autoscaling::default().connections_per_pod;
            targets.push((PodMetric::Connections, u64::from(default.unsigned_abs())));
        }
        if rookery.is_empty() || object.namespace.is_empty() {
            return Err(Status::invalid_argument("the ScaledObject has no name or namespace"));
        }
        Ok(ScaledRookery { namespace: object.namespace.clone(), rookery, targets })
    }

    /// The target of a metric; 0 if there is none.
    pub fn target(&self, metric: PodMetric) -> u64 {
        let found = self.targets.iter().find(|(known, _)| *known == metric);
        found.map_or(0, |(_, target)| *target)
    }
}

#[allow(clippy::result_large_err)]
fn target(key: &str, value: &str) -> Result<u64, Status> {
    let number = value.trim().parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        Status::invalid_argument(format!(
            "metadata.{key} is {value:?}; expected a whole number of at least 1, such as \"10000\""
        ))
    })
}

fn unknown(key: &str) -> Status {
    Status::invalid_argument(format!(
        "metadata.{key} is unknown; expected rookery, connectionsPerPod, deliveriesPerSecond or \
         outboxBytes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(metadata: &[(&str, &str)]) -> ScaledObjectRef {
        let metadata = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        ScaledObjectRef {
            name: "scaled".into(),
            namespace: "apps".into(),
            scaler_metadata: metadata.collect(),
        }
    }

    #[test]
    fn a_trigger_names_the_resource_and_its_targets() {
        let read = ScaledRookery::of(&object(&[
            ("scalerAddress", "rookery-operator-scaler.rookery.svc:9090"),
            ("rookery", "chat"),
            ("connectionsPerPod", "500"),
            ("outboxBytes", "67108864"),
        ]))
        .unwrap();
        assert_eq!((read.namespace.as_str(), read.rookery.as_str()), ("apps", "chat"));
        assert_eq!(read.target(PodMetric::Connections), 500);
        assert_eq!(read.target(PodMetric::OutboxBytes), 67_108_864);
        assert_eq!(read.target(PodMetric::DeliveriesPerSecond), 0);
    }

    #[test]
    fn a_trigger_without_metadata_follows_the_connections_of_the_resource_of_its_name() {
        let read = ScaledRookery::of(&object(&[])).unwrap();
        assert_eq!(read.rookery, "scaled");
        assert_eq!(read.targets, [(PodMetric::Connections, 10_000)]);
    }

    #[test]
    fn a_mistake_is_refused_with_its_key() {
        for (key, value) in [
            ("connectionPerPod", "5"),
            ("connectionsPerPod", "0"),
            ("connectionsPerPod", "many"),
            ("deliveriesPerSecond", "-1"),
            ("outboxBytes", "64MiB"),
        ] {
            let status = ScaledRookery::of(&object(&[(key, value)])).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().contains(key), "{status}");
        }
    }
}
