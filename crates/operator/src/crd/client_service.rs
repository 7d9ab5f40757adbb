//! `spec.service`.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service for clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(has(self.type) && self.type == 'LoadBalancer') || (!has(self.loadBalancerClass) && \
     !has(self.loadBalancerSourceRanges))",
    "loadBalancerClass and loadBalancerSourceRanges need type: LoadBalancer"
))]
pub struct ClientService {
    /// How it is reached: inside the cluster, at a port of every node, or by a load balancer.
    #[serde(rename = "type", default)]
    pub type_: ServiceType,
    /// Port of the Service, such as 443 where the cloud's load balancer ends TLS. Default: 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Additional annotations, such as those of a cloud's load balancer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which implementation makes the load balancer. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Networks that the load balancer accepts clients from, such as `192.0.2.0/24`. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_source_ranges: Vec<String>,
    /// `Local` keeps the client's address, and sends traffic only to nodes that have a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// `ClientIP` keeps each client address at one pod, which polling needs without an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
}

/// The kind of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster, as an Ingress needs.
    #[default]
    ClusterIP,
    /// At a port of every node.
    NodePort,
    /// By a load balancer.
    LoadBalancer,
}

impl ServiceType {
    /// As in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Which nodes' pods get traffic from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficPolicy {
    /// Those of every node.
    Cluster,
    /// Those of the node that the traffic reaches.
    Local,
}

impl TrafficPolicy {
    /// As in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            TrafficPolicy::Cluster => "Cluster",
            TrafficPolicy::Local => "Local",
        }
    }
}

/// What keeps a client at one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SessionAffinity {
    /// Nothing.
    None,
    /// Its address.
    ClientIP,
}

impl SessionAffinity {
    /// As in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            SessionAffinity::None => "None",
            SessionAffinity::ClientIP => "ClientIP",
        }
    }
}
