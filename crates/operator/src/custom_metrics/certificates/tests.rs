use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

fn names() -> Vec<String> {
    vec!["rookery-operator.system.svc".into()]
}

fn start() -> Timestamp {
    "2026-03-04T05:06:07Z".parse().unwrap()
}

fn days(n: u32) -> Duration {
    DAY * n
}

fn made(now: Timestamp) -> CertificateSet {
    renew(None, &names(), now).unwrap().unwrap()
}

/// What is due, taken over.
fn next(set: &CertificateSet, now: Timestamp) -> CertificateSet {
    renew(Some(set), &names(), now).unwrap().unwrap()
}

fn is_due(set: &CertificateSet, now: Timestamp) -> bool {
    renew(Some(set), &names(), now).unwrap().is_some()
}

/// Whether a client that trusts `bundle` takes the kit's certificate for the Service's.
fn trusts(bundle: &str, set: &CertificateSet, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = std::sync::Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let serving = CertificateDer::from_pem_slice(set.serving.certificate.as_bytes()).unwrap();
    let name = ServerName::try_from("rookery-operator.system.svc").unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second() as u64));
    verifier.verify_server_cert(&serving, &[], &name, &[], now).is_ok()
}

#[test]
fn a_first_kit_is_trusted_by_its_own_bundle_and_no_other() {
    let set = made(start());
    assert!(trusts(&set.ca_bundle, &set, start()));
    assert!(trusts(&set.ca_bundle, &set, start() + days(89)));
    assert!(!trusts(&set.ca_bundle, &set, start() + days(91)));
    assert!(!trusts(&made(start()).ca_bundle, &set, start()));
    assert!(!is_due(&set, start()));
}

#[test]
fn the_served_certificate_is_renewed_after_two_thirds_of_its_life() {
    let set = made(start());
    assert!(!is_due(&set, start() + days(59)));
    let now = start() + days(61);
    let renewed = next(&set, now);
    assert_ne!(renewed.serving, set.serving);
    assert_eq!((&renewed.signing_ca, &renewed.ca_bundle), (&set.signing_ca, &set.ca_bundle));
    assert!(trusts(&set.ca_bundle, &renewed, now + days(89)));
    assert!(!is_due(&renewed, now));
}

#[test]
fn changed_dns_names_renew_the_certificate_at_once() {
    let set = made(start());
    let renewed = renew(Some(&set), &["other.system.svc".into()], start()).unwrap().unwrap();
    assert_eq!(renewed.signing_ca, set.signing_ca);
    assert!(!trusts(&renewed.ca_bundle, &renewed, start()));
}

#[test]
fn an_authority_is_replaced_in_two_steps_and_every_bundle_of_the_day_fits() {
    let old = next(&made(start()), start() + days(486));
    assert_eq!(old.next, None);
    let now = start() + days(487);
    let overlap = next(&old, now);
    assert!(overlap.next.is_some());
    assert_eq!(overlap.signing_ca, old.signing_ca);
    assert_eq!(overlap.serving, old.serving);
    assert!(trusts(&overlap.ca_bundle, &old, now));
    assert!(!is_due(&overlap, now + 23 * HOUR));

    let now = now + days(1);
    let new = next(&overlap, now);
    assert_eq!(Some(&new.signing_ca), overlap.next.as_ref());
    assert_eq!(new.next, None);
    assert_ne!(new.serving, overlap.serving);
    assert!(trusts(&overlap.ca_bundle, &new, now));
    assert!(trusts(&new.ca_bundle, &overlap, now), "the other replica may still serve the old one");
    assert!(!trusts(&old.ca_bundle, &new, now));

    let now = start() + days(731);
    let cleaned = next(&new, now);
    assert_eq!(cleaned.ca_bundle.matches("BEGIN").count(), 1);
    assert!(trusts(&cleaned.ca_bundle, &cleaned, now));
}

#[test]
fn a_damaged_or_expired_set_is_replaced() {
    let set = made(start());
    let expired = start() + days(730);
    let fresh = next(&set, expired);
    assert_ne!(fresh.signing_ca, set.signing_ca);
    assert!(trusts(&fresh.ca_bundle, &fresh, expired));
    let damage: [fn(&mut CertificateSet); 4] = [
        |set| set.signing_ca.key = "nonsense".into(),
        |set| set.signing_ca.certificate.clear(),
        |set| set.ca_bundle.clear(),
        |set| set.serving.certificate = "nonsense".into(),
    ];
    for damage in damage {
        let mut damaged = set.clone();
        damage(&mut damaged);
        let fresh = next(&damaged, start());
        assert!(trusts(&fresh.ca_bundle, &fresh, start()));
    }
}

#[test]
fn debug_output_contains_no_private_key() {
    let set = made(start());
    let shown = format!("{set:?}");
    assert!(shown.contains("BEGIN CERTIFICATE") && !shown.contains("PRIVATE KEY"));
}
