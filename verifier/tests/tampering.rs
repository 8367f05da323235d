//! Owns the lies: packages that were cut, bent or sealed falsely, each with the codes it must bring; refuses lies without
//! a code. Those told to the real agent's packages are in `/tests`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use holdfast_schemas::container::Method;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::report::{Axis, Verdict};
use holdfast_schemas::seal::{SEAL_MEMBER, SealStatement};
use holdfast_verifier::Trust;
use support::{Judged, Member, Story, allowed, archive, codes, deflate, key, report, trust};

/// The best judge there is: with one, a green verdict would be possible.
fn with_trust(package: &[u8], trust: &Trust) -> holdfast_schemas::report::Report {
    Judged { trust: Some(trust), ..Judged::default() }.report(package)
}

#[test]
fn a_package_cut_off_anywhere_is_never_verified() {
    let trust = trust(&allowed(&key(2), ""));
    let package = Story::small().package();
    assert_eq!(with_trust(&package, &trust).headline, Verdict::VerifiedWithExceptions);
    for cut in 0..package.len() {
        let report = with_trust(&package[..cut], &trust);
        let expected = if cut < 4 { "container.not_a_package" } else { "container.cut_off" };
        assert_eq!(codes(&report, Axis::Integrity), [expected], "cut at {cut}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let trust = trust(&allowed(&key(2), ""));
    let package = Story::of(&[("/etc/hosts", b"127.0.0.1 localhost\n")]).package();
    let bits: Vec<usize> = (0..package.len() * 8).collect();
    std::thread::scope(|scope| {
        for bits in bits.chunks(bits.len().div_ceil(2)) {
            let (package, trust) = (&package, &trust);
            scope.spawn(move || {
                let mut flipped = package.clone();
                for bit in bits {
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    let report = with_trust(&flipped, trust);
                    let told = matches!(report.headline, Verdict::Failed | Verdict::CannotDetermine);
                    assert!(told, "bit {bit} of {}: {}", package.len() * 8, report.headline);
                    flipped[bit / 8] ^= 1 << (bit % 8);
                }
            });
        }
    });
}

#[test]
fn every_flipped_bit_of_the_ledger_is_found() {
    let story = Story::small();
    let package = story.package();
    let mut ledger = story.ledger(&package);
    for bit in (0..ledger.len() * 8).step_by(if cfg!(debug_assertions) { 5 } else { 1 }) {
        ledger[bit / 8] ^= 1 << (bit % 8);
        let report = Judged { ledger: Some(&ledger), ..Judged::default() }.report(&package);
        assert_eq!(report.headline, Verdict::Failed, "bit {bit}");
        ledger[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn data_in_front_and_behind_are_told_apart() {
    let package = Story::small().package();
    let far = vec![b'x'; 3 << 20];
    for (bytes, code) in [
        ([b"x", &package[..]].concat(), "container.leading_data"),
        ([&package[..], b"x"].concat(), "container.trailing_data"),
        ([&package[..], &far].concat(), "container.trailing_data"),
        ([&package[..], &package[..]].concat(), "container.trailing_data"),
        (far.clone(), "container.not_a_package"),
        (Vec::new(), "container.not_a_package"),
    ] {
        assert_eq!(codes(&report(&bytes), Axis::Integrity), [code], "{} bytes", bytes.len());
    }
}

#[test]
fn an_archive_inside_a_cut_off_package_does_not_hide_the_cut() {
    let inner = Story::small().package();
    let noise: Vec<u8> =
        (0..900u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11).to_le_bytes()[0]).collect();
    let mut members = Story::small().members();
    // A stored block keeps the inner end record in sight.
    let content = [&inner[..], &noise].concat();
    let length = u16::try_from(content.len()).unwrap();
    let stored = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), &content].concat();
    members.insert(0, Member { stream: Some(stored), ..Member::deflated("data/fs/a.zip", content) });
    let package = archive(&members);
    let cut = &package[..inner.len() + 500];
    assert_eq!(codes(&report(cut), Axis::Integrity), ["container.cut_off"]);
}

/// A package whose members were changed by `lie` and that was sealed afterwards.
fn sealed_after(lie: impl FnOnce(&mut Vec<Member>)) -> Vec<u8> {
    let story = Story::small();
    let mut members = story.members();
    lie(&mut members);
    story.seal(&mut members, |_| {});
    archive(&members)
}

/// A package whose members were changed by `lie` after it was sealed.
fn after_sealing(lie: impl FnOnce(&mut Vec<Member>)) -> Vec<u8> {
    let mut members = Story::small().sealed();
    lie(&mut members);
    archive(&members)
}

/// A package whose statement lies and is signed.
fn false_statement(lie: impl FnOnce(&mut SealStatement)) -> Vec<u8> {
    let story = Story::small();
    let mut members = story.members();
    story.seal(&mut members, lie);
    archive(&members)
}

#[track_caller]
fn assert_codes(package: &[u8], expected: &[&str]) {
    let report = report(package);
    assert_eq!(codes(&report, Axis::Integrity), expected);
    assert_eq!(report.headline, Verdict::Failed);
}

#[test]
fn changed_content_differs_from_manifest_record_and_seal() {
    let package = after_sealing(|members| members[0].content[0] ^= 1);
    assert_codes(
        &package,
        &["integrity.item_digest_differs", "integrity.record_differs", "integrity.prefix_differs"],
    );
}

#[test]
fn added_member_is_unlisted_and_unrecorded() {
    let package = sealed_after(|members| members.insert(2, Member::deflated("data/fs/etc/planted", "x")));
    assert_codes(&package, &["bag.member_unlisted", "integrity.record_absent", "integrity.counts_differ"]);
}

#[test]
fn removed_member_is_named() {
    let package = sealed_after(|members| drop(members.remove(0)));
    let expected =
        ["bag.listed_member_absent", "integrity.recorded_member_absent", "integrity.counts_differ"];
    assert_codes(&package, &expected);
    let found = report(&package);
    let absent = found.findings.iter().find(|finding| finding.code == expected[0]).unwrap();
    assert_eq!(absent.subject.as_deref(), Some("data/fs/etc/hosts"));
}

#[test]
fn names_that_meet_when_case_is_folded_are_duplicates() {
    for name in ["data/fs/etc/hosts", "data/fs/ETC/HOSTS", "data/fs/etc", "data/fs/etc/hosts/x"] {
        let package = sealed_after(|members| members.insert(2, Member::deflated(name, "x")));
        assert!(codes(&report(&package), Axis::Integrity).contains(&"container.name_duplicate"), "{name}");
    }
}

#[test]
fn names_that_no_writer_emits_are_forbidden() {
    for name in
        ["data/fs/../x", "data/fs/a\\b", "data/fs/nul", "data/fs//x", "data/fs/\u{e9}", "data/fs/a\u{1b}"]
    {
        let package = sealed_after(|members| members.insert(2, Member::deflated(name, "x")));
        assert!(codes(&report(&package), Axis::Integrity).contains(&"container.name_forbidden"), "{name:?}");
    }
}

#[test]
fn members_in_another_order_are_refused() {
    let package = sealed_after(|members| members.swap(2, 3));
    assert!(codes(&report(&package), Axis::Integrity).contains(&"container.member_order"));
    let package = after_sealing(|members| {
        let last = members.len() - 1;
        members.swap(last, last - 1);
    });
    assert_codes(&package, &["container.member_order"]);
}

#[test]
fn a_bomb_ends_at_its_stated_size() {
    let package = sealed_after(|members| {
        members[0].stream = Some(deflate(&vec![0; 64 << 20]));
    });
    let found = codes(&report(&package), Axis::Integrity).join(" ");
    assert!(found.starts_with("container.content_malformed"), "{found}");
}

#[test]
fn bytes_behind_a_deflate_stream_are_found() {
    let package = sealed_after(|members| {
        let mut stream = deflate(&members[0].content);
        stream.extend(b"hidden");
        members[0].stream = Some(stream);
    });
    assert!(codes(&report(&package), Axis::Integrity).contains(&"container.content_malformed"));
}

#[test]
fn evidence_kept_uncompressed_is_refused() {
    let package = sealed_after(|members| members[0].method = Method::Stored);
    assert_codes(&package, &["container.member_malformed"]);
}

#[test]
fn a_statement_that_lies_under_a_good_signature_is_found() {
    assert_codes(&false_statement(|statement| statement.prefix.bytes -= 1), &["integrity.prefix_differs"]);
    let other = Sha256Digest::of(b"other");
    assert_codes(
        &false_statement(|statement| statement.prefix.sha256 = other),
        &["integrity.prefix_differs"],
    );
    assert_codes(
        &false_statement(|statement| statement.items_root = other),
        &["integrity.items_root_differs"],
    );
    assert_codes(
        &false_statement(|statement| statement.tagmanifest_sha256 = other),
        &["integrity.tagmanifest_differs"],
    );
    assert_codes(&false_statement(|statement| statement.items += 1), &["integrity.counts_differ"]);
    assert_codes(&false_statement(|statement| statement.case = None), &["seal.identity_differs"]);
    assert_codes(&false_statement(|statement| statement.exercise = true), &["seal.identity_differs"]);
}

#[test]
fn an_unknown_version_leaves_the_question_open() {
    let package = false_statement(|statement| statement.format = "holdfast-seal/2".to_owned());
    let report = report(&package);
    assert_eq!(codes(&report, Axis::Integrity), ["format.version_unsupported"]);
    assert_eq!(report.headline, Verdict::CannotDetermine);
}

#[test]
fn a_missing_seal_and_a_missing_signature_are_told_apart() {
    let unsealed = archive(&Story::small().members());
    assert_codes(&unsealed, &["seal.absent"]);
    let unsigned = after_sealing(|members| members.truncate(members.len() - 1));
    let found = report(&unsigned);
    assert_eq!(codes(&found, Axis::Signer), ["signer.signature_absent", "signer.no_trust_folder"]);
}

#[test]
fn a_signature_by_another_key_or_over_another_seal_differs() {
    let trust = trust(&allowed(&key(2), ""));
    let mut stranger = Story { examiner: Some(key(7)), ..Story::small() }.sealed();
    let mut members = Story::small().sealed();
    let last = members.len() - 1;
    members[last] = stranger.remove(last);
    let found = with_trust(&archive(&members), &trust);
    assert_eq!(codes(&found, Axis::Signer), ["signer.signature_differs"]);
    let mut members = Story::small().sealed();
    let seal = members.iter_mut().find(|member| member.name == SEAL_MEMBER).unwrap();
    seal.content =
        String::from_utf8(seal.content.clone()).unwrap().replace("IR-2026-041", "IR-2026-042").into();
    let found = with_trust(&archive(&members), &trust);
    assert_eq!(codes(&found, Axis::Signer), ["signer.signature_differs"]);
    assert_eq!(codes(&found, Axis::Integrity), ["seal.identity_differs"]);
}

#[test]
fn a_ledger_of_another_package_and_a_cut_ledger_are_found() {
    let story = Story::small();
    let package = story.package();
    let other = Story { collector: key(5), ..Story::of(&[("/etc/motd", b"hi\n")]) };
    let found = |ledger: &[u8]| {
        let report = Judged { ledger: Some(ledger), ..Judged::default() }.report(&package);
        codes(&report, Axis::Custody).join(" ")
    };
    let foreign = found(&other.ledger(&other.package()));
    assert_eq!(foreign, "custody.other_package custody.signer_differs custody.package_differs");
    let ledger = story.ledger(&package);
    let second = ledger.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!(found(&ledger[..second]), "custody.first_events");
    assert!(found(&ledger[second..]).contains("custody.sequence_broken custody.other_package"));
    assert_eq!(found(&ledger[..ledger.len() - 1]), "custody.line_malformed custody.first_events");
}

#[test]
fn an_order_that_is_not_the_one_the_seal_names_is_found() {
    let story = Story::small();
    let with_order = |order: &str, named: &[u8]| {
        let mut story = Story::small();
        story.collection.authority.order_sha256 = Some(Sha256Digest::of(named));
        let mut members = story.members();
        let at = members.iter().position(|member| member.name == "bagit.txt").unwrap();
        let added = ["order.json", "order.json.sig"].map(|name| Member::deflated(name, order));
        let tags = members.iter_mut().find(|member| member.name == "tagmanifest-sha256.txt").unwrap();
        let text = String::from_utf8(tags.content.clone()).unwrap();
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let listed = added.each_ref().map(|member| {
            holdfast_schemas::bag::manifest_line(&Sha256Digest::of(&member.content), &member.name)
        });
        lines.splice(3..3, listed);
        tags.content = lines.concat().into();
        members.splice(at..at, added);
        story.seal(&mut members, |statement| {
            let sha256 = Sha256Digest::of(named);
            statement.order = Some(holdfast_schemas::seal::OrderReference { sha256, nonce: "n".into() });
        });
        archive(&members)
    };
    assert_eq!(codes(&report(&with_order("order", b"order")), Axis::Integrity), Vec::<&str>::new());
    assert_codes(&with_order("order", b"another"), &["seal.identity_differs"]);
    let mut members = story.members();
    story.seal(&mut members, |statement| {
        let sha256 = Sha256Digest::of(b"order");
        statement.order = Some(holdfast_schemas::seal::OrderReference { sha256, nonce: "n".into() });
    });
    assert_codes(&archive(&members), &["seal.identity_differs"]);
}

#[test]
fn words_from_evidence_stay_short_in_a_report() {
    let long = "z".repeat(900_000);
    let package = sealed_after(|members| {
        let items = members.iter_mut().find(|member| member.name == "items.jsonl").unwrap();
        let text = String::from_utf8(items.content.clone()).unwrap();
        items.content = text.replacen("{\"id\"", &format!("{{\"{long}\":0,\"id\""), 1).into();
    });
    let report = report(&package);
    assert_eq!(report.headline, Verdict::Failed);
    assert!(report.findings.iter().all(|finding| finding.found.len() < 10_000));
}
