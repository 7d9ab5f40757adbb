//! The servers that are inspected: of a Cluster, every primary, as each has rights of its own.

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, PushInfo, RedisError, RedisResult, ServerErrorKind};

use super::{ANSWER, Finding, Inspection, Severity};
use crate::backplane::connect::Connector;
use crate::backplane::connect::slot_map::Address;

/// Servers with connections to them; those of a Cluster with their addresses.
type Connections = Vec<(Option<Address>, MultiplexedConnection)>;

/// Connects to the server, or to all primaries of a Cluster; what cannot be reached there is a
/// finding.
///
/// # Errors
/// When no server can be reached.
pub(super) async fn connect(connector: &Connector) -> RedisResult<(Connections, Vec<Finding>)> {
    let ignore = |_: PushInfo| -> Result<(), redis::aio::SendError> { Ok(()) };
    let Some(cluster) = connector.cluster() else {
        let (connection, _) = connector.connect(Some(ANSWER), ignore).await?;
        return Ok((vec![(None, connection)], Vec::new()));
    };
    let map = cluster.first_map().await?;
    let (mut connections, mut findings) = (Connections::new(), Vec::new());
    let mut last = None;
    for node in map.primaries() {
        let to_node = Connector::to_node(cluster.clone(), node.clone());
        match to_node.connect(Some(ANSWER), ignore).await {
            Ok((connection, _)) => connections.push((Some(node.clone()), connection)),
            Err(error) => {
                let fix = to_node.advice(&error).unwrap_or(
                    "an instance must reach every primary of the Cluster at the address that \
                     CLUSTER SLOTS gives",
                );
                let text = format!("cannot connect to {error}: {fix}");
                findings.push(Finding { severity: Severity::Error, text });
                last = Some(error);
            }
        }
    }
    if let (true, Some(error)) = (connections.is_empty(), last) {
        return Err(error);
    }
    let uncovered = map.uncovered();
    if uncovered > 0 {
        let text = format!(
            "{uncovered} slots of the Cluster have no primary: `redis-cli --cluster fix HOST:PORT`"
        );
        findings.push(Finding { severity: Severity::Error, text });
    }
    Ok((connections, findings))
}

/// Whether a node of a Cluster says that another one is to be asked. It looks at rights first.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    let ErrorKind::Server(kind) = error.kind() else { return false };
    matches!(kind, ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot)
}

/// Joins what was found on each node: what all of them have in common is told once.
pub(super) fn merge(
    inspections: Vec<(Option<Address>, Inspection)>,
    mut findings: Vec<Finding>,
) -> Inspection {
    let version = inspections.first().and_then(|(_, inspection)| inspection.version.clone());
    for (node, inspection) in &inspections {
        for finding in &inspection.findings {
            let is_common = inspections.iter().all(|(_, other)| other.findings.contains(finding));
            let finding = match node.as_ref().filter(|_| !is_common) {
                Some(node) => {
                    Finding { text: format!("{node}: {}", finding.text), ..finding.clone() }
                }
                None => finding.clone(),
            };
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    Inspection { version, findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection(texts: &[&str]) -> Inspection {
        let findings = texts
            .iter()
            .map(|text| Finding { severity: Severity::Warning, text: (*text).to_owned() });
        Inspection { version: Some("7.0.15".to_owned()), findings: findings.collect() }
    }

    #[test]
    fn what_all_nodes_have_in_common_is_told_once() {
        let at = |port| Some(Address { host: "h".to_owned(), port });
        let of = vec![(at(1), inspection(&["common"])), (at(2), inspection(&["common", "own"]))];
        let merged = merge(of, Vec::new());
        let texts: Vec<_> = merged.findings.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(texts, ["common", "h:2: own"]);
        let single = merge(vec![(None, inspection(&["own"]))], Vec::new());
        assert_eq!(single, inspection(&["own"]));
    }
}
