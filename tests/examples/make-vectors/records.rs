//! Owns the lies about what was collected: records, manifests, bag texts, the sealed statement and drills; refuses
//! half-made lies: most are an insider's, who holds the examiner's key and makes everything else fit.

use holdfast_schemas::bag::TAG_MANIFEST;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{ItemRecord, Outcome};
use holdfast_schemas::report::Verdict;
use holdfast_schemas::seal::{SEAL_MEMBER, SealStatement};
use holdfast_tests::forge::Package;

use crate::workshop::{Lie, Workshop};

pub(crate) fn lies(workshop: &Workshop) -> Vec<Lie> {
    [
        manifests(workshop),
        items(workshop),
        statement(workshop),
        texts(workshop),
        drills(workshop),
        formats(workshop),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An insider's package: edited, then sealed anew with the examiner's key.
fn resealed(workshop: &Workshop, edit: impl FnOnce(&mut Package)) -> Vec<u8> {
    let mut package = workshop.base();
    edit(&mut package);
    package.seal(&workshop.insider(), |_| {});
    package.write().bytes
}

/// An insider's package whose sealed statement lies.
fn sealed_with(workshop: &Workshop, lie: impl FnOnce(&mut SealStatement)) -> Vec<u8> {
    let mut package = workshop.base();
    package.seal(&workshop.insider(), lie);
    package.write().bytes
}

fn forge_first(package: &mut Package) {
    package.members[0].edit_text(|text| text.replace("127", "128"));
}

/// The first record of a collected file.
fn first(items: &mut [ItemRecord]) -> &mut ItemRecord {
    items.iter_mut().find(|item| item.member.is_some()).unwrap()
}

fn manifests(workshop: &Workshop) -> Vec<Lie> {
    let edited = |edit: &dyn Fn(String) -> String| {
        resealed(workshop, |package| {
            package.member("manifest-sha256.txt").edit_text(edit);
            package.mend_tag_manifest();
        })
    };
    let mut up_to_tags = workshop.base();
    forge_first(&mut up_to_tags);
    up_to_tags.mend_manifests();
    let nothing = format!("{}  data/fs/tmp/holdfast-vectors/aaa\n", Sha256Digest::of(b"nothing"));
    vec![
        Lie::new("manifest_edited_up_to_the_tag_manifest", "Changed a collected file and made both manifests fit, up to the seal.")
            .package(up_to_tags.write().bytes)
            .fails(&["integrity.record_differs", "integrity.tagmanifest_differs", "integrity.prefix_differs"]),
        Lie::new("manifest_line_in_another_form", "Held the examiner's key and marked a line of the manifest as binary, which sha256sum reads just the same.")
            .package(edited(&|text| text.replacen("  ", " *", 1)))
            .fails(&["bag.manifest_malformed", "bag.member_unlisted"]),
        Lie::new("manifest_line_for_nothing", "Held the examiner's key and listed a file that was never there.")
            .package(edited(&|text| format!("{nothing}{text}")))
            .fails(&["bag.listed_member_absent"]),
        Lie::new("manifest_line_left_out", "Held the examiner's key and left a collected file out of the manifest.")
            .package(edited(&|text| text.split_once('\n').unwrap().1.to_owned()))
            .fails(&["bag.member_unlisted"]),
        Lie::new("manifest_with_another_digest", "Held the examiner's key and stated another digest for a collected file.")
            .package(edited(&|text| format!("{}{}", Sha256Digest::of(b"nothing"), &text[64..])))
            .fails(&["integrity.item_digest_differs"]),
        Lie::new("tag_manifest_left_as_it_was", "Held the examiner's key, edited the acquisition log and left the tag manifest as it was.")
            .package(resealed(workshop, |package| {
                package.member("actions.jsonl").edit_text(|text| text.replacen("\"ok\"", "\"okay\"", 1));
            }))
            .fails(&["integrity.tag_digest_differs"]),
        Lie::new("tag_manifest_line_left_out", "Held the examiner's key and left the acquisition log out of the tag manifest.")
            .package(resealed(workshop, |package| {
                package.member(TAG_MANIFEST).edit_text(|text| {
                    text.lines().filter(|line| !line.ends_with("actions.jsonl")).map(|line| format!("{line}\n")).collect()
                });
            }))
            .fails(&["bag.member_unlisted"]),
        Lie::new("tag_manifest_lines_reordered", "Held the examiner's key and put the lines of the tag manifest in another order.")
            .package(resealed(workshop, |package| {
                package.member(TAG_MANIFEST).edit_text(|text| text.lines().rev().map(|line| format!("{line}\n")).collect());
            }))
            .fails(&["bag.manifest_malformed"]),
    ]
}

fn items(workshop: &Workshop) -> Vec<Lie> {
    // Lines are edited as text where no record could hold the lie.
    let text_edited = |name: &'static str, edit: &dyn Fn(String) -> String| {
        resealed(workshop, |package| {
            package.member(name).edit_text(edit);
            package.mend_tag_manifest();
        })
    };
    let items_edited = |edit: &dyn Fn(&mut Package)| {
        resealed(workshop, |package| {
            edit(package);
            package.mend_counts();
            package.mend_bag_info();
            package.mend_tag_manifest();
        })
    };
    vec![
        Lie::new("record_with_another_digest", "Held the examiner's key and recorded another digest for a collected file.")
            .package(items_edited(&|package| package.edit_items(|items| first(items).sha256 = Some(Sha256Digest::of(b"nothing")))))
            .fails(&["integrity.record_differs"]),
        Lie::new("record_left_out", "Held the examiner's key and kept a collected file without a record of it.")
            .package(items_edited(&|package| {
                package.edit_items(|items| {
                    items.retain(|item| item.member.as_deref() != Some("data/fs/tmp/holdfast-vectors/etc/hosts"));
                    for (number, item) in (1..).zip(items) {
                        item.id = number;
                    }
                });
            }))
            .fails(&["integrity.record_absent"]),
        Lie::new("record_without_its_file", "Held the examiner's key and took a collected file out, but not the record of it.")
            .package(items_edited(&|package| {
                package.members.remove(0);
                package.mend_manifests();
            }))
            .fails(&["integrity.recorded_member_absent"]),
        Lie::new("record_contradicts_itself", "Held the examiner's key and recorded that reading ended before it began.")
            .package(items_edited(&|package| {
                package.edit_items(|items| {
                    let item = first(items);
                    std::mem::swap(&mut item.read_started, &mut item.read_finished);
                });
            }))
            .fails(&["record.inconsistent"]),
        Lie::new("record_of_a_refusal_with_content", "Held the examiner's key and recorded that a collected file had been denied.")
            .package(items_edited(&|package| package.edit_items(|items| first(items).outcome = Outcome::Denied)))
            .fails(&["record.inconsistent", "completeness.exceptions"]),
        Lie::new("items_renumbered", "Held the examiner's key and left a gap in the numbers of the records.")
            .package(items_edited(&|package| package.edit_items(|items| items.last_mut().unwrap().id += 1)))
            .fails(&["record.sequence_broken"]),
        Lie::new("duplicate_key_in_a_record", "Held the examiner's key and stated an outcome twice in one record, for readers that take the last of two.")
            .package(text_edited("items.jsonl", &|text| {
                text.replacen("\"outcome\":\"collected\"", "\"outcome\":\"denied\",\"outcome\":\"collected\"", 1)
            }))
            .fails(&["record.malformed", "integrity.record_absent", "completeness.unread"]),
        Lie::new("record_with_an_unknown_field", "Held the examiner's key and added a field to a record that only some readers know.")
            .package(text_edited("items.jsonl", &|text| text.replacen("{\"id\":3,", "{\"id\":3,\"note\":\"x\",", 1)))
            .fails(&["record.malformed", "integrity.record_absent", "completeness.unread"]),
        Lie::new("last_record_cut_off", "Held the examiner's key and left the last newline of the records off.")
            .package(text_edited("items.jsonl", &|text| text.trim_end().to_owned()))
            .fails(&["record.malformed", "integrity.record_absent", "completeness.unread"]),
        Lie::new("action_left_out", "Held the examiner's key and took a line out of the acquisition log.")
            .package(text_edited("actions.jsonl", &|text| {
                text.lines().enumerate().filter(|(number, _)| *number != 1).map(|(_, line)| format!("{line}\n")).collect()
            }))
            .fails(&["record.sequence_broken"]),
        Lie::new("action_that_no_agent_takes", "Held the examiner's key and logged an action that does not exist.")
            .package(text_edited("actions.jsonl", &|text| text.replacen("\"start\"", "\"wipe\"", 1)))
            .fails(&["record.malformed"]),
        Lie::new("counts_of_the_collection_understated", "Held the examiner's key and counted one collected file less in the collection's record.")
            .package(resealed(workshop, |package| {
                package.edit_collection(|collection| collection.counts[0].collected -= 1);
                package.mend_tag_manifest();
            }))
            .fails(&["integrity.counts_differ"]),
        Lie::new("clock_that_ran_backwards", "Held the examiner's key and recorded an end of the collection before its beginning.")
            .package(resealed(workshop, |package| {
                package.edit_collection(|collection| collection.clock.end.monotonic_ns = 1);
                package.mend_tag_manifest();
            }))
            .fails(&["record.inconsistent"]),
    ]
}

fn statement(workshop: &Workshop) -> Vec<Lie> {
    let other = Sha256Digest::of(b"nothing");
    let mut up_to_the_seal = workshop.base();
    forge_first(&mut up_to_the_seal);
    up_to_the_seal.mend_records();
    up_to_the_seal.mend_manifests();
    up_to_the_seal.mend_statement();
    let mut foreign = workshop.base();
    foreign.members.retain(|member| !member.name.starts_with("seal/"));
    foreign
        .members
        .extend(workshop.other().members.into_iter().filter(|member| member.name.starts_with("seal/")));
    let mut unsealed = workshop.base();
    unsealed.members.retain(|member| !member.name.starts_with("seal/"));
    let mut beheaded = workshop.base();
    beheaded.remove(SEAL_MEMBER);
    vec![
        Lie::new("records_edited_up_to_the_seal", "Changed a collected file and made everything fit, the sealed statement included, but could not sign it.")
            .package(up_to_the_seal.write().bytes)
            .fails(&["signer.signature_differs"])
            .without(&["signer.unchanged_since_sealing", "signer.trusted", "signer.no_examiner", "time.token_trusted"]),
        Lie::new("seal_of_another_package", "Put the seal of another package by the same examiner on this one.")
            .package(foreign.write().bytes)
            .fails(&[
                "bag.info_differs",
                "integrity.tagmanifest_differs",
                "integrity.prefix_differs",
                "integrity.items_root_differs",
                "integrity.counts_differ",
                "seal.identity_differs",
            ]),
        Lie::new("prefix_digest_wrong", "Held the examiner's key and sealed another digest of the evidence.")
            .package(sealed_with(workshop, |statement| statement.prefix.sha256 = other))
            .fails(&["integrity.prefix_differs"]),
        Lie::new("prefix_length_wrong", "Held the examiner's key and sealed fewer bytes than there are.")
            .package(sealed_with(workshop, |statement| statement.prefix.bytes -= 1))
            .fails(&["integrity.prefix_differs"]),
        Lie::new("tag_manifest_digest_wrong", "Held the examiner's key and sealed another digest of the tag manifest.")
            .package(sealed_with(workshop, |statement| statement.tagmanifest_sha256 = other))
            .fails(&["integrity.tagmanifest_differs"]),
        Lie::new("items_root_wrong", "Held the examiner's key and sealed another root of the item records.")
            .package(sealed_with(workshop, |statement| statement.items_root = other))
            .fails(&["integrity.items_root_differs"]),
        Lie::new("counts_of_the_seal_wrong", "Held the examiner's key and sealed one record more than there are.")
            .package(sealed_with(workshop, |statement| statement.items += 1))
            .fails(&["integrity.counts_differ"]),
        Lie::new("case_of_the_seal_differs", "Held the examiner's key and sealed the evidence under another case.")
            .package(sealed_with(workshop, |statement| statement.case = Some("IR-2026-042".to_owned())))
            .fails(&["seal.identity_differs"]),
        Lie::new("package_unsealed", "Took the seal off.").package(unsealed.write().bytes).fails(&["seal.absent"]),
        Lie::new("statement_removed", "Took the sealed statement out and left its signatures.")
            .package(beheaded.write().bytes)
            .fails(&["seal.absent", "container.member_order"]),
    ]
}

fn texts(workshop: &Workshop) -> Vec<Lie> {
    let edited = |name: &'static str, from: &'static str, to: &'static str| {
        resealed(workshop, move |package| {
            package.member(name).edit_text(|text| text.replacen(from, to, 1));
            package.mend_tag_manifest();
        })
    };
    vec![
        Lie::new("bag_declaration_edited", "Held the examiner's key and declared another version of BagIt.")
            .package(edited("bagit.txt", "1.0", "0.9"))
            .fails(&["bag.declaration_differs"]),
        Lie::new(
            "bag_info_edited",
            "Held the examiner's key and stated another payload in the bag's description.",
        )
        .package(edited("bag-info.txt", "Payload-Oxum: ", "Payload-Oxum: 1"))
        .fails(&["bag.info_differs"]),
        Lie::new(
            "bag_info_with_a_line_more",
            "Held the examiner's key and added a contact to the bag's description.",
        )
        .package(edited("bag-info.txt", "Payload-Oxum", "Contact-Name: Mallory\nPayload-Oxum"))
        .fails(&["bag.info_differs"]),
    ]
}

fn drills(workshop: &Workshop) -> Vec<Lie> {
    let mut in_the_record = workshop.drill();
    in_the_record.edit_collection(|collection| collection.exercise = false);
    in_the_record.mend_bag_info();
    in_the_record.mend_manifests();
    let mut resealed = in_the_record.clone();
    resealed.seal(&workshop.insider(), |_| {});
    let mut in_the_seal = workshop.drill();
    in_the_seal.member(SEAL_MEMBER).edit_text(|text| {
        let cleared = text.replace("\"exercise\":true", "\"exercise\":false");
        cleared.replace("\"exercise\": true", "\"exercise\": false")
    });
    vec![
        Lie::new(
            "drill_passed_off_as_real_in_the_record",
            "Cleared the mark of a drill in the collection's record and made bag and manifests fit.",
        )
        .package(in_the_record.write().bytes)
        .fails(&[
            "integrity.tagmanifest_differs",
            "integrity.prefix_differs",
            "seal.identity_differs",
        ]),
        Lie::new(
            "drill_passed_off_as_real_in_the_seal",
            "Cleared the mark of a drill in the sealed statement.",
        )
        .package(in_the_seal.write().bytes)
        .fails(&["seal.identity_differs", "signer.signature_differs"]),
        Lie::new(
            "drill_passed_off_as_real_by_an_insider",
            "Held the examiner's key, cleared the mark of a drill in the records and sealed anew.",
        )
        .package(resealed.write().bytes)
        .fails(&["seal.identity_differs"]),
    ]
}

fn formats(workshop: &Workshop) -> Vec<Lie> {
    let collection_format = |package: &mut Package, format: &str| {
        package.edit_collection(|collection| format.clone_into(&mut collection.format));
        package.mend_manifests();
    };
    let mut unsealed = workshop.base();
    collection_format(&mut unsealed, "holdfast-package/2");
    let mut future = workshop.base();
    future.seal(&workshop.insider(), |statement| "holdfast-seal/2".clone_into(&mut statement.format));
    let mut fielded = workshop.base();
    fielded.member(SEAL_MEMBER).edit_text(|text| text.replacen('{', "{\"note\":\"x\",", 1));
    vec![
        Lie::new("future_format_of_the_collection", "Named a future format in the collection's record and made the manifests fit, so that nobody looks closer.")
            .package(unsealed.write().bytes)
            .fails(&["format.version_unsupported", "integrity.tagmanifest_differs", "integrity.prefix_differs", "completeness.unread"]),
        Lie::new("future_format_of_the_collection_sealed", "Held the examiner's key, named a future format in the collection's record and sealed anew.")
            .package(resealed(workshop, |package| collection_format(package, "holdfast-package/2")))
            .expect(Verdict::CannotDetermine, &["format.version_unsupported", "completeness.unread"]),
        Lie::new("format_of_something_else", "Held the examiner's key, named a format that is no package's in the collection's record and sealed anew.")
            .package(resealed(workshop, |package| collection_format(package, "something-else/1")))
            .fails(&["record.malformed", "completeness.unread"]),
        Lie::new("future_format_of_the_seal", "Held the examiner's key and sealed in a future format.")
            .package(sealed_with(workshop, |statement| "holdfast-seal/2".clone_into(&mut statement.format)))
            .expect(Verdict::CannotDetermine, &["format.version_unsupported"])
            .without(&["signer.no_examiner", "custody.signer_differs"]),
        Lie::new(
            "future_format_of_the_seal_under_its_ledger",
            "Held the examiner's key, sealed in a future format and began a ledger that fits.",
        )
        .package(future.write().bytes)
        .ledger(workshop.ledger().for_package(&future, &workshop.insider().collector).write())
        .expect(Verdict::CannotDetermine, &["format.version_unsupported"])
        .without(&["custody.chain_unbroken", "custody.signer_differs"]),
        Lie::new("seal_of_something_else", "Held the examiner's key and sealed in a format that is no seal's.")
            .package(sealed_with(workshop, |statement| "something-else/1".clone_into(&mut statement.format)))
            .fails(&["seal.malformed"]),
        Lie::new("seal_with_an_unknown_field", "Added a field to the sealed statement that only some readers know.")
            .package(fielded.write().bytes)
            .fails(&["seal.malformed"]),
    ]
}
