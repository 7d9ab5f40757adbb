//! The messages of the gRPC service `externalscaler.ExternalScaler`, with the field numbers of
//! KEDA's `externalscaler.proto`.

use std::collections::BTreeMap;

/// A `ScaledObject`, and the trigger in it that a call is about.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScaledObjectRef {
    /// Name of the `ScaledObject`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Namespace of the `ScaledObject`.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// The trigger's `metadata`.
    #[prost(btree_map = "string, string", tag = "3")]
    pub scaler_metadata: BTreeMap<String, String>,
}

/// The answer of `IsActive` and `StreamIsActive`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IsActiveResponse {
    /// Whether there must be at least one pod.
    #[prost(bool, tag = "1")]
    pub result: bool,
}

/// The answer of `GetMetricSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricSpecResponse {
    /// The metrics to follow.
    #[prost(message, repeated, tag = "1")]
    pub metric_specs: Vec<MetricSpec>,
}

/// A metric to follow.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricSpec {
    /// Name of the metric.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// Target per pod. Older versions of KEDA read this one.
    #[prost(int64, tag = "2")]
    pub target_size: i64,
    /// Target per pod.
    #[prost(double, tag = "3")]
    pub target_size_float: f64,
}

/// The request of `GetMetrics`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricsRequest {
    /// What the metric is for.
    #[prost(message, optional, tag = "1")]
    pub scaled_object_ref: Option<ScaledObjectRef>,
    /// Name of the metric, as `GetMetricSpec` gave it.
    #[prost(string, tag = "2")]
    pub metric_name: String,
}

/// The answer of `GetMetrics`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricsResponse {
    /// The value.
    #[prost(message, repeated, tag = "1")]
    pub metric_values: Vec<MetricValue>,
}

/// The value of a metric, for all pods together.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricValue {
    /// Name of the metric.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// The value. KEDA reads this one if the other is 0.
    #[prost(int64, tag = "2")]
    pub metric_value: i64,
    /// The value.
    #[prost(double, tag = "3")]
    pub metric_value_float: f64,
}
