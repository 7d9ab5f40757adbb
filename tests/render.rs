//! `rookery render` and `rookery crd` print the files under `manifests/`, so that a change of the
//! output shows in review. `UPDATE_GOLDEN=1` updates the files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs the binary in `manifests/`, without a default image in its environment.
fn rookery(args: &[&str], stdin: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(args)
        .env_remove("ROOKERY_IMAGE")
        .current_dir(manifests())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut input = child.stdin.take().expect("it has a stdin");
    // Whether it is read is the test's matter.
    let _ = std::io::Write::write_all(&mut input, stdin.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    Run {
        code: output.status.code().expect("no signal ended it"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Compares the output of `args` with the file.
#[track_caller]
fn same(file: &str, args: &[&str]) {
    let run = rookery(args, "");
    assert_eq!(run.code, 0, "{}", run.err);
    let path = manifests().join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &run.out).expect("it can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == run.out,
        "manifests/{file} is not what `rookery {}` prints; UPDATE_GOLDEN=1 cargo test --test \
         render writes it anew, for you to review",
        args.join(" ")
    );
}

#[test]
fn the_crd_file_is_up_to_date() {
    same("crd.yaml", &["crd"]);
}

#[test]
fn the_rendered_examples_are_up_to_date() {
    let examples = std::fs::read_dir(manifests().join("examples")).expect("it is there");
    let mut names: Vec<String> = examples
        .map(|entry| entry.expect("it can be listed").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    for name in &names {
        let example = format!("examples/{name}");
        let mut args = vec!["render", &example];
        // One of them for a cluster with the Prometheus operator.
        if name == "haproxy.yaml" {
            args.push("--monitoring");
        }
        same(&format!("rendered/{name}"), &args);
    }
    let kept = std::fs::read_dir(manifests().join("rendered")).expect("it is there").count();
    assert_eq!(kept, names.len(), "a file under rendered/ has no example any more");
}

#[test]
fn render_reads_stdin_and_takes_the_image_as_a_flag() {
    let resource = std::fs::read_to_string(manifests().join("examples/minimal.yaml")).unwrap();
    let run = rookery(&["render", "-", "--image", "example.com/r:1"], &resource);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("image: example.com/r:1\n"), "{}", run.out);
    assert!(!run.out.contains("monitoring.coreos.com"), "{}", run.out);
}

#[test]
fn a_resource_exported_from_a_cluster_renders_without_owner_references() {
    let resource = r#"{
        "apiVersion": "rookery.dev/v1alpha1", "kind": "Rookery",
        "metadata": {
            "name": "chat", "namespace": "team", "uid": "3f1c", "generation": 2,
            "resourceVersion": "7", "creationTimestamp": "2026-11-24T15:00:00Z",
            "managedFields": [{
                "apiVersion": "rookery.dev/v1alpha1", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:spec": { "f:config": {} } }, "manager": "kubectl",
                "operation": "Apply", "time": "2026-11-24T15:00:00Z"
            }]
        },
        "spec": { "config": { "auth": { "anonymous": true } } },
        "status": { "ready": "1/1", "conditions": [{ "type": "Available" }] }
    }"#;
    let run = rookery(&["render", "-"], resource);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("namespace: team\n"), "{}", run.out);
    for cluster in ["ownerReferences", "3f1c", "managedFields", "resourceVersion"] {
        assert!(!run.out.contains(cluster), "{cluster} in {}", run.out);
    }
}

#[test]
fn an_invalid_resource_is_reported_with_its_line_and_exits_with_2() {
    for (resource, said) in [
        (
            "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: {}\n",
            &[
                "stdin:1: `apiVersion` is `v1`; expected rookery.dev/v1alpha1",
                "stdin:2: `kind` is `Pod`; expected Rookery",
            ][..],
        ),
        (
            "apiVersion: rookery.dev/v1alpha1\nkind: Rookery\nmetadata: { name: a }\n\
             spec:\n  replica: { min: 2 }\n",
            &["stdin:5: `spec.replica` is not a known key; did you mean `spec.replicas`?"],
        ),
        (
            "apiVersion: rookery.dev/v1alpha1\nkind: Rookery\nmetadata: { name: a }\n\
             spec:\n  config:\n    auth: { anonymous: true }\n    limits:\n      queue: 0\n\
             \x20     conections: 1\n",
            &["stdin:9: `spec.config.limits.conections` is not a known key; did you mean \
               `limits.connections`?"],
        ),
        (
            "apiVersion: rookery.dev/v1alpha1\nkind: Rookery\nmetadata: { name: a, nmae: b }\n\
             spec:\n  podTemplate:\n    labels: {}\n    tolerations:\n    - efect: x\n",
            &[
                "stdin:3: `metadata.nmae` is not a known key",
                "stdin:8: `spec.podTemplate.tolerations[0].efect` is not a known key",
            ],
        ),
        (
            "apiVersion: rookery.dev/v1alpha1\nkind: Rookery\nmetadata: { name: a }\n\
             spec:\n  config:\n    limits:\n      queue: 0\n",
            &[
                "stdin:7: `spec.config.limits.queue` must be more than 0 bytes",
                "stdin:5: `spec.config.auth` does not say who may connect",
            ],
        ),
    ] {
        let run = rookery(&["render", "-"], resource);
        assert_eq!(run.code, 2, "{}", run.err);
        assert_eq!(run.err.lines().count(), said.len(), "{}", run.err);
        for line in said {
            assert!(run.err.contains(line), "{line} in\n{}", run.err);
        }
        assert_eq!(run.out, "");
    }
    assert_eq!(rookery(&["render", "nowhere.yaml"], "").code, 2);
}
