//! The chart of the operator.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{
    charts, golden, helm, helm_is_missing, objects, rookery, root, sorted, succeeded, template_of,
    tests,
};

const CHART: &str = "rookery-operator";

/// What `helm template` renders, in the namespace `rookery`.
fn rendered(release: &str, sets: &[&str]) -> Vec<Value> {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let arguments: Vec<_> = ["--namespace", "rookery"].into_iter().chain(sets).collect();
    objects(&succeeded(&template_of(CHART, release, &arguments)))
}

/// Kind, namespace and name of objects.
fn names(objects: &[Value]) -> BTreeSet<String> {
    let name = |object: &Value| {
        let (kind, meta) = (&object["kind"], &object["metadata"]);
        format!("{kind} {} {}", meta["namespace"], meta["name"])
    };
    objects.iter().map(name).collect()
}

fn find<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let mut found = objects.iter().filter(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.next().unwrap_or_else(|| panic!("no {kind} {name} in {:?}", names(objects)))
}

#[test]
fn the_crd_file_matches_the_crd_command() {
    golden(&charts(CHART).join("files/rookeries.rookery.dev.yaml"), &rookery(&["crd"]));
}

#[test]
fn the_crd_is_rendered_as_the_crd_command_prints_it_and_kept_at_an_uninstall() {
    if helm_is_missing() {
        return;
    }
    let objects = rendered("rookery-operator", &[]);
    let mut found = find(&objects, "CustomResourceDefinition", "rookeries.rookery.dev").clone();
    assert_eq!(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    let meta = found["metadata"].as_object_mut().unwrap();
    meta.retain(|key, _| key == "name");
    let mut printed: Value = serde_saphyr::from_str(&rookery(&["crd"])).unwrap();
    // Helm writes 1.0 as 1.
    for crd in [&mut found, &mut printed] {
        reals(crd);
    }
    assert!(found == printed, "the chart changes the CRD");
}

/// Makes all numbers floating-point numbers.
fn reals(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.as_f64().into(),
        Value::Array(all) => all.iter_mut().for_each(reals),
        Value::Object(map) => map.values_mut().for_each(reals),
        _ => {}
    }
}

#[test]
fn templates_render_the_golden_files() {
    if helm_is_missing() {
        return;
    }
    for values in sorted(&tests("operator/values")) {
        let name = values.file_stem().unwrap().to_str().unwrap();
        // The CRD is compared with the command that prints it, and is in the plain manifest.
        let arguments = ["--namespace", "rookery", "--set", "crd.enabled=false", "--values"];
        let arguments = [&arguments[..], &[values.to_str().unwrap()]].concat();
        let out = template_of(CHART, "rookery-operator", &arguments);
        golden(&tests("operator/golden").join(format!("{name}.yaml")), &succeeded(&out));
    }
}

#[test]
fn the_plain_manifest_is_the_rendered_chart() {
    if helm_is_missing() {
        return;
    }
    let out = template_of(CHART, "rookery-operator", &["--namespace", "rookery"]);
    golden(&root().join("manifests/operator.yaml"), &succeeded(&out));
}

#[test]
fn helm_lint_passes() {
    if helm_is_missing() {
        return;
    }
    for values in sorted(&tests("operator/values")) {
        let mut lint = helm(&["lint", "--strict"]);
        let out = lint.arg(charts(CHART)).arg("--values").arg(&values).output().unwrap();
        let said = succeeded(&out);
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
}

#[test]
fn misspelt_and_empty_values_are_rejected() {
    if helm_is_missing() {
        return;
    }
    for (set, says) in [
        ("watchNamespace={a}", "watchNamespace"),
        ("networkPolicy.enable=true", "enable"),
        ("replicas=0", "replicas"),
        ("allow.image={a}", "image"),
        // A list with one empty string.
        ("allow.images={}", "images"),
        ("metricsApi.enable=false", "enable"),
        ("kedaScaler.enabled=maybe", "enabled"),
        ("operator.replicas=3", "operator"),
        ("rookery.enabled=false", "rookery"),
        ("image.digest=sha256:1", "digest"),
        ("networkPolicy.dnsPorts={dns}", "dnsPorts"),
        ("networkPolicy.dnsPorts={0}", "dnsPorts"),
        ("networkPolicy=null", "`networkPolicy` is empty"),
        ("metricsApi=null", "`metricsApi` is empty"),
    ] {
        let out = template_of(CHART, "rookery-operator", &["--set", set]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{set} was taken");
        assert!(said.contains(says), "{set}: no `{says}` in\n{said}");
    }
}

#[test]
fn the_network_policy_opens_the_ports_of_dns_and_of_the_api_server_that_the_values_name() {
    if helm_is_missing() {
        return;
    }
    let egress = |sets: &[&str]| {
        let objects = rendered("rookery-operator", sets);
        let policy = find(&objects, "NetworkPolicy", "rookery-operator");
        let rules = policy["spec"]["egress"].as_array().unwrap().clone();
        let ports = rules.iter().filter(|rule| rule["to"].is_null()).map(|rule| {
            let ports = rule["ports"].as_array().unwrap().iter();
            ports.map(|one| format!("{} {}", one["protocol"], one["port"])).collect::<Vec<_>>()
        });
        ports.collect::<Vec<_>>()
    };
    let dns = |port: u16| [format!("\"UDP\" {port}"), format!("\"TCP\" {port}")];
    let api_server = ["\"TCP\" 443", "\"TCP\" 6443"].map(str::to_owned);
    assert_eq!(egress(&[]), [api_server.to_vec(), dns(53).to_vec()]);
    let both = [dns(53), dns(5353)].concat();
    let sets = ["networkPolicy.dnsPorts={53,5353}", "networkPolicy.apiServerPorts={8443}"];
    assert_eq!(egress(&sets), [vec!["\"TCP\" 8443".to_owned()], both]);
}

#[test]
fn a_second_operator_has_other_names_in_the_cluster() {
    if helm_is_missing() {
        return;
    }
    let first = names(&rendered("rookery-operator", &["watchNamespaces={a,b}"]));
    let sets = ["watchNamespaces={c}", "crd.enabled=false", "metricsApi.enabled=false"];
    for release in ["canary", "rookery-operator-canary"] {
        let second = names(&rendered(release, &sets));
        assert_eq!(first.intersection(&second).collect::<Vec<_>>(), Vec::<&String>::new());
    }
    let objects = rendered("canary", &sets);
    let deployment = find(&objects, "Deployment", "canary-rookery-operator");
    let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    // The Lease has the name of the Deployment.
    assert!(
        env.as_array()
            .unwrap()
            .contains(&json!({ "name": "ROOKERY_DEPLOYMENT", "value": "canary-rookery-operator" }))
    );
    let role = find(&objects, "Role", "canary-rookery-operator");
    assert!(role["rules"].to_string().contains(r#"["canary-rookery-operator"]"#));
}

#[test]
fn without_the_metrics_api_the_operator_has_no_right_to_it() {
    if helm_is_missing() {
        return;
    }
    let objects = rendered("rookery-operator", &["metricsApi.enabled=false"]);
    for object in objects.iter().filter(|o| o["kind"].as_str().unwrap().contains("Role")) {
        let text = object.to_string();
        for right in ["apiservices", "subjectaccessreviews", "secrets", "kube-system"] {
            assert!(!text.contains(right), "{right} in {object:#}");
        }
    }
    let ports = &find(&objects, "Service", "rookery-operator")["spec"]["ports"];
    assert_eq!(ports.as_array().unwrap().len(), 1, "{ports}");
}

/// A cluster with the operator of a release in the namespace `first`.
fn cluster(release: &str, name: &str, annotations: Value) -> Cluster {
    let mut notes = json!({
        "meta.helm.sh/release-name": release,
        "meta.helm.sh/release-namespace": "first",
    });
    notes.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
    let role = json!({ "metadata": { "name": name, "annotations": notes } });
    Cluster::with(vec![json!({ "metadata": { "name": "edit" } }), role], vec![])
}

/// What Helm says of the release `two`; nothing, if it accepts it.
fn said_of_two(cluster: &Cluster, sets: &[&str]) -> String {
    let mut template = helm(&["template", "two", "--dry-run=server", "--namespace", "second"]);
    template.arg(charts(CHART)).args(["--kube-version", super::KUBERNETES]);
    template.args(sets.iter().flat_map(|set| ["--set", set]));
    let out = cluster.give_to(&mut template).output().unwrap();
    match out.status.success() {
        true => String::new(),
        false => String::from_utf8(out.stderr).unwrap(),
    }
}

#[test]
fn a_second_operator_that_overlaps_with_the_first_is_refused() {
    if helm_is_missing() {
        return;
    }
    let named = "from the release \"one\" in the namespace \"first\"";
    let alone = "metricsApi.enabled=false";
    for (watched, metrics_api, sets, says) in [
        ("", "true", vec![], Some("that watches all namespaces")),
        ("", "false", vec!["watchNamespaces={c}"], Some("that watches all namespaces")),
        ("a,b", "true", vec![], Some("that watches a, b: set watchNamespaces")),
        ("a,b", "true", vec!["watchNamespaces={c,b}", alone], Some("that watches b too")),
        ("a,b", "true", vec!["watchNamespaces={c}"], Some("set metricsApi.enabled=false")),
        ("a,b", "false", vec!["watchNamespaces={c}"], None),
        ("a,b", "true", vec!["watchNamespaces={c}", alone], None),
    ] {
        let annotations = json!({
            "rookery.dev/watch-namespaces": watched,
            "rookery.dev/metrics-api": metrics_api,
        });
        let cluster = cluster("one", "one-rookery-operator", annotations);
        let said = said_of_two(&cluster, &sets);
        match says {
            Some(says) => {
                assert!(said.contains(named) && said.contains(says), "{sets:?}: {said}");
            }
            None => assert_eq!(said, "", "{watched:?} {sets:?}"),
        }
    }
}

#[test]
fn a_second_operator_with_the_name_of_the_first_is_refused() {
    if helm_is_missing() {
        return;
    }
    let annotations = json!({ "rookery.dev/watch-namespaces": "a" });
    let cluster = cluster("one", "two-rookery-operator", annotations);
    let said = said_of_two(&cluster, &["watchNamespaces={c}"]);
    assert!(said.contains("choose another name for the release"), "{said}");
}

#[test]
fn the_operator_of_the_chart_that_had_both_is_seen_too() {
    if helm_is_missing() {
        return;
    }
    let annotations = json!({ "rookery.dev/watch-namespaces": "" });
    let said = said_of_two(&cluster("chat", "rookery-operator", annotations), &[]);
    assert!(said.contains("from the release \"chat\" in the namespace \"first\""), "{said}");
}

/// What Helm says of an upgrade of the service `chat` in the namespace `team`.
fn upgraded(cluster: &Cluster, sets: &str) -> std::process::Output {
    let mut template = helm(&["template", "chat", "--dry-run=server", "--is-upgrade"]);
    template.arg(charts("rookery")).args(["--namespace", "team", "--set", sets]);
    template.args(["--kube-version", super::KUBERNETES]);
    cluster.give_to(&mut template).output().unwrap()
}

#[test]
fn a_service_asks_the_cluster_for_nothing_outside_its_namespace() {
    if helm_is_missing() {
        return;
    }
    let cluster = Cluster::with(vec![], vec![]);
    succeeded(&upgraded(&cluster, "anonymous=true"));
    let asked = cluster.asked();
    assert!(asked.iter().any(|path| path.contains("/namespaces/team/")), "{asked:?}");
    for path in asked {
        let discovery = path == "/version" || path.split('/').count() <= 4;
        assert!(discovery || path.contains("/namespaces/team/"), "{path}");
    }
}

#[test]
fn an_upgrade_that_would_remove_the_operator_is_refused_unless_the_values_say_so() {
    if helm_is_missing() {
        return;
    }
    let operator = |release: &str| {
        let annotations = json!({ "meta.helm.sh/release-name": release });
        json!({ "metadata": {
            "name": "rookery-operator", "namespace": "team", "annotations": annotations,
        } })
    };
    let own = Cluster::with(vec![], vec![operator("chat")]);
    let out = upgraded(&own, "anonymous=true");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("set operator.enabled=false"), "{said}");
    succeeded(&upgraded(&own, "anonymous=true,operator.enabled=false"));
    // That of another release stays.
    let other = Cluster::with(vec![], vec![operator("rookery-operator")]);
    succeeded(&upgraded(&other, "anonymous=true"));
}
