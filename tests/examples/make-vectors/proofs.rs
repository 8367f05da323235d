//! Owns the lies about who sealed and when: signatures, keys, trust folders and timestamps; refuses to touch the evidence.

use chrono::TimeDelta;
use holdfast_schemas::report::Verdict;
use holdfast_schemas::seal::{Role, SEAL_MEMBER, signature_member, timestamp_member};
use holdfast_schemas::sshsig::NAMESPACE_SEAL;
use holdfast_schemas::time::UtcTime;
use holdfast_tests::forge::{Hands, Member, Package, public_key, sign, stranger, token};

use crate::workshop::{Lie, Workshop};

pub(crate) fn lies(workshop: &Workshop) -> Vec<Lie> {
    [signatures(workshop), strangers(workshop), trust(workshop), timestamps(workshop)]
        .into_iter()
        .flatten()
        .collect()
}

fn edited(workshop: &Workshop, edit: impl FnOnce(&mut Package)) -> Vec<u8> {
    let mut package = workshop.base();
    edit(&mut package);
    package.write().bytes
}

fn signatures(workshop: &Workshop) -> Vec<Lie> {
    let examiner = signature_member(Role::Examiner);
    let collector = signature_member(Role::Collector);
    let statement = workshop.base().member(SEAL_MEMBER).content().to_vec();
    let replaced = |signature: &[u8]| edited(workshop, |package| package.member(&examiner).write(signature));
    let elsewhere = workshop.other().member(&examiner).content().to_vec();
    let mut unannounced = workshop.base();
    unannounced.seal(&Hands { examiner: None, ..workshop.insider() }, |_| {});
    let sealed = unannounced.member(SEAL_MEMBER).content().to_vec();
    let mut extra = unannounced.member(&collector).clone();
    extra.name.clone_from(&examiner);
    extra.write(sign(&workshop.examiner(), NAMESPACE_SEAL, &sealed).as_bytes());
    let at = unannounced.position(&collector) + 1;
    unannounced.members.insert(at, extra);
    vec![
        Lie::new("examiner_signature_removed", "Took out the examiner's signature that the seal announces.")
            .package(edited(workshop, |package| drop(package.remove(&examiner))))
            .fails(&["signer.signature_absent"])
            .without(&["signer.trusted", "signer.no_examiner"]),
        Lie::new("collector_signature_removed", "Took out the signature by the collection's one-time key.")
            .package(edited(workshop, |package| drop(package.remove(&collector))))
            .fails(&["signer.signature_absent", "container.member_order"])
            .without(&["signer.unchanged_since_sealing"]),
        Lie::new(
            "signature_that_nobody_announced",
            "Added an examiner's signature to a seal that announces none.",
        )
        .package(unannounced.write().bytes)
        .fails(&["container.member_order", "signer.no_examiner"])
        .without(&["signer.trusted"]),
        Lie::new("examiner_signature_by_a_stranger", "Replaced the examiner's signature by a stranger's.")
            .package(replaced(sign(&stranger(2), NAMESPACE_SEAL, &statement).as_bytes()))
            .fails(&["signer.signature_differs"]),
        Lie::new(
            "signature_over_another_statement",
            "Replaced the examiner's signature by the one under another package.",
        )
        .package(replaced(&elsewhere))
        .fails(&["signer.signature_differs"]),
        Lie::new(
            "signature_for_another_namespace",
            "Got the examiner to sign the statement as an ordinary file.",
        )
        .package(replaced(sign(&workshop.examiner(), "file", &statement).as_bytes()))
        .fails(&["signer.signature_malformed"]),
        Lie::new(
            "signature_written_in_another_way",
            "Wrote the examiner's signature with other line ends, which ssh-keygen reads just the same.",
        )
        .package(edited(workshop, |package| {
            package.member(&examiner).edit_text(|text| text.replace('\n', "\r\n"));
        }))
        .fails(&["signer.signature_malformed"]),
        Lie::new("signature_bit_changed", "Changed one character of the one-time key's signature.")
            .package(edited(workshop, |package| {
                package.member(&collector).edit_text(|text| {
                    // The last characters before the padding and the footer are of the signature itself.
                    let (body, footer) = text.split_once("\n-----END").unwrap();
                    let at = body.trim_end_matches('=').len() - 8;
                    let other = if &body[at..=at] == "A" { "B" } else { "A" };
                    format!("{}{other}{}\n-----END{footer}", &body[..at], &body[at + 1..])
                });
            }))
            .fails(&["signer.signature_differs"])
            .without(&["signer.unchanged_since_sealing", "time.token_trusted"]),
    ]
}

fn strangers(workshop: &Workshop) -> Vec<Lie> {
    let collected_anew = |hands: &Hands<'_>| {
        edited(workshop, |package| {
            package.members[0].edit_text(|text| text.replace("127", "128"));
            package.mend_records();
            package.mend_manifests();
            package.seal(hands, |_| {});
        })
    };
    vec![
        Lie::new("resealed_by_a_stranger", "Changed a collected file, made everything fit and sealed the whole anew with keys of their own.")
            .package(collected_anew(&workshop.outsider()))
            .expect(Verdict::CannotDetermine, &["signer.unknown_key"])
            .without(&["signer.trusted"]),
        Lie::new("resealed_without_an_examiner", "Changed a collected file, made everything fit and sealed the whole anew with a one-time key alone.")
            .package(collected_anew(&Hands { examiner: None, ..workshop.outsider() }))
            .expect(Verdict::CannotDetermine, &["signer.no_examiner"])
            .without(&["signer.trusted"]),
    ]
}

fn trust(workshop: &Workshop) -> Vec<Lie> {
    let package = || workshop.base().write().bytes;
    let revoked = format!("{} stolen\n", public_key(&workshop.examiner()).to_openssh());
    let without_token = edited(workshop, |package| drop(package.remove(&timestamp_member(1))));
    let unproven: Vec<_> = ["signer.key_outside_validity", "time.token_absent"]
        .into_iter()
        .chain(workshop.unsynchronised())
        .collect();
    vec![
        Lie::new("key_revoked", "Sealed with a stolen key that the organisation has revoked.")
            .package(package())
            .trust(workshop.trust_with("revoked_keys", Some(revoked.into_bytes())))
            .fails(&["signer.revoked_key"])
            .without(&["signer.trusted"]),
        Lie::new("key_expired_when_sealed", "Sealed with a key after its last day, as the timestamp proves.")
            .package(package())
            .trust(workshop.trust_with_options("valid-before=\"20200101Z\""))
            .fails(&["signer.key_outside_validity"])
            .without(&["signer.trusted"]),
        Lie::new(
            "key_not_yet_valid_when_sealed",
            "Sealed with a key before its first day, as the timestamp proves.",
        )
        .package(package())
        .trust(workshop.trust_with_options("valid-after=\"20900101Z\""))
        .fails(&["signer.key_outside_validity"])
        .without(&["signer.trusted"]),
        Lie::new(
            "key_expired_and_token_removed",
            "Took the timestamp out, so that nothing proves that an expired key sealed too late.",
        )
        .package(without_token)
        .trust(workshop.trust_with_options("valid-before=\"20200101Z\""))
        .expect(Verdict::CannotDetermine, &unproven)
        .without(&["signer.trusted"]),
        Lie::new("key_not_for_seals", "Sealed with a key that is listed for custody entries alone.")
            .package(package())
            .trust(workshop.trust_with_options("namespaces=\"holdfast-custody-v1\""))
            .fails(&["signer.key_not_for_seals"])
            .without(&["signer.trusted"]),
        Lie::new("allowed_signers_damaged", "Damaged a line of the trust folder's list of keys.")
            .package(package())
            .trust(
                workshop
                    .trust_with("allowed_signers", Some(b"examiner@example.gov ssh-ed25519 AAAA\n".to_vec())),
            )
            .expect(Verdict::CannotDetermine, &["signer.trust_malformed", "signer.unknown_key"])
            .without(&["signer.trusted"]),
        Lie::new(
            "revocations_damaged",
            "Damaged the trust folder's list of revoked keys, so that nothing is revoked.",
        )
        .package(package())
        .trust(workshop.trust_with("revoked_keys", Some(b"ssh-ed25519 AAAA stolen\n".to_vec())))
        .expect(Verdict::CannotDetermine, &["signer.trust_malformed"]),
    ]
}

fn timestamps(workshop: &Workshop) -> Vec<Lie> {
    let first = timestamp_member(1);
    let doubtful = |code: &'static str| -> Vec<&'static str> {
        [code].into_iter().chain(workshop.unsynchronised()).collect()
    };
    let signature = workshop.base().member(&signature_member(Role::Collector)).content().to_vec();
    let replaced = |token: &[u8]| edited(workshop, |package| package.member(&first).write(token));
    let real = workshop.base().member(&first).content().to_vec();
    let mut flipped = real.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut backdated = workshop.base();
    backdated.seal(&workshop.insider(), |statement| {
        statement.sealed_at = UtcTime::from(statement.sealed_at.to_chrono() - TimeDelta::days(1));
    });
    vec![
        Lie::new(
            "token_for_other_data",
            "Put in a timestamp that the organisation's authority made for something else.",
        )
        .package(replaced(&workshop.agency_token(b"something else")))
        .fails(&doubtful("time.token_other_data"))
        .without(&["time.token_trusted"]),
        Lie::new("token_of_another_package", "Put in the timestamp of another package.")
            .package(replaced(workshop.other().member(&first).content()))
            .fails(&doubtful("time.token_other_data"))
            .without(&["time.token_trusted"]),
        Lie::new("token_of_an_unpinned_authority", "Put in a timestamp by an authority of their own.")
            .package(replaced(&token(&workshop.stranger, &signature)))
            .expect(Verdict::VerifiedWithExceptions, &doubtful("time.authority_unpinned"))
            .without(&["time.token_trusted"]),
        Lie::new("token_bit_changed", "Changed one bit of the timestamp's signature.")
            .package(replaced(&flipped))
            .fails(&doubtful("time.token_broken"))
            .without(&["time.token_trusted"]),
        Lie::new(
            "token_with_words_around_it",
            "Put a status text around the timestamp that nothing protects.",
        )
        .package(replaced(&with_status_text(&real)))
        .fails(&doubtful("time.token_broken"))
        .without(&["time.token_trusted"]),
        Lie::new("token_removed", "Took the timestamp out that the seal says was asked for.")
            .package(edited(workshop, |package| drop(package.remove(&first))))
            .expect(Verdict::VerifiedWithExceptions, &doubtful("time.token_absent"))
            .without(&["time.token_trusted"]),
        Lie::new("token_misnumbered", "Numbered the only timestamp 2.")
            .package(edited(workshop, |package| package.member(&first).name = timestamp_member(2)))
            .fails(&[&["container.member_order"], &doubtful("time.token_absent")[..]].concat()),
        Lie::new("token_of_a_stranger_added", "Added a second timestamp by an authority of their own.")
            .package(edited(workshop, |package| {
                let time = package.member(&first).modified;
                let added = token(&workshop.stranger, &signature);
                package.members.push(Member::new(
                    &timestamp_member(2),
                    time,
                    holdfast_schemas::container::Method::Stored,
                    &added,
                ));
            }))
            .expect(Verdict::VerifiedWithExceptions, &["time.authority_unpinned"]),
        Lie::new("no_list_of_authorities", "Took the list of authorities out of the trust folder.")
            .package(workshop.base().write().bytes)
            .trust(workshop.trust_with("tsa-roots.pem", None))
            .expect(Verdict::VerifiedWithExceptions, &doubtful("time.no_roots"))
            .without(&["time.token_trusted"]),
        Lie::new(
            "sealing_backdated",
            "Held the examiner's key and stated a time of sealing one day before the timestamp.",
        )
        .package(backdated.write().bytes)
        .expect(Verdict::VerifiedWithExceptions, &["time.clock_differs"]),
    ]
}

/// The response with a PKIFreeText beside its status (RFC 3161 2.4.2).
fn with_status_text(stored: &[u8]) -> Vec<u8> {
    // SEQUENCE { SEQUENCE { INTEGER 0 } token }, of which the outer length takes two bytes.
    assert_eq!((stored[0], stored[1], &stored[4..9]), (0x30, 0x82, &[0x30, 3, 2, 1, 0][..]));
    let text = [0x30, 4, 0x0c, 2, b'o', b'k'];
    let rest = [&[0x30, 9, 2, 1, 0], &text[..], &stored[9..]].concat();
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&[0x30, 0x82], &length[..], &rest].concat()
}
