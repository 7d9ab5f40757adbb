//! What the chart renders without an operator (`rookery.standalone`) is what the operator would make of
//! the resource that the chart renders with the same values: the files in `tests/standalone/values`.
//!
//! The tests run `$HELM`, or `helm`; without Helm they print a note and pass.

#![allow(clippy::unwrap_used)]

#[path = "standalone/difference.rs"]
mod difference;
#[path = "standalone/refusals.rs"]
mod refusals;
#[path = "standalone/release.rs"]
mod release;

use std::collections::{BTreeMap, BTreeSet};

use std::sync::LazyLock;

use difference::difference;
use release::{Object, Release, helm_is_missing, values};
use serde_json::{Value, json};

/// What is made of every file.
static FILES: LazyLock<Vec<Rendered>> =
    LazyLock::new(|| values().into_iter().map(Rendered::of).collect());

/// A release as the chart renders it, and as the operator would make it.
struct Rendered {
    release: Release,
    chart: BTreeMap<String, Object>,
    operator: BTreeMap<String, Object>,
}

impl Rendered {
    fn of(release: Release) -> Self {
        Rendered { chart: release.standalone(), operator: release.by_operator(), release }
    }

    /// The objects of the service: of the chart's, neither hooks nor tests nor a demo Redis.
    fn service(&self) -> BTreeMap<String, Object> {
        self.chart
            .iter()
            .filter(|(_, one)| one.is_of_service())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// Compares object by object and field by field.
    fn assert_same(&self) {
        let problems = difference(&self.service(), &self.operator);
        assert!(problems.is_empty(), "{:?}:\n{}", self.release, problems.join("\n"));
    }

    /// The template of the pods: that of the operator, and the chart's own.
    fn pod_templates(&self) -> (Value, Value) {
        let template = |objects: &BTreeMap<String, Object>| {
            let mut template = objects["Deployment chat"].value["spec"]["template"].clone();
            template["metadata"]["labels"].as_object_mut().unwrap().remove(difference::MANAGED_BY);
            template
        };
        (template(&self.operator), template(&self.chart))
    }
}

#[test]
fn the_objects_are_those_that_the_operator_makes() {
    if helm_is_missing() {
        return;
    }
    assert!(FILES.len() >= 30, "{}", FILES.len());
    FILES.iter().for_each(Rendered::assert_same);
}

/// What the chart alone refuses: it has no metric for the autoscaler.
const NO_METRIC: &str = "without the operator nothing serves the number of connections";

#[test]
fn combinations_of_values_are_taken_or_refused_by_both() {
    if helm_is_missing() {
        return;
    }
    let mut taken = 0;
    for (i, one) in FILES.iter().enumerate() {
        let release = one.release.merged(&FILES[(i + 11) % FILES.len()].release);
        match release.outcomes() {
            [Ok(chart), Ok(operator)] => {
                taken += 1;
                Rendered { release, chart, operator }.assert_same();
            }
            [Err(_), Err(_)] => {}
            [Err(said), Ok(_)] => assert!(said.contains(NO_METRIC), "{release:?}: {said}"),
            [Ok(_), Err(said)] => panic!("{release:?}: only the operator refuses: {said}"),
        }
    }
    assert!(taken > 10, "only {taken}");
}

#[test]
fn the_network_policy_opens_what_the_operator_would() {
    if helm_is_missing() {
        return;
    }
    let base = "anonymous: true\nautoscaling: { enabled: false }\n";
    for url in [
        "redis://user:secret@Redis.Example.COM",
        "redis://:secret@cache:7000/3",
        "rediss://cache.data.SVC:7000",
        "redis://cache.data.svc.cluster.local.:6379",
        "redis://192.0.2.1",
        "rediss://192.0.2.1:443/0?x=y",
        "redis://[2001:DB8::1]/1",
        "redis://[::ffff:192.0.2.1]:7000",
        "redis://a.b.c.d:1",
        "redis://redis-0.redis:6379",
        "redis://user@host:6379",
    ] {
        let redis = json!({ "redis": { "url": url } });
        Rendered::of(Release::of(base).merged(&Release::of(&redis.to_string()))).assert_same();
    }
    for url in [
        "https://id.example.com",
        "http://id/keys?x=1:2",
        "https://USER@192.0.2.9/keys",
        "http://[2001:db8::2]:8080/",
        "https://id.example.com:443/a",
    ] {
        let jwt = json!({ "algorithms": ["RS256"], "jwksUrl": url });
        let config = json!({ "config": { "auth": { "jwt": jwt }, "telemetry": { "otlp": url } } });
        let release = Release::of(base).merged(&Release::of(&config.to_string()));
        match release.outcomes() {
            [Ok(chart), Ok(operator)] => Rendered { release, chart, operator }.assert_same(),
            [_, Err(said)] => println!("{url}: {said}"),
            [Err(said), _] => panic!("{url}: {said}"),
        }
    }
}

#[test]
fn every_field_of_the_resource_is_in_a_values_file() {
    let mut written = BTreeSet::new();
    for release in values() {
        for (section, value) in release.values() {
            written.insert(section.clone());
            let keys = value.as_object().into_iter().flatten();
            written.extend(keys.map(|(key, _)| format!("{section}.{key}")));
        }
    }
    for path in release::fields_of_the_resource() {
        assert!(written.contains(&path), "`{path}` is in no file of tests/standalone/values");
    }
}

#[test]
fn pods_are_replaced_exactly_when_the_operator_would_replace_them() {
    if helm_is_missing() {
        return;
    }
    let base = Release::of(
        "anonymous: true\nredis: { url: 'redis://redis:6379' }\nautoscaling: { metrics: external }\n",
    );
    let changes = [
        "config.limits.queue=65536",
        "config.limits.connections=20000",
        "config.rooms=open",
        "config.socketio.pingInterval=20s",
        "config.redis.whenDown=refuse",
        "config.drain.lead=5s",
        "drain.lead=5s",
        "drain.lead=5000ms",
        "drain.lead=6s",
        "drain.window=30sec",
        "redis.url=redis://other:6379",
        "ingress.host=chat.example.com",
        "ingress.sticky=false",
        "replicas.min=3",
        "autoscaling.connectionsPerPod=5",
        "image.tag=next",
        "podTemplate.labels.team=chat",
        "podTemplate.env.RUST_LOG=debug",
        "resources.requests.cpu=1",
        "service.type=NodePort",
        "monitoring.interval=1m",
        "networkPolicy.enabled=false",
    ];
    let mut templates = vec![Rendered::of(base.clone()).pod_templates()];
    for change in changes {
        let changed = Rendered::of(base.with(change));
        changed.assert_same();
        templates.push(changed.pod_templates());
    }
    templates.extend(FILES.iter().map(Rendered::pod_templates));
    for (one, of_one) in &templates {
        for (other, of_other) in &templates {
            assert_eq!(
                one == other,
                of_one == of_other,
                "{one:#}\n{other:#}\n{of_one:#}\n{of_other:#}"
            );
        }
    }
    let distinct: BTreeSet<_> = templates.iter().map(|(one, _)| one.to_string()).collect();
    assert!(distinct.len() > 25 && distinct.len() < templates.len() - 5, "{}", distinct.len());
}

#[test]
fn the_number_of_servers_is_declared_only_where_nothing_scales_them() {
    if helm_is_missing() {
        return;
    }
    for (file, replicas) in [
        ("minimal", json!(1)),
        ("demo", json!(2)),
        ("fixed", json!(4)),
        ("drain-with-patience", json!(2)),
        ("scaling-by-connections", Value::Null),
        ("scaling-by-cpu", Value::Null),
        ("scaling-by-keda", Value::Null),
    ] {
        let objects = &rendered(file).chart;
        let scalers = objects.keys().filter(|name| {
            name.starts_with("HorizontalPodAutoscaler") || name.starts_with("ScaledObject")
        });
        assert_eq!(objects["Deployment chat"].value["spec"]["replicas"], replicas, "{file}");
        assert_eq!(scalers.count(), usize::from(replicas.is_null()), "{file}");
    }
}

#[test]
fn keda_scales_as_the_autoscaler_would() {
    if helm_is_missing() {
        return;
    }
    let release = rendered("scaling-by-keda");
    let autoscaler = &release.operator["HorizontalPodAutoscaler chat"].value;
    let scaled = &release.chart["ScaledObject chat"].value;
    let (hpa, keda) = (&autoscaler["spec"], &scaled["spec"]);
    assert_eq!(keda["scaleTargetRef"], hpa["scaleTargetRef"]);
    assert_eq!(keda["minReplicaCount"], hpa["minReplicas"]);
    assert_eq!(keda["maxReplicaCount"], hpa["maxReplicas"]);
    assert_eq!(keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"], hpa["behavior"]);
    let connections = &keda["triggers"][0];
    assert_eq!(connections["metricType"], hpa["metrics"][0]["pods"]["target"]["type"]);
    assert_eq!(
        connections["metadata"],
        json!({
            "serverAddress": "http://prometheus.monitoring.svc:9090",
            "query": r#"sum(rookery_connections{namespace="team",pod=~"chat-[a-z0-9]+-[a-z0-9]{5}"})"#,
            "threshold": "5000",
            "ignoreNullValues": "false",
            "authModes": "bearer",
        })
    );
    assert_eq!(connections["authenticationRef"]["kind"], "ClusterTriggerAuthentication");
    let cpu = &keda["triggers"][1];
    assert_eq!(cpu["metadata"], json!({ "value": "75", "containerName": "rookery" }));
    assert_eq!(keda["pollingInterval"], 30);
}

#[test]
fn objects_of_the_prometheus_operator_are_rendered_only_where_it_is() {
    if helm_is_missing() {
        return;
    }
    let release = Release::of("anonymous: true\n");
    let chart = release.standalone_without_prometheus();
    let rendered = Rendered { operator: release.by_operator_alone(), chart, release };
    rendered.assert_same();
}

#[test]
fn the_route_asks_for_session_persistence_where_the_cluster_has_the_field() {
    if helm_is_missing() {
        return;
    }
    let route = |release: &Release, kinds: &[&str]| {
        let objects = release.standalone_with(kinds);
        objects["HTTPRoute chat"].value["spec"]["rules"][0]["sessionPersistence"].clone()
    };
    let asked = json!({
        "sessionName": "rookery", "type": "Cookie", "cookieConfig": { "lifetimeType": "Session" },
    });
    let base = Release::of(
        "anonymous: true\nautoscaling: { enabled: false }\ngateway: { parentRefs: [{ name: a }] }\n",
    );
    let experimental = ["gateway.networking.x-k8s.io/v1alpha1"];
    assert_eq!(route(&base, &[]), Value::Null);
    assert_eq!(route(&base, &experimental), asked);
    assert_eq!(route(&base.with("gateway.sessionPersistence=true"), &[]), asked);
    assert_eq!(route(&base.with("gateway.sessionPersistence=false"), &experimental), Value::Null);
    assert_eq!(route(&base.with("gateway.sticky=false"), &experimental), Value::Null);
    let said = base.with("gateway.sessionPersistence=true").refused(false);
    assert!(said.contains("is only for rookery.standalone=true"), "{said}");
}

#[test]
fn nothing_is_outside_the_namespace() {
    if helm_is_missing() {
        return;
    }
    for rendered in FILES.iter() {
        for (name, object) in &rendered.chart {
            assert_eq!(
                object.value["metadata"]["namespace"], "team",
                "{:?}: {name}",
                rendered.release
            );
        }
    }
}

fn rendered(name: &str) -> &'static Rendered {
    FILES.iter().find(|rendered| rendered.release.name() == name).unwrap()
}

#[test]
fn the_hook_checks_the_configuration_that_the_servers_get() {
    if helm_is_missing() {
        return;
    }
    for rendered in FILES.iter() {
        let text = |name: &str| rendered.chart[name].value["data"]["rookery.yaml"].clone();
        let checked = text("ConfigMap chat-check");
        // Files of Secrets are in the cluster only.
        if checked.as_str().unwrap().contains("/etc/") {
            continue;
        }
        let (code, said) = release::check(checked.as_str().unwrap());
        assert_eq!(code, Some(0), "{:?}: {said}", rendered.release);
        if rendered.operator["Deployment chat"].value.to_string().contains("ROOKERY_REDIS") {
            continue;
        }
        assert_eq!(checked, text("ConfigMap chat"), "{:?}", rendered.release);
    }
}

#[test]
fn every_configuration_has_a_check_of_its_own() {
    if helm_is_missing() {
        return;
    }
    let job = |release: &Release| {
        let objects = release.standalone();
        let mut jobs = objects.into_iter().filter(|(name, _)| name.starts_with("Job "));
        let (name, object) = jobs.next().unwrap();
        (name, object.value["spec"].clone())
    };
    let base = Release::of("anonymous: true\n");
    let first = job(&base);
    assert_eq!(first, job(&base.with("monitoring.interval=1m")));
    for change in ["config.limits.queue=1000", "image.tag=next", "podTemplate.nodeSelector.a=b"] {
        assert_ne!(first.0, job(&base.with(change)).0, "{change}");
    }
    let without = base.with("check.enabled=false").standalone();
    assert!(!without.keys().any(|name| name.contains("check")), "{:?}", without.keys());
}
