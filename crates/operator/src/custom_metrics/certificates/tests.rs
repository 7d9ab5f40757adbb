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

fn made(now: Timestamp) -> Kit {
    renewed(None, &names(), now).unwrap().unwrap()
}

/// What is due, taken over.
fn next(kit: &Kit, now: Timestamp) -> Kit {
    renewed(Some(kit), &names(), now).unwrap().unwrap()
}

fn is_due(kit: &Kit, now: Timestamp) -> bool {
    renewed(Some(kit), &names(), now).unwrap().is_some()
}

/// Whether a client that trusts `bundle` takes the kit's certificate for the Service's.
fn trusts(bundle: &str, kit: &Kit, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = std::sync::Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let served = CertificateDer::from_pem_slice(kit.served.certificate.as_bytes()).unwrap();
    let name = ServerName::try_from("rookery-operator.system.svc").unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second() as u64));
    verifier.verify_server_cert(&served, &[], &name, &[], now).is_ok()
}

#[test]
fn a_first_kit_is_trusted_by_its_own_bundle_and_no_other() {
    let kit = made(start());
    assert!(trusts(&kit.trusted, &kit, start()));
    assert!(trusts(&kit.trusted, &kit, start() + days(89)));
    assert!(!trusts(&kit.trusted, &kit, start() + days(91)));
    assert!(!trusts(&made(start()).trusted, &kit, start()));
    assert!(!is_due(&kit, start()));
}

#[test]
fn the_served_certificate_is_renewed_after_two_thirds_of_its_life() {
    let kit = made(start());
    assert!(!is_due(&kit, start() + days(59)));
    let now = start() + days(61);
    let renewed = next(&kit, now);
    assert_ne!(renewed.served, kit.served);
    assert_eq!((&renewed.signer, &renewed.trusted), (&kit.signer, &kit.trusted));
    assert!(trusts(&kit.trusted, &renewed, now + days(89)));
    assert!(!is_due(&renewed, now));
}

#[test]
fn other_names_need_another_certificate_at_once() {
    let kit = made(start());
    let renewed = renewed(Some(&kit), &["other.system.svc".into()], start()).unwrap().unwrap();
    assert_eq!(renewed.signer, kit.signer);
    assert!(!trusts(&renewed.trusted, &renewed, start()));
}

#[test]
fn an_authority_is_replaced_in_two_steps_and_every_bundle_of_the_day_fits() {
    let old = next(&made(start()), start() + days(486));
    assert_eq!(old.next, None);
    let now = start() + days(487);
    let overlap = next(&old, now);
    assert!(overlap.next.is_some());
    assert_eq!(overlap.signer, old.signer);
    assert_eq!(overlap.served, old.served);
    assert!(trusts(&overlap.trusted, &old, now));
    assert!(!is_due(&overlap, now + 23 * HOUR));

    let now = now + days(1);
    let new = next(&overlap, now);
    assert_eq!(Some(&new.signer), overlap.next.as_ref());
    assert_eq!(new.next, None);
    assert_ne!(new.served, overlap.served);
    assert!(trusts(&overlap.trusted, &new, now));
    assert!(trusts(&new.trusted, &overlap, now), "the other replica may still serve the old one");
    assert!(!trusts(&old.trusted, &new, now));

    let now = start() + days(731);
    let cleaned = next(&new, now);
    assert_eq!(cleaned.trusted.matches("BEGIN").count(), 1);
    assert!(trusts(&cleaned.trusted, &cleaned, now));
}

#[test]
fn what_is_damaged_or_expired_is_made_anew() {
    let kit = made(start());
    let expired = start() + days(730);
    let fresh = next(&kit, expired);
    assert_ne!(fresh.signer, kit.signer);
    assert!(trusts(&fresh.trusted, &fresh, expired));
    let damage: [fn(&mut Kit); 4] = [
        |kit| kit.signer.key = "nonsense".into(),
        |kit| kit.signer.certificate.clear(),
        |kit| kit.trusted.clear(),
        |kit| kit.served.certificate = "nonsense".into(),
    ];
    for damage in damage {
        let mut damaged = kit.clone();
        damage(&mut damaged);
        let fresh = next(&damaged, start());
        assert!(trusts(&fresh.trusted, &fresh, start()));
    }
}

#[test]
fn keys_are_not_shown() {
    let kit = made(start());
    let shown = format!("{kit:?}");
    assert!(shown.contains("BEGIN CERTIFICATE") && !shown.contains("PRIVATE KEY"));
}
