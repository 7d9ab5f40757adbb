//! Decides who owns the metrics group. Pure.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::ResourceExt as _;

use super::object::NAME;
use crate::custom_metrics::object_names::ObjectNames;
use crate::custom_metrics::serving::Serving;
use crate::names;

/// What to do about the APIService.
#[derive(Debug, PartialEq)]
pub enum Action<'a> {
    /// Nothing: it exists, is ours and matches.
    UpToDate(&'a APIService),
    /// Create it: the group has no APIService.
    Create,
    /// Update ours, which differs from the desired one.
    Update(&'a APIService),
    /// Leave the group to another server. Autoscalers use a single version, so all versions must
    /// have the same owner.
    Yield {
        /// The Service of the other server, `namespace/name`, or the name of its APIService if it
        /// has none.
        service: String,
        /// Our APIService, which must be deleted.
        ours: Option<&'a APIService>,
    },
}

/// Decides from the APIServices of the group. The order in which they appeared does not matter: any
/// other server wins, because taking the group from it would break its autoscalers.
pub fn next_action<'a>(
    seen: &'a BTreeMap<String, APIService>,
    desired: &APIService,
    names: &ObjectNames,
) -> Action<'a> {
    let ours = seen.get(NAME).filter(|found| is_ours(found, names));
    let other = seen.values().find(|found| found.name_any() != NAME || ours.is_none());
    match (other, ours) {
        (Some(other), ours) => Action::Yield { service: service(other), ours },
        (None, None) => Action::Create,
        (None, Some(ours)) if is_up_to_date(ours, desired) => Action::UpToDate(ours),
        (None, Some(ours)) => Action::Update(ours),
    }
}

/// Whether this operator created it: it has our label, and routes to our Service, or to one that
/// does not exist (left by an earlier installation in another namespace).
pub fn is_ours(found: &APIService, names: &ObjectNames) -> bool {
    let label = found.labels().get(names::MANAGED_BY);
    let service = found.spec.as_ref().and_then(|spec| spec.service.as_ref());
    let routes_here = service.is_some_and(|service| {
        service.namespace.as_deref() == Some(names.namespace.as_str())
            && service.name.as_deref() == Some(names.service.as_str())
    });
    label.is_some_and(|label| label == names::MANAGER)
        && (routes_here || reason(found) == Some("ServiceNotFound"))
}

/// How long the API server may fail to reach this operator, after the APIService was created or a
/// replica replaced, before it is reported.
const GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(15);

/// Whether the API server can reach our APIService.
pub fn availability(ours: &APIService, now: Timestamp) -> Serving {
    let Some(condition) = available(ours).filter(|condition| condition.status == "False") else {
        return Serving::Ours;
    };
    let since = condition.last_transition_time.as_ref().map(|since| now.duration_since(since.0));
    if since.is_some_and(|since| since < GRACE_PERIOD) {
        return Serving::Off { reason: "the API server has not connected yet".to_owned() };
    }
    Serving::Unreachable { message: condition.message.clone().unwrap_or_default() }
}

fn reason(found: &APIService) -> Option<&str> {
    available(found)?.reason.as_deref()
}

fn available(
    found: &APIService,
) -> Option<&k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIServiceCondition> {
    let conditions = found.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Available")
}

fn is_up_to_date(ours: &APIService, desired: &APIService) -> bool {
    let labels = desired.labels();
    ours.spec == desired.spec
        && ours.owner_references() == desired.owner_references()
        && labels.iter().all(|(key, value)| ours.labels().get(key) == Some(value))
}

fn service(found: &APIService) -> String {
    let service = found.spec.as_ref().and_then(|spec| spec.service.as_ref());
    let name = service.and_then(|service| {
        Some(format!("{}/{}", service.namespace.as_ref()?, service.name.as_ref()?))
    });
    name.unwrap_or_else(|| format!("APIService {}", found.name_any()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::json;

    use super::super::object::desired;
    use super::*;

    fn names() -> ObjectNames {
        ObjectNames {
            namespace: "system".into(),
            service: "rookery-operator".into(),
            deployment: "rookery-operator".into(),
            cluster_role: "rookery-operator".into(),
        }
    }

    fn wanted() -> APIService {
        desired(&names(), OwnerReference::default(), "bundle".into())
    }

    fn of(name: &str, version: &str, service: &str) -> APIService {
        let mut found = wanted();
        found.metadata.name = Some(name.into());
        found.metadata.labels = None;
        let spec = found.spec.as_mut().unwrap();
        spec.version = Some(version.into());
        spec.service.as_mut().unwrap().name = Some(service.into());
        found
    }

    fn seen(all: impl IntoIterator<Item = APIService>) -> BTreeMap<String, APIService> {
        all.into_iter().map(|found| (found.name_any(), found)).collect()
    }

    #[test]
    fn a_free_group_is_claimed_and_kept_up_to_date() {
        assert_eq!(next_action(&seen([]), &wanted(), &names()), Action::Create);
        assert_eq!(
            next_action(&seen([wanted()]), &wanted(), &names()),
            Action::UpToDate(&wanted())
        );
        let mut edited = wanted();
        edited.spec.as_mut().unwrap().group_priority_minimum = 7;
        let all = seen([edited.clone()]);
        assert_eq!(next_action(&all, &wanted(), &names()), Action::Update(&edited));
        let rotated = desired(&names(), OwnerReference::default(), "other bundle".into());
        let all = seen([wanted()]);
        assert_eq!(next_action(&all, &rotated, &names()), Action::Update(&wanted()));
    }

    #[test]
    fn any_version_of_another_owner_is_left_alone_and_ours_is_deleted() {
        let other = of("v1beta1.custom.metrics.k8s.io", "v1beta1", "adapter");
        let all = seen([other.clone()]);
        let service = "system/adapter".to_owned();
        let action = Action::Yield { service: service.clone(), ours: None };
        assert_eq!(next_action(&all, &wanted(), &names()), action);
        let all = seen([other, wanted()]);
        let action = Action::Yield { service, ours: Some(&all[NAME]) };
        assert_eq!(next_action(&all, &wanted(), &names()), action);
    }

    #[test]
    fn an_apiservice_taken_over_by_another_is_not_taken_back() {
        let mut taken = of(NAME, "v1beta2", "adapter");
        taken.metadata.labels = wanted().metadata.labels;
        let all = seen([taken.clone()]);
        let action = Action::Yield { service: "system/adapter".into(), ours: None };
        assert_eq!(next_action(&all, &wanted(), &names()), action);
        let all = seen([of(NAME, "v1beta2", "rookery-operator")]);
        assert!(matches!(next_action(&all, &wanted(), &names()), Action::Yield { ours: None, .. }));
    }

    #[test]
    fn an_apiservice_of_an_earlier_installation_is_taken_over() {
        let mut left = wanted();
        left.spec.as_mut().unwrap().service.as_mut().unwrap().namespace = Some("old".into());
        let conditions = json!([{
            "type": "Available", "status": "False", "reason": "ServiceNotFound",
        }]);
        left.status = Some(serde_json::from_value(json!({"conditions": conditions})).unwrap());
        let all = seen([left.clone()]);
        assert_eq!(next_action(&all, &wanted(), &names()), Action::Update(&left));
    }

    #[test]
    fn an_unreachable_apiservice_is_reported_after_a_grace_period() {
        let mut ours = wanted();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(availability(&ours, at(0)), Serving::Ours);
        let conditions = json!([{
            "type": "Available", "status": "False", "message": "timeout",
            "lastTransitionTime": "1970-01-01T00:00:10Z",
        }]);
        ours.status = Some(serde_json::from_value(json!({"conditions": conditions})).unwrap());
        assert!(matches!(availability(&ours, at(20)), Serving::Off { .. }), "it may take a while");
        let told = Serving::Unreachable { message: "timeout".into() };
        assert_eq!(availability(&ours, at(30)), told);
    }
}
