//! The NetworkPolicy: allows only the connections that the resource needs.
//!
//! A policy knows addresses and pods, not host names: where a URL has a name, its port is open to
//! every address. Behind a Service a pod may listen on another port than the Service's, and it is
//! the pod's that counts (Kubernetes documentation, "Network Policies", on rewritten addresses): where
//! the name is one of the cluster's, every port of the pods in its namespace is open too.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use reqwest::Url;
use rookery_config::Redis;
use rookery_config::redis_servers::RedisServers;

use super::metadata::{non_empty, object_meta, pod_selector};
use crate::names;
use crate::validate::Validated;

/// The port of Redis where a URL names none.
const REDIS_PORT: u16 = 6379;

/// The NetworkPolicy; `None` where the resource wants none.
pub(super) fn build(v: &Validated) -> Option<NetworkPolicy> {
    v.spec.network_policy.enabled.then(|| NetworkPolicy {
        metadata: object_meta(v),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pod_selector(v)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress(v)),
            egress: Some(egress(v)),
        }),
    })
}

fn ingress(v: &Validated) -> Vec<NetworkPolicyIngressRule> {
    let clients =
        NetworkPolicyIngressRule { from: None, ports: Some(vec![port(v.client_port, "TCP")]) };
    let internal = Some(vec![port(v.internal_port, "TCP")]);
    // An empty list of peers would be everybody.
    let rules = internal_peers(v).into_iter().filter(|peers| !peers.is_empty());
    let rules =
        rules.map(|peers| NetworkPolicyIngressRule { from: Some(peers), ports: internal.clone() });
    std::iter::once(clients).chain(rules).collect()
}

/// Who may reach the internal listener: publishers, Prometheus, the operator.
fn internal_peers(v: &Validated) -> [Vec<NetworkPolicyPeer>; 3] {
    let policy = &v.spec.network_policy;
    let namespace_pods = || vec![peer(None, [])];
    let prometheus = || vec![peer(Some(everywhere()), [(names::NAME, "prometheus")])];
    let operator = v.operator_namespace.as_ref().map(|namespace| {
        let namespace = selector([("kubernetes.io/metadata.name", namespace.as_str())]);
        peer(Some(namespace), [(names::NAME, "rookery"), (names::COMPONENT, "operator")])
    });
    [
        policy.publishers.clone().unwrap_or_else(namespace_pods),
        policy.prometheus.clone().unwrap_or_else(prometheus),
        operator.into_iter().collect(),
    ]
}

fn egress(v: &Validated) -> Vec<NetworkPolicyEgressRule> {
    let dns =
        NetworkPolicyEgressRule { ports: Some(vec![port(53, "UDP"), port(53, "TCP")]), to: None };
    let mut rules = vec![dns];
    for rule in targets(v) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules.extend(v.spec.network_policy.extra_egress.clone());
    rules
}

/// Endpoints in the configuration that the servers connect to.
fn targets(v: &Validated) -> impl Iterator<Item = NetworkPolicyEgressRule> {
    let config = &v.config;
    let redis = match (&v.redis_secret, &config.redis) {
        (Some(secret), _) => vec![to_port(secret.port)],
        (None, Some(redis)) => to_redis(redis),
        (None, None) => Vec::new(),
    };
    let urls = [
        config.backend.as_ref().map(|backend| &backend.url),
        config.auth.jwt.as_ref().and_then(|jwt| jwt.jwks_url.as_ref()),
        config.telemetry.otlp.as_ref(),
    ];
    redis.into_iter().chain(urls.into_iter().flatten().flat_map(|url| to_url(url)))
}

/// What a server that connects to `url` has to reach; nothing where it is no URL of a host.
fn to_url(url: &str) -> Vec<NetworkPolicyEgressRule> {
    let Ok(url) = Url::parse(url) else { return Vec::new() };
    let Some(host) = url.host_str() else { return Vec::new() };
    to_host(host, url.port_or_known_default().unwrap_or(REDIS_PORT))
}

/// What a server has to reach for this configuration of Redis. The primary's address, which
/// sentinels answer with, is not known beforehand: Redis' own port is open to every address. Nor are
/// those of a Cluster's other nodes: the ports of the named ones are open to every address.
fn to_redis(redis: &Redis) -> Vec<NetworkPolicyEgressRule> {
    let Ok(servers) = RedisServers::of(redis) else { return Vec::new() };
    let primary = servers.primary.is_some().then_some(REDIS_PORT);
    let of_nodes = servers.hosts().filter(|_| servers.is_cluster).map(|(_, port)| port);
    let everywhere: Vec<_> = primary.into_iter().chain(of_nodes).map(to_port).collect();
    let named = servers.hosts().flat_map(|(host, port)| to_host(host, port));
    named.chain(everywhere).collect()
}

fn to_host(host: &str, port: u16) -> Vec<NetworkPolicyEgressRule> {
    let rule = to_port(port);
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        let to = Some(vec![block(address)]);
        return vec![NetworkPolicyEgressRule { to, ..rule }];
    }
    // Host names have no case (RFC 3986, section 3.2.2); a URL of Redis is not normalized.
    let host = host.to_ascii_lowercase();
    let pods =
        service_pods(&host).map(|to| NetworkPolicyEgressRule { to: Some(vec![to]), ports: None });
    std::iter::once(rule).chain(pods).collect()
}

/// The pods that may be behind a Service of this name; `None` where it is none of the cluster's.
/// Two parts may be a Service and its namespace, or a host of the internet: then the namespace,
/// such as `com`, is hardly there.
fn service_pods(host: &str) -> Option<NetworkPolicyPeer> {
    match host.split('.').collect::<Vec<_>>()[..] {
        [_] => Some(peer(None, [])),
        [_, namespace] | [_, namespace, "svc", ..] => {
            let namespace = selector([("kubernetes.io/metadata.name", namespace)]);
            Some(peer(Some(namespace), []))
        }
        _ => None,
    }
}

fn block(address: IpAddr) -> NetworkPolicyPeer {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: format!("{address}/{whole}"), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

fn to_port(number: u16) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { ports: Some(vec![port(number, "TCP")]), to: None }
}

fn port(number: u16, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}

/// Pods with these labels; without a selector of namespaces, those of the same one.
fn peer<const N: usize>(
    namespace: Option<LabelSelector>,
    labels: [(&str, &str); N],
) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: namespace,
        pod_selector: Some(selector(labels)),
        ..NetworkPolicyPeer::default()
    }
}

fn everywhere() -> LabelSelector {
    LabelSelector::default()
}

fn selector<const N: usize>(labels: [(&str, &str); N]) -> LabelSelector {
    let labels: BTreeMap<_, _> =
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    LabelSelector { match_labels: non_empty(labels), ..LabelSelector::default() }
}
