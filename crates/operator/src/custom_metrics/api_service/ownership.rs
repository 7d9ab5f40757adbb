//! Whose the group is.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::ResourceExt as _;

use super::object::NAME;
use crate::custom_metrics::object_names::ObjectNames;
use crate::custom_metrics::serving::Serving;
use crate::names;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Action<'a> {
    /// Nothing: it is there, ours, and as it should be.
    UpToDate(&'a APIService),
    /// There is none of the group.
    Create,
    /// Ours differs from what it should be.
    Update(&'a APIService),
    /// Another serves a version of the group: autoscalers follow one version only, so it must be
    /// one owner's alone.
    Yield {
        /// The other's service, `namespace/name`, or what it is called if it has none.
        service: String,
        /// Ours, which is to go.
        ours: Option<&'a APIService>,
    },
}

/// Judges the group's APIServices. The rule knows no order of arrival: whoever else wants the
/// group has it, since taking it from them would break autoscalers that are not ours to break.
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

/// Whether this operator made it: it has the label, and leads to our Service, or to one that does
/// not exist (what an earlier installation in another namespace has left).
pub fn is_ours(found: &APIService, names: &ObjectNames) -> bool {
    let label = found.labels().get(names::MANAGED_BY);
    let service = found.spec.as_ref().and_then(|spec| spec.service.as_ref());
    let leads_here = service.is_some_and(|service| {
        service.namespace.as_deref() == Some(names.namespace.as_str())
            && service.name.as_deref() == Some(names.service.as_str())
    });
    label.is_some_and(|label| label == names::MANAGER)
        && (leads_here || reason(found) == Some("ServiceNotFound"))
}

/// How long the API server may take to get through, after the APIService was made or a replica
/// was replaced, before anybody is told.
const GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(15);

/// How the API server gets on with ours.
pub fn availability(ours: &APIService, now: Timestamp) -> Serving {
    let Some(condition) = available(ours).filter(|condition| condition.status == "False") else {
        return Serving::Ours;
    };
    let since = condition.last_transition_time.as_ref().map(|since| now.duration_since(since.0));
    if since.is_some_and(|since| since < GRACE_PERIOD) {
        return Serving::Off { reason: "the API server has not got through yet".to_owned() };
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
    fn a_free_group_is_claimed_and_kept_in_step() {
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
    fn any_version_of_another_owner_is_left_alone_and_ours_goes() {
        let other = of("v1beta1.custom.metrics.k8s.io", "v1beta1", "adapter");
        let all = seen([other.clone()]);
        let service = "system/adapter".to_owned();
        let verdict = Action::Yield { service: service.clone(), ours: None };
        assert_eq!(next_action(&all, &wanted(), &names()), verdict);
        let all = seen([other, wanted()]);
        let verdict = Action::Yield { service, ours: Some(&all[NAME]) };
        assert_eq!(next_action(&all, &wanted(), &names()), verdict);
    }

    #[test]
    fn ours_taken_over_by_another_is_not_taken_back() {
        let mut taken = of(NAME, "v1beta2", "adapter");
        taken.metadata.labels = wanted().metadata.labels;
        let all = seen([taken.clone()]);
        let verdict = Action::Yield { service: "system/adapter".into(), ours: None };
        assert_eq!(next_action(&all, &wanted(), &names()), verdict);
        let all = seen([of(NAME, "v1beta2", "rookery-operator")]);
        assert!(matches!(next_action(&all, &wanted(), &names()), Action::Yield { ours: None, .. }));
    }

    #[test]
    fn what_an_earlier_installation_left_is_taken_over() {
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
    fn an_api_server_that_cannot_get_here_is_told_of() {
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
