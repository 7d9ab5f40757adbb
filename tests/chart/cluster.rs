//! An API server with ClusterRoles and Deployments, for what the charts look up.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const APPS: &str = "apps/v1";

/// It answers until the test's process ends.
pub struct Cluster {
    kubeconfig: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What it holds.
#[derive(Default)]
pub struct Objects {
    pub cluster_roles: Vec<Value>,
    pub deployments: Vec<Value>,
    pub config_maps: Vec<Value>,
}

impl Cluster {
    /// Starts one that holds these.
    pub fn with(cluster_roles: Vec<Value>, deployments: Vec<Value>) -> Self {
        Cluster::of(Objects { cluster_roles, deployments, ..Objects::default() })
    }

    /// Starts one that holds these objects.
    pub fn of(objects: Objects) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let objects = Arc::new(objects);
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (objects, log) = (Arc::clone(&objects), Arc::clone(&log));
                thread::spawn(move || serve(stream, &objects, &log));
            }
        });
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kubeconfig-{}-{number}", std::process::id());
        let kubeconfig = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": server } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": {} }],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Cluster { kubeconfig, asked }
    }

    /// Has a command talk to it.
    pub fn give_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("KUBECONFIG", &self.kubeconfig)
    }

    /// The paths that were requested.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

fn serve(stream: TcpStream, objects: &Objects, log: &Mutex<Vec<String>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        // The requests have no body.
        while lines.next().is_some_and(|header| !header.is_empty()) {}
        let path = request.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let body = objects.at(&path);
        log.lock().unwrap().push(path);
        let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
        let body = body.unwrap_or_else(not_found).to_string();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
        let sent = write!(writer, "{head}content-length: {}\r\n\r\n{body}", body.len());
        if sent.is_err() {
            return;
        }
    }
}

impl Objects {
    /// What a path has: discovery, the list of ClusterRoles, and each Deployment.
    fn at(&self, path: &str) -> Option<Value> {
        let found = match path {
            "/version" => json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.0" }),
            "/api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
            "/api/v1" => resources("v1", &[("configmaps", "ConfigMap", true)]),
            "/apis" => {
                let groups = [RBAC, APPS].map(group);
                json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
            }
            "/apis/rbac.authorization.k8s.io/v1" => {
                resources(RBAC, &[("clusterroles", "ClusterRole", false)])
            }
            "/apis/apps/v1" => resources(APPS, &[("deployments", "Deployment", true)]),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles" => {
                let mut items = self.cluster_roles.clone();
                items.iter_mut().for_each(|role| *role = typed(role, RBAC, "ClusterRole"));
                let meta = json!({ "resourceVersion": "1" });
                json!({ "apiVersion": RBAC, "kind": "ClusterRoleList", "metadata": meta, "items": items })
            }
            _ => {
                let find = |all: &[Value], version: &str, api: &str, kind: &str, plural: &str| {
                    let is_here = |one: &&Value| {
                        let meta = &one["metadata"];
                        let (namespace, name) = (meta["namespace"].as_str(), meta["name"].as_str());
                        let (namespace, name) = (namespace.unwrap(), name.unwrap());
                        path == format!("/{api}/namespaces/{namespace}/{plural}/{name}")
                    };
                    Some(typed(all.iter().find(is_here)?, version, kind))
                };
                find(&self.deployments, APPS, "apis/apps/v1", "Deployment", "deployments").or_else(
                    || find(&self.config_maps, "v1", "api/v1", "ConfigMap", "configmaps"),
                )?
            }
        };
        Some(found)
    }
}

fn typed(object: &Value, version: &str, kind: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = version.into();
    object["kind"] = kind.into();
    object
}

fn group(version: &str) -> Value {
    let (name, short) = version.split_once('/').unwrap();
    let version = json!({ "groupVersion": version, "version": short });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn resources(version: &str, all: &[(&str, &str, bool)]) -> Value {
    let resource = |(name, kind, namespaced): &(&str, &str, bool)| {
        json!({
            "name": name, "singularName": "", "kind": kind, "namespaced": namespaced,
            "verbs": ["get", "list"],
        })
    };
    let all: Vec<_> = all.iter().map(resource).collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all,
    })
}

fn not_found() -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
        "code": 404,
    })
}
