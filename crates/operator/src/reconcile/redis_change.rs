//! Whether a resource moves its running pods to another Redis. Pure.

use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use kube::core::DynamicObject;

use crate::build::redis_place;
use crate::names;

/// Why the desired Deployment cannot be applied: the pods that run are connected by another Redis than
/// the new ones would be, and the two would not hear each other while they are replaced. `None` where
/// that is not so, splits nothing, or is accepted.
pub(super) fn refused(
    resource: &ObjectMeta,
    there: Option<&DynamicObject>,
    desired: Option<&DynamicObject>,
) -> Option<String> {
    let accepted = resource.annotations.as_ref().and_then(|all| all.get(names::REDIS_CHANGE));
    if accepted.is_some_and(|value| value == names::ACCEPTED) {
        return None;
    }
    let there = there?;
    let pods = there.data.pointer("/status/replicas").and_then(|n| n.as_i64()).unwrap_or(0);
    let now = there.annotations().get(names::REDIS)?;
    let wanted = desired?.annotations().get(names::REDIS)?;
    (pods > 1 && !redis_place::is_same(now, wanted)).then(|| {
        format!(
            "the {pods} pods are connected by {now}, and would be replaced by pods connected by \
             {wanted}; until the last one is replaced, the two would not hear each other. Create a \
             second Rookery for the other Redis and move the host name, or accept the split with \
             the annotation {}: {}",
            names::REDIS_CHANGE,
            names::ACCEPTED
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(redis: &str, pods: u32) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "chat", "annotations": { (names::REDIS): redis } },
            "status": { "replicas": pods },
        }))
        .unwrap()
    }

    fn said(resource: &ObjectMeta, there: Option<&DynamicObject>, redis: &str) -> Option<String> {
        refused(resource, there, Some(&deployment(redis, 0)))
    }

    #[test]
    fn several_pods_are_not_moved_to_another_redis_unless_that_is_accepted() {
        let mut resource = ObjectMeta::default();
        let there = deployment("Redis at a:6379", 3);
        let why = said(&resource, Some(&there), "Redis at b:6379").unwrap();
        for part in ["3 pods", "a:6379", "b:6379", "rookery.dev/redis-change: accept"] {
            assert!(why.contains(part), "{why}");
        }
        let accept = (names::REDIS_CHANGE.to_owned(), names::ACCEPTED.to_owned());
        resource.annotations = Some([accept].into());
        assert_eq!(said(&resource, Some(&there), "Redis at b:6379"), None);
    }

    #[test]
    fn what_splits_nothing_is_applied() {
        let resource = ObjectMeta::default();
        let other = "Redis at b:6379";
        assert_eq!(said(&resource, None, other), None);
        assert_eq!(said(&resource, Some(&deployment("Redis at a:6379", 1)), other), None);
        assert_eq!(said(&resource, Some(&deployment(other, 3)), other), None);
        // Of an earlier version, it does not say where its Redis is.
        let mut old = deployment("", 3);
        old.annotations_mut().clear();
        assert_eq!(said(&resource, Some(&old), other), None);
    }
}
