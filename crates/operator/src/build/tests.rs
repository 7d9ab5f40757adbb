use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::*;
use crate::crd::Rookery;
use crate::validate::{Defaults, validate};

mod autoscaler;
mod gateway;
mod ingress;
mod network_policy;
mod redis;
mod rules;

const ALL: Capabilities = Capabilities {
    service_monitor: true,
    pod_monitor: true,
    prometheus_rule: true,
    scaled_object: true,
    http_route: true,
    session_persistence: true,
};

/// With most of what can be asked for.
const FULL: &str = "
ingress: { className: traefik, host: chat.example.com, tls: { secretName: tls } }
redis: { url: 'redis://redis' }
secrets: [{ secretName: keys, mountPath: /etc/keys }, { secretName: more, mountPath: /etc/more }]
config:
  auth: { anonymous: true, apiKeysFile: /etc/keys/k }
podTemplate: { labels: { team: a }, annotations: { prometheus.io/scrape: 'false' } }
";

pub(super) fn validated(spec: &str) -> Validated {
    let mut spec: Value = serde_saphyr::from_str(spec).unwrap();
    if spec["config"]["auth"].is_null() {
        spec["config"]["auth"] = json!({ "anonymous": true });
    }
    let mut resource = Rookery::new("chat", serde_json::from_value(spec).unwrap());
    resource.metadata.namespace = Some("team".to_owned());
    resource.metadata.uid = Some("u".to_owned());
    let defaults = Defaults {
        image: "rookery:test".to_owned(),
        operator_namespace: Some("operators".to_owned()),
        scaler_address: Some("rookery-operator-scaler.operators.svc:9090".to_owned()),
        ..Defaults::default()
    };
    validate(&resource, &defaults).unwrap()
}

fn built(spec: &str) -> Vec<DynamicObject> {
    build(&validated(spec), &ALL)
}

fn find(objects: &[DynamicObject], kind: &str, name: &str) -> Value {
    let is = |o: &&DynamicObject| {
        o.types.as_ref().is_some_and(|t| t.kind == kind) && o.name_any() == name
    };
    let found = objects.iter().find(is).unwrap_or_else(|| panic!("no {kind} {name}"));
    serde_json::to_value(found).unwrap()
}

fn deployment(spec: &str) -> Value {
    find(&built(spec), "Deployment", "chat")
}

#[test]
fn a_kind_that_comes_with_other_software_is_optional() {
    let optional: Vec<_> =
        kinds().into_iter().filter(|kind| !Capabilities::default().has(&kind.kind)).collect();
    let foreign = |kind: &ApiResource| {
        kind.group.contains('.') && !kind.group.ends_with(".k8s.io")
            || kind.group.starts_with("gateway.")
    };
    let expected: Vec<_> = kinds().into_iter().filter(foreign).collect();
    assert_eq!(optional, expected);
    assert_eq!(optional.len(), 5);
    assert!(kinds().iter().all(|kind| ALL.has(&kind.kind)));
}

#[test]
fn every_object_is_named_labelled_owned_and_hashed() {
    let objects = built(FULL);
    assert_eq!(objects.len(), 12);
    for object in &objects {
        let name = object.name_any();
        assert!(["chat", "chat-internal", "chat-metrics"].contains(&&*name), "{name}");
        assert_eq!(object.namespace().as_deref(), Some("team"));
        assert_eq!(object.labels()[names::MANAGED_BY], names::MANAGER);
        assert_eq!(object.labels()[names::INSTANCE], "chat");
        assert_eq!(object.annotations()[names::APPLIED].len(), 32);
        let [owner] = object.owner_references() else { panic!("{name} has not one owner") };
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Rookery", "u"));
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
    }
}

#[test]
fn every_kind_that_is_made_is_one_that_is_watched() {
    let kinds: BTreeSet<_> =
        kinds().iter().map(|k| (k.api_version.to_string(), k.kind.to_string())).collect();
    let with_keda = built("autoscaling: { metrics: keda }");
    let other_ways = "gateway: { parentRefs: [{ name: a }] }\nmonitoring: { podMonitor: true }";
    let made: BTreeSet<_> = built(FULL)
        .into_iter()
        .chain(with_keda)
        .chain(built(other_ways))
        .filter_map(|object| object.types)
        .map(|types| (types.api_version, types.kind))
        .collect();
    assert_eq!(made, kinds);
    assert_eq!(super::kinds().iter().find(|k| k.kind == "Ingress").unwrap().plural, "ingresses");
}

#[test]
fn the_same_resource_gives_the_same_bytes() {
    let text = || serde_json::to_string(&built(FULL)).unwrap();
    assert_eq!(text(), text());
}

#[test]
fn disabled_objects_are_not_built() {
    let v =
        validated("{ networkPolicy: { enabled: false }, monitoring: { prometheusRule: false } }");
    let kinds = |capabilities: &Capabilities| -> Vec<String> {
        build(&v, capabilities).into_iter().filter_map(|o| o.types).map(|t| t.kind).collect()
    };
    assert_eq!(
        kinds(&ALL),
        [
            "ServiceAccount",
            "ConfigMap",
            "Service",
            "Service",
            "PodDisruptionBudget",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Service",
            "ServiceMonitor",
        ]
    );
    assert_eq!(kinds(&Capabilities::default()).len(), 7);
}

#[test]
fn a_deployment_has_no_replicas_and_waits_for_drains() {
    for spec in ["{}", FULL, "{ replicas: { min: 7, max: 7 }, redis: { url: 'redis://r' } }"] {
        assert!(deployment(spec)["spec"].get("replicas").is_none(), "{spec}");
    }
    let spec = deployment("drain: { lead: 2500ms, window: 1m }")["spec"].take();
    assert_eq!(spec["minReadySeconds"], 63);
    assert_eq!(spec["progressDeadlineSeconds"], 363);
    assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 78);
    assert_eq!(spec["strategy"]["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever the drain takes, a rollout and a scale-down wait for it, and nothing cuts it off.
    #[test]
    fn timeouts_cover_the_drain(lead in 0_u64..4_000_000, window in 0_u64..4_000_000) {
        let objects = built(&format!("drain: {{ lead: {lead}ms, window: {window}ms }}"));
        let spec = find(&objects, "Deployment", "chat")["spec"].take();
        let hpa = find(&objects, "HorizontalPodAutoscaler", "chat")["spec"].take();
        let number = |value: &Value| value.as_u64().unwrap();
        let ready = number(&spec["minReadySeconds"]);
        let grace = number(&spec["template"]["spec"]["terminationGracePeriodSeconds"]);
        let period = number(&hpa["behavior"]["scaleDown"]["policies"][0]["periodSeconds"]);
        assert!(ready * 1000 >= lead + window && (lead + window) + 1000 > ready * 1000);
        assert!(number(&spec["progressDeadlineSeconds"]) > ready && grace > ready);
        assert!((1..=1800).contains(&period) && (period >= ready || period == 1800));
        assert!(spec.get("replicas").is_none());
    }
}

/// Pod Security Standards, profile "Restricted", for what these pods could have.
#[test]
fn pods_are_restricted() {
    let template = deployment(FULL)["spec"]["template"].take();
    let pod = serde_json::from_value::<PodTemplateSpec>(template).unwrap().spec.unwrap();
    let context = pod.security_context.unwrap();
    assert_eq!(context.run_as_non_root, Some(true));
    assert_ne!(context.run_as_user, Some(0));
    assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert!(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none());
    assert!(pod.init_containers.is_none() && pod.ephemeral_containers.is_none());
    for container in &pod.containers {
        let context = container.security_context.clone().unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(context.read_only_root_filesystem, Some(true));
        assert_eq!(context.capabilities.unwrap().drop.unwrap(), ["ALL"]);
        assert!(context.privileged.is_none());
        assert!(container.ports.iter().flatten().all(|port| port.host_port.is_none()));
        assert!(container.volume_mounts.iter().flatten().all(|m| m.read_only == Some(true)));
        assert!(container.volume_mounts.iter().flatten().all(|m| m.sub_path.is_none()));
    }
    for volume in pod.volumes.unwrap() {
        assert!(volume.config_map.is_some() != volume.secret.is_some(), "{volume:?}");
    }
}

#[test]
fn the_checksum_covers_only_what_needs_a_restart() {
    let checksum = |config: &str| {
        let mut deployment = deployment(&format!("config: {config}"));
        let annotations = &mut deployment["spec"]["template"]["metadata"]["annotations"];
        annotations[names::CONFIG_CHECKSUM].take()
    };
    let one = checksum("{ limits: { connections: 20000 } }");
    assert_eq!(one, checksum("{ limits: { connections: 30000 }, rooms: [{ match: a }] }"));
    assert_ne!(one, checksum("{ limits: { connections: 20000 }, namespaces: [/a] }"));
}

#[test]
fn the_configuration_is_mounted_where_serve_reads_it() {
    let objects = built(FULL);
    let data = find(&objects, "ConfigMap", "chat")["data"].take();
    let text = data["rookery.yaml"].as_str().unwrap();
    assert_eq!(text, validated(FULL).config_text);
    let container =
        find(&objects, "Deployment", "chat")["spec"]["template"]["spec"]["containers"][0].take();
    assert_eq!(container["args"], json!(["serve", "--config", "/etc/rookery/rookery.yaml"]));
    assert_eq!(container["env"][2]["value"], "$(POD_NAMESPACE)/chat@u/$(POD_TEMPLATE_HASH)");
    assert_eq!(container["volumeMounts"][2]["mountPath"], "/etc/more");
}

#[test]
fn a_url_in_a_secret_is_passed_in_the_environment() {
    let spec = "{ redis: { urlSecret: { name: s, key: k, port: 7000 } } }";
    let objects = built(spec);
    let pod = find(&objects, "Deployment", "chat")["spec"]["template"]["spec"].take();
    let secret = json!({ "name": "s", "key": "k", "optional": false });
    assert_eq!(
        pod["containers"][0]["env"][3],
        json!({ "name": "ROOKERY_REDIS", "valueFrom": { "secretKeyRef": secret } })
    );
    assert!(!find(&objects, "ConfigMap", "chat").to_string().contains("redis"));
    let egress = &find(&objects, "NetworkPolicy", "chat")["spec"]["egress"];
    assert_eq!(egress[1]["ports"], json!([{ "port": 7000, "protocol": "TCP" }]));
}

#[test]
fn the_pods_own_labels_and_annotations_are_added() {
    let metadata = deployment(&format!("{FULL}monitoring: {{ serviceMonitor: false }}\n"))["spec"]
        ["template"]["metadata"]
        .take();
    assert_eq!(metadata["labels"]["team"], "a");
    assert_eq!(metadata["labels"][names::INSTANCE], "chat");
    assert_eq!(metadata["annotations"]["prometheus.io/scrape"], "false");
    assert_eq!(metadata["annotations"]["prometheus.io/port"], "9090");
}

#[test]
fn the_autoscaler_goes_down_by_one_drain_at_a_time() {
    let spec = |spec: &str| find(&built(spec), "HorizontalPodAutoscaler", "chat")["spec"].take();
    let hpa = spec(
        "{ redis: { url: 'redis://r' }, autoscaling: { connectionsPerPod: 50, stabilization: 90s },\n\
         drain: { lead: 1s, window: 9s } }",
    );
    assert_eq!((&hpa["minReplicas"], &hpa["maxReplicas"]), (&json!(2), &json!(10)));
    let pods = &hpa["metrics"][0]["pods"];
    assert_eq!(pods["metric"], json!({ "name": "rookery_connections" }));
    assert_eq!(pods["target"], json!({ "type": "AverageValue", "averageValue": "50" }));
    let down = &hpa["behavior"]["scaleDown"];
    assert_eq!(down["policies"], json!([{ "type": "Pods", "value": 1, "periodSeconds": 10 }]));
    assert_eq!(down["stabilizationWindowSeconds"], 90);
    for (drain, period) in [("lead: 0s, window: 0s", 1), ("lead: 0s, window: 1h", 1800)] {
        let hpa = spec(&format!("drain: {{ {drain} }}"));
        let policy = &hpa["behavior"]["scaleDown"]["policies"][0];
        assert_eq!(policy["periodSeconds"], period, "{drain}");
    }
}

#[test]
fn the_service_monitor_takes_each_server_once_and_until_it_is_gone() {
    let objects = built("monitoring: { labels: { release: p, app.kubernetes.io/name: x } }");
    let monitor = find(&objects, "ServiceMonitor", "chat");
    assert_eq!(monitor["metadata"]["labels"]["release"], "p");
    assert_eq!(monitor["metadata"]["labels"][names::NAME], "rookery", "ours are not replaced");
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!((&endpoint["port"], &endpoint["interval"]), (&json!("metrics"), &json!("15s")));
    let with_port: Vec<String> = objects
        .iter()
        .filter(|object| object.data["spec"]["ports"][0]["name"] == endpoint["port"])
        .map(|object| object.name_any())
        .collect();
    assert_eq!(with_port, ["chat-metrics"]);
    let followed = find(&objects, "Service", "chat-metrics")["spec"].take();
    assert_eq!(followed["publishNotReadyAddresses"], true);
    assert_eq!(followed["clusterIP"], "None");
    assert_eq!(followed["ports"][0]["targetPort"], "internal");
    // Publishers are sent to servers that are ready.
    let internal = find(&objects, "Service", "chat-internal")["spec"].take();
    assert!(internal["publishNotReadyAddresses"].is_null());
    let without = built("monitoring: { serviceMonitor: false }");
    assert!(without.iter().all(|object| object.name_any() != "chat-metrics"));
}

#[test]
fn the_clients_service_is_as_asked() {
    let plain = find(&built("{}"), "Service", "chat");
    assert_eq!(plain["spec"]["type"], "ClusterIP");
    assert!(plain["spec"]["sessionAffinity"].is_null());
    let service = find(
        &built(
            "service: { type: LoadBalancer, annotations: { a.example.com/b: c }, \
             loadBalancerClass: example.com/nlb, loadBalancerSourceRanges: [192.0.2.0/24], \
             externalTrafficPolicy: Local, sessionAffinity: ClientIP }",
        ),
        "Service",
        "chat",
    );
    let spec = &service["spec"];
    assert_eq!(spec["type"], "LoadBalancer");
    assert_eq!(spec["loadBalancerClass"], "example.com/nlb");
    assert_eq!(spec["loadBalancerSourceRanges"], json!(["192.0.2.0/24"]));
    assert_eq!(spec["externalTrafficPolicy"], "Local");
    assert_eq!(spec["sessionAffinity"], "ClientIP");
    assert_eq!(service["metadata"]["annotations"]["a.example.com/b"], "c");
    let internal = find(&built("service: { type: NodePort }"), "Service", "chat-internal");
    assert_eq!(internal["spec"]["type"], "ClusterIP", "publishers stay inside the cluster");
}

#[test]
fn what_is_added_to_the_pods_stands_beside_the_server() {
    let deployment = deployment(
        "podTemplate:\n  extraEnv: [{ name: TOKEN, valueFrom: { secretKeyRef: { name: s, key: k } } }]\n  \
         envFrom: [{ configMapRef: { name: more } }]\n  \
         volumes: [{ name: ca, configMap: { name: company-ca } }]\n  \
         volumeMounts: [{ name: ca, mountPath: /etc/ssl/company }]\n  \
         initContainers: [{ name: wait, image: 'busybox:1' }]\n  \
         sidecars: [{ name: proxy, image: 'proxy:1' }]\n",
    );
    let pod = &deployment["spec"]["template"]["spec"];
    let server = &pod["containers"][0];
    assert_eq!(server["name"], "rookery");
    let env = server["env"].as_array().unwrap();
    assert!(env.iter().any(|one| one["valueFrom"]["secretKeyRef"]["name"] == "s"));
    assert_eq!(server["envFrom"], json!([{ "configMapRef": { "name": "more" } }]));
    assert_eq!(server["volumeMounts"][1]["mountPath"], "/etc/ssl/company");
    assert_eq!(pod["volumes"][1]["configMap"]["name"], "company-ca");
    assert_eq!(pod["initContainers"][0]["name"], "wait");
    assert_eq!(pod["containers"][1]["name"], "proxy");
}

#[test]
fn a_user_that_the_cluster_assigns_is_left_out() {
    let context =
        |spec: &str| deployment(spec)["spec"]["template"]["spec"]["securityContext"].clone();
    assert_eq!(context("{}")["runAsUser"], 65532);
    let assigned = context("podTemplate: { fixedUser: false }");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert!(assigned[field].is_null(), "{field}");
    }
    assert_eq!(assigned["runAsNonRoot"], true);
    // It can read its configuration, whoever it is.
    let mode = |spec: &str| {
        let volumes = &deployment(spec)["spec"]["template"]["spec"]["volumes"];
        volumes[0]["configMap"]["defaultMode"].clone()
    };
    assert_eq!(
        (mode("{}"), mode("podTemplate: { fixedUser: false }")),
        (0o440.into(), 0o444.into())
    );
}

#[test]
fn the_autoscaler_follows_cpu_too_and_its_behavior_is_replaced_in_part() {
    let autoscaler = |spec: &str| find(&built(spec), "HorizontalPodAutoscaler", "chat");
    let plain = autoscaler("{}");
    assert_eq!(plain["spec"]["metrics"].as_array().unwrap().len(), 1);
    let asked = autoscaler(
        "autoscaling: { cpuUtilization: 70, behavior: { scaleDown: { policies: \
         [{ type: Percent, value: 10, periodSeconds: 60 }] }, scaleUp: { selectPolicy: Min } } }",
    );
    let cpu = &asked["spec"]["metrics"][1]["containerResource"];
    assert_eq!(cpu["container"], "rookery");
    assert_eq!(cpu["target"]["averageUtilization"], 70);
    let (before, after) = (&plain["spec"]["behavior"], &asked["spec"]["behavior"]);
    assert_eq!(after["scaleDown"]["policies"][0]["type"], "Percent");
    let window = "stabilizationWindowSeconds";
    assert_eq!(after["scaleDown"][window], before["scaleDown"][window]);
    assert_eq!(after["scaleUp"]["selectPolicy"], "Min");
    assert_eq!(after["scaleUp"]["policies"], before["scaleUp"]["policies"]);
}
