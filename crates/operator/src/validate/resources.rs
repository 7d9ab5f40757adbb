//! Rules for `spec.resources`.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::problem::Problems;

/// The suffixes of a quantity and what they stand for (Kubernetes API reference, `Quantity`).
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// Checks what the cluster would refuse in every pod, or what no server can start with.
pub(super) fn check(resources: &ResourceRequirements, problems: &mut Problems) {
    for (part, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        let memory = amounts.as_ref().and_then(|amounts| amounts.get("memory"));
        problems.add_if(
            memory.is_some_and(|memory| memory.0.ends_with('m')),
            &format!("spec.resources.{part}"),
            "has memory in thousandths of a byte (`m`); write M or Mi",
        );
    }
    let (Some(requests), Some(limits)) = (&resources.requests, &resources.limits) else { return };
    for (name, request) in requests {
        let Some(limit) = limits.get(name) else { continue };
        if let (Some(wanted), Some(most)) = (number(request), number(limit))
            && wanted > most
        {
            problems.add(
                format!("spec.resources.requests.{name}"),
                format_args!(
                    "is {}, which is above the limit ({}); write at most that",
                    request.0, limit.0
                ),
            );
        }
    }
}

/// The number that a quantity stands for; `None` if it is malformed.
fn number(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.as_str();
    let suffix =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (digits, factor) = suffix.unwrap_or((text, 1.0));
    digits.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_a_number_with_a_suffix() {
        for (text, wanted) in [
            ("2", 2.0),
            ("500m", 0.5),
            ("1Ki", 1024.0),
            ("1.5G", 1.5e9),
            ("1e3", 1000.0),
            ("2E", 2e18),
        ] {
            assert_eq!(number(&Quantity(text.to_owned())), Some(wanted), "{text}");
        }
        assert_eq!(number(&Quantity("128MB".to_owned())), None);
    }
}
