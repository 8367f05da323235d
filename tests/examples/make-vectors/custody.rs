//! Owns the lies about who held the package: lines taken out, moved, edited, added, or of another ledger; refuses to touch
//! the package, but for one lie under an honest ledger.

use chrono::TimeDelta;
use holdfast_schemas::custody::{CustodyEntry, CustodyEvent};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::report::Verdict;
use holdfast_schemas::seal::timestamp_member;
use holdfast_schemas::time::UtcTime;
use holdfast_tests::forge::{Ledger, stranger};

use crate::workshop::{Lie, Workshop};

pub(crate) fn lies(workshop: &Workshop) -> Vec<Lie> {
    [lines(workshop), entries(workshop), later(workshop)].into_iter().flatten().collect()
}

/// The untampered package beside an edited ledger.
fn beside(workshop: &Workshop, lie: Lie, edit: impl FnOnce(&mut Ledger)) -> Lie {
    let mut ledger = workshop.ledger();
    edit(&mut ledger);
    lie.package(workshop.base().write().bytes).ledger(ledger.write())
}

fn lines(workshop: &Workshop) -> Vec<Lie> {
    let whole = workshop.ledger().write();
    let head = workshop.ledger().link(2);
    let package = || workshop.base().write().bytes;
    let removed = Lie::new("first_custody_entry_removed", "Took the ledger's first entry out.");
    let truncated = Lie::new("sealed_entry_removed", "Took the ledger's last entry out.");
    let missed = Lie::new(
        "sealed_entry_removed_and_head_kept",
        "Took the ledger's last entry out, while its digest had been kept elsewhere.",
    );
    let reordered = Lie::new("custody_entries_reordered", "Put the ledger's entries in another order.");
    vec![
        beside(workshop, removed, |ledger| drop(ledger.lines.remove(0))).fails(&[
            "custody.sequence_broken",
            "custody.other_package",
            "custody.first_events",
        ]),
        beside(workshop, truncated, |ledger| ledger.lines.truncate(1))
            .expect(Verdict::VerifiedWithExceptions, &["custody.first_events"])
            .without(&["custody.chain_unbroken"]),
        beside(workshop, missed, |ledger| ledger.lines.truncate(1))
            .expect_head(head)
            .fails(&["custody.first_events", "custody.head_differs"]),
        Lie::new(
            "head_differs",
            "Kept the ledger's last entry, while the digest kept elsewhere is of another.",
        )
        .package(package())
        .ledger(whole.clone())
        .expect_head(Sha256Digest::of(b"another entry"))
        .fails(&["custody.head_differs"]),
        beside(workshop, reordered, |ledger| ledger.lines.swap(0, 1)).fails(&[
            "custody.sequence_broken",
            "custody.other_package",
            "custody.link_broken",
            "custody.first_events",
        ]),
        Lie::new("ledger_of_another_package", "Put the ledger of another package beside this one.")
            .package(package())
            .ledger(workshop.other_ledger().write())
            .fails(&["custody.other_package", "custody.signer_differs", "custody.package_differs"]),
        Lie::new("ledger_emptied", "Emptied the ledger.")
            .package(package())
            .ledger(Vec::new())
            .expect(Verdict::VerifiedWithExceptions, &["custody.first_events"])
            .without(&["custody.chain_unbroken"]),
        Lie::new("ledger_cut_off", "Cut the ledger off in the middle of its last line.")
            .package(package())
            .ledger(whole[..whole.len() - 100].to_vec())
            .fails(&["custody.line_malformed", "custody.first_events"]),
        Lie::new(
            "custody_line_with_spaces",
            "Wrote a line of the ledger with spaces, which other tools read just the same.",
        )
        .package(package())
        .ledger(
            String::from_utf8(whole)
                .unwrap()
                .replacen(",\"timestamps\":[]}", ", \"timestamps\": []}", 1)
                .into_bytes(),
        )
        .fails(&["custody.line_malformed", "custody.link_broken"]),
    ]
}

fn entries(workshop: &Workshop) -> Vec<Lie> {
    let mut tokenless = workshop.base();
    tokenless.remove(&timestamp_member(1));
    let edited = Lie::new("custody_entry_edited", "Edited the location in the ledger's last entry.");
    let first = Lie::new("first_custody_entry_edited", "Edited the note in the ledger's first entry.");
    let resigned = Lie::new(
        "custody_entry_signed_by_a_stranger",
        "Edited the ledger's last entry and signed it with a key of their own.",
    );
    let duplicate = Lie::new(
        "duplicate_key_in_a_custody_entry",
        "Wrote the ledger's last entry anew with an event stated twice, signed with a key of their own.",
    );
    let signer = stranger(3);
    vec![
        beside(workshop, edited, |ledger| edit(ledger, 2)).fails(&["custody.signature_differs"]),
        beside(workshop, first, |ledger| edit(ledger, 1))
            .fails(&["custody.signature_differs", "custody.link_broken"]),
        beside(workshop, resigned, |ledger| {
            let mut entry = ledger.entry(2);
            entry.note = Some("nothing to see".to_owned());
            ledger.sign(2, &entry, &signer);
        })
        .fails(&["custody.signer_differs"]),
        beside(workshop, duplicate, |ledger| {
            let entry = ledger.lines[1].entry.replacen("\"event\":", "\"event\":\"stored\",\"event\":", 1);
            ledger.lines[1].signature = holdfast_tests::forge::sign(
                &signer,
                holdfast_schemas::sshsig::NAMESPACE_CUSTODY,
                entry.as_bytes(),
            );
            ledger.lines[1].entry = entry;
        })
        .fails(&["custody.line_malformed"]),
        Lie::new(
            "token_removed_under_an_honest_ledger",
            "Took the timestamp out of the package and left its ledger as it was.",
        )
        .package(tokenless.write().bytes)
        .ledger(workshop.ledger().write())
        .fails(
            &["custody.package_differs", "time.token_absent"]
                .into_iter()
                .chain(workshop.unsynchronised())
                .collect::<Vec<_>>(),
        ),
    ]
}

/// Edits the note of an entry and leaves its signature.
fn edit(ledger: &mut Ledger, number: usize) {
    let line = &mut ledger.lines[number - 1];
    let edited = line.entry.replacen("\"seal_number\":null", "\"seal_number\":\"7\"", 1);
    assert_ne!(edited, line.entry);
    line.entry = edited;
}

fn later(workshop: &Workshop) -> Vec<Lie> {
    let added = |name, told, edit: &dyn Fn(&mut CustodyEntry)| {
        beside(workshop, Lie::new(name, told), |ledger| {
            let now = ledger.entry(2).recorded_at;
            let mut entry = CustodyEntry::new(CustodyEvent::Stored, 3, ledger.link(2), now, now);
            edit(&mut entry);
            ledger.sign(3, &entry, &stranger(3));
        })
    };
    let unjudged = "custody.later_entry_unjudged";
    vec![
        added(
            "custody_entry_added_by_a_stranger",
            "Added an entry to the ledger, signed with a key of their own.",
            &|_| {},
        )
        .expect(Verdict::VerifiedWithExceptions, &[unjudged]),
        added(
            "custody_entry_backdated",
            "Added an entry to the ledger with a time before the entry it follows.",
            &|entry| {
                entry.recorded_at = UtcTime::from(entry.recorded_at.to_chrono() - TimeDelta::days(1));
            },
        )
        .expect(Verdict::VerifiedWithExceptions, &[unjudged, "custody.time_reversed"]),
        added(
            "custody_entry_left_out_between",
            "Took an entry out of the ledger between two others and numbered the rest anew.",
            &|entry| {
                entry.prev = Sha256Digest::of(b"the entry that was taken out");
            },
        )
        .fails(&[unjudged, "custody.link_broken"]),
        added(
            "custody_entry_misnumbered",
            "Left a number out between two entries of the ledger.",
            &|entry| entry.seq = 4,
        )
        .fails(&[unjudged, "custody.sequence_broken"]),
    ]
}
