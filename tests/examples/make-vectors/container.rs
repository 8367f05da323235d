//! Owns the lies about the archive: bytes, members, names, directory and end; refuses lies that a reader of records tells.

use std::fs;
use std::process::Command;

use holdfast_schemas::container::{Directory, Method, ZipTime};
use holdfast_schemas::report::Verdict;
use holdfast_schemas::seal::SEAL_MEMBER;
use holdfast_tests::forge::{Archive, Member, Package, deflate};
use holdfast_tests::{run, workplace};

use crate::workshop::{Lie, UNREADABLE, Workshop};

/// A change of a member's bytes shows in the stream and in the seal; its bytes cannot be counted.
const BROKEN: [&str; 3] =
    ["container.content_malformed", "integrity.prefix_differs", "integrity.counts_differ"];

pub(crate) fn lies(workshop: &Workshop) -> Vec<Lie> {
    [contents(workshop), members(workshop), names(workshop), frames(workshop), edges(workshop)]
        .into_iter()
        .flatten()
        .collect()
}

/// The base package with one of its payload members edited.
fn with_first(workshop: &Workshop, edit: impl FnOnce(&mut Member)) -> Vec<u8> {
    let mut package = workshop.base();
    edit(&mut package.members[0]);
    package.write().bytes
}

fn contents(workshop: &Workshop) -> Vec<Lie> {
    let mut flipped = workshop.base().write();
    let middle = flipped.places[0].stream.start + flipped.places[0].stream.len() / 2;
    flipped.bytes[middle] ^= 0x10;
    let forge = |text: String| text.replace("127", "128");
    let mut exchanged = workshop.base();
    let [first, second] = [0, 1].map(|at: usize| exchanged.members[at].content().to_vec());
    exchanged.members[0].write(&second);
    exchanged.members[1].write(&first);
    vec![
        Lie::new(
            "payload_byte_changed",
            "Changed one byte of a collected file where it lies in the archive.",
        )
        .package(flipped.bytes)
        .fails(&BROKEN)
        .without(&["container.well_formed", "integrity.payload_matches"]),
        Lie::new(
            "payload_changed_and_crc_mended",
            "Changed a collected file and made the container fit, sizes and CRC-32 included.",
        )
        .package(with_first(workshop, |member| member.edit_text(forge)))
        .fails(&[
            "integrity.item_digest_differs",
            "integrity.record_differs",
            "integrity.prefix_differs",
        ]),
        Lie::new(
            "contents_exchanged",
            "Exchanged the contents of two collected files, so that each stands under the other's name.",
        )
        .package(exchanged.write().bytes)
        .fails(&[
            "integrity.item_digest_differs",
            "integrity.record_differs",
            "integrity.prefix_differs",
        ]),
        Lie::new(
            "bytes_after_the_deflate_stream",
            "Hid a message behind the end of a deflate stream, inside its stated compressed size.",
        )
        .package(with_first(workshop, |member| {
            let stream = [member.stream(), b"hidden"].concat();
            member.write_stream(stream);
        }))
        .fails(&BROKEN),
        Lie::new(
            "deflate_stream_cut_off",
            "Cut the end of a deflate stream off and stated the shorter compressed size.",
        )
        .package(with_first(workshop, |member| {
            let stream = member.stream()[..member.stream().len() - 2].to_vec();
            member.write_stream(stream);
        }))
        .fails(&BROKEN),
        Lie::new("bomb", "Put a stream that inflates to a million bytes where the directory states twenty.")
            .package(with_first(workshop, |member| {
                member.write_stream(deflate(&vec![0; 1_000_000]));
            }))
            .fails(&BROKEN),
        Lie::new(
            "payload_kept_uncompressed",
            "Kept a collected file uncompressed, which other tools read just the same.",
        )
        .package(with_first(workshop, |member| {
            member.keep(Method::Stored);
        }))
        .fails(&["container.member_malformed", "integrity.prefix_differs"]),
        Lie::new(
            "seal_kept_compressed",
            "Compressed the sealed statement, which other tools read just the same.",
        )
        .package({
            let mut package = workshop.base();
            package.member(SEAL_MEMBER).keep(Method::Deflated);
            package.write().bytes
        })
        .fails(&["container.member_order"]),
    ]
}

fn members(workshop: &Workshop) -> Vec<Lie> {
    let edited = |edit: &dyn Fn(&mut Package)| {
        let mut package = workshop.base();
        edit(&mut package);
        package.write().bytes
    };
    let remove_first = |package: &mut Package| drop(package.members.remove(0));
    let add = |package: &mut Package| {
        let last = package.payload().len();
        let added = Member::new(
            "data/fs/tmp/holdfast-vectors/var/zzz.log",
            package.members[0].modified,
            Method::Deflated,
            b"planted\n",
        );
        package.members.insert(last, added);
    };
    vec![
        Lie::new("item_removed", "Took a collected file out and made the container fit.")
            .package(edited(&remove_first))
            .fails(&[
                "bag.listed_member_absent",
                "integrity.recorded_member_absent",
                "integrity.prefix_differs",
                "integrity.counts_differ",
            ]),
        Lie::new(
            "item_removed_and_manifests_mended",
            "Took a collected file out and made both manifests fit.",
        )
        .package(edited(&|package| {
            remove_first(package);
            package.mend_manifests();
        }))
        .fails(&[
            "integrity.recorded_member_absent",
            "integrity.tagmanifest_differs",
            "integrity.prefix_differs",
            "integrity.counts_differ",
        ]),
        Lie::new(
            "item_removed_and_records_mended",
            "Took a collected file out and made records, counts, bag and manifests fit, up to the seal.",
        )
        .package(edited(&|package| {
            remove_first(package);
            package.mend_records();
            package.mend_manifests();
        }))
        .fails(&[
            "bag.info_differs",
            "integrity.tagmanifest_differs",
            "integrity.prefix_differs",
            "integrity.items_root_differs",
            "integrity.counts_differ",
        ]),
        Lie::new("item_added_after_sealing", "Planted a file behind the collected ones.")
            .package(edited(&add))
            .fails(&[
                "bag.member_unlisted",
                "integrity.record_absent",
                "integrity.prefix_differs",
                "integrity.counts_differ",
            ]),
        Lie::new(
            "item_added_and_manifests_mended",
            "Planted a file behind the collected ones and made both manifests fit.",
        )
        .package(edited(&|package| {
            add(package);
            package.mend_manifests();
        }))
        .fails(&[
            "integrity.record_absent",
            "integrity.tagmanifest_differs",
            "integrity.prefix_differs",
            "integrity.counts_differ",
        ]),
        Lie::new("members_swapped", "Made two collected files change places, contents and names untouched.")
            .package(edited(&|package| package.members.swap(0, 1)))
            .fails(&[
                "bag.listed_member_absent",
                "bag.member_unlisted",
                "integrity.recorded_member_absent",
                "integrity.record_absent",
                "integrity.prefix_differs",
            ]),
        Lie::new(
            "tag_files_swapped",
            "Held the examiner's key, made two of the bag's own files change places and sealed anew.",
        )
        .package(edited(&|package| {
            let at = package.position("bagit.txt");
            package.members.swap(at, at + 1);
            package.mend_tag_manifest();
            package.seal(&workshop.insider(), |_| {});
        }))
        .fails(&["container.member_order"]),
        Lie::new(
            "file_smuggled_in_among_the_tag_files",
            "Held the examiner's key, put a file of their own beside the records and sealed anew.",
        )
        .package(edited(&|package| {
            let at = package.position("bagit.txt");
            let time = package.members[at].modified;
            package.members.insert(at, Member::new("readme.txt", time, Method::Deflated, b"trust me\n"));
            package.mend_tag_manifest();
            package.seal(&workshop.insider(), |_| {});
        }))
        .fails(&["container.member_order"]),
        Lie::new(
            "acquisition_log_left_out",
            "Held the examiner's key, left the acquisition log out and sealed anew.",
        )
        .package(edited(&|package| {
            package.remove("actions.jsonl");
            package.mend_tag_manifest();
            package.seal(&workshop.insider(), |_| {});
        }))
        .fails(&["container.member_order"]),
    ]
}

fn names(workshop: &Workshop) -> Vec<Lie> {
    // An insider's addition has records and seal that fit; only its name is wrong.
    let added_as = |name: &str| {
        let mut package = workshop.base();
        let last = package.payload().len();
        let added = Member::new(name, package.members[0].modified, Method::Deflated, b"planted\n");
        package.members.insert(last, added);
        package.edit_items(|items| {
            let mut item = items.iter().rfind(|item| item.member.is_some()).unwrap().clone();
            item.member = Some(name.to_owned());
            items.push(item);
        });
        package.mend_records();
        package.mend_manifests();
        package.seal(&workshop.insider(), |_| {});
        package.write().bytes
    };
    let outside = |name: &str| {
        let mut package = workshop.base();
        let last = package.payload().len();
        let time = package.members[last].modified;
        package.members.insert(last, Member::new(name, time, Method::Deflated, b"planted\n"));
        package.write().bytes
    };
    let mut renamed = workshop.base();
    renamed.members[0].name = renamed.members[0].name.replace("hosts", "hosts.bak");
    let mut duplicated = workshop.base();
    let mut twin = duplicated.members[0].clone();
    twin.edit_text(|text| text.replace("127", "128"));
    duplicated.members.insert(duplicated.payload().len(), twin);
    let is_outside = [
        "container.name_forbidden",
        "container.member_order",
        "bag.member_unlisted",
        "integrity.prefix_differs",
    ];
    let is_forbidden = ["container.name_forbidden", "record.inconsistent"];
    vec![
        Lie::new("duplicate_member", "Put a second file under the name of a collected one, for readers that take the last of two.")
            .package(duplicated.write().bytes)
            .fails(&[
                "container.name_duplicate",
                "bag.member_unlisted",
                "integrity.record_absent",
                "integrity.prefix_differs",
                "integrity.counts_differ",
            ]),
        Lie::new("member_renamed", "Gave a collected file another name.")
            .package(renamed.write().bytes)
            .fails(&[
                "bag.listed_member_absent",
                "bag.member_unlisted",
                "integrity.recorded_member_absent",
                "integrity.record_absent",
                "integrity.prefix_differs",
            ]),
        Lie::new("case_folded_twin", "Held the examiner's key and added a name that Windows and macOS take for that of a collected file.")
            .package(added_as("data/fs/tmp/holdfast-vectors/ETC/HOSTS"))
            .fails(&["container.name_duplicate"]),
        Lie::new("file_where_a_folder_is_needed", "Held the examiner's key and added a file under the name of a folder, so that unpacking fails halfway.")
            .package(added_as("data/fs/tmp/holdfast-vectors/var"))
            .fails(&["container.name_duplicate"]),
        Lie::new("name_climbs_out_of_the_folder", "Held the examiner's key and added a name that leads out of the folder it is unpacked to.")
            .package(added_as("data/fs/../../../../etc/cron.d/job"))
            .fails(&is_forbidden),
        Lie::new("name_with_a_backslash", "Held the examiner's key and added a name that Windows takes for a path.")
            .package(added_as("data/fs/tmp\\..\\..\\autorun.inf"))
            .fails(&is_forbidden),
        Lie::new("name_of_a_device", "Held the examiner's key and added a name that Windows takes for a device.")
            .package(added_as("data/fs/tmp/nul.txt"))
            .fails(&is_forbidden),
        Lie::new("name_is_absolute", "Put in a file with an absolute name.")
            .package(outside("/etc/cron.d/job"))
            .fails(&is_outside),
        Lie::new("name_outside_the_folder", "Put in a file that lies beside the package's folder.")
            .package(outside("/elsewhere/data/fs/job"))
            .fails(&is_outside),
    ]
}

fn frames(workshop: &Workshop) -> Vec<Lie> {
    let patched = |patch: &dyn Fn(&mut Archive)| {
        let mut archive = workshop.base().write();
        patch(&mut archive);
        archive.bytes
    };
    let mut wide = workshop.base();
    wide.member(SEAL_MEMBER).zip64 = true;
    let mut retimed = workshop.base();
    let earlier = ZipTime::nearest(retimed.statement().sealed_at.unix_seconds() - 86_400);
    retimed.member(SEAL_MEMBER).modified = earlier;
    let renamed = [
        "bag.listed_member_absent",
        "bag.member_unlisted",
        "integrity.recorded_member_absent",
        "integrity.record_absent",
        "integrity.counts_differ",
    ];
    vec![
        Lie::new("directory_entry_with_another_name", "Renamed a collected file in the central directory alone, so that tools disagree about its name.")
            .package(patched(&|archive| {
                let end = archive.places[0].central.end - 9;
                archive.patch(end - 5, b"HOSTS");
            }))
            .fails(&[&["container.directory_malformed"], &renamed[..]].concat()),
        Lie::new("directory_entry_with_another_size", "Stated another size for a collected file in the central directory alone.")
            .package(patched(&|archive| {
                let at = archive.places[0].central.start + 24;
                archive.bytes[at] ^= 1;
            }))
            .fails(&["container.content_malformed", "integrity.counts_differ"]),
        Lie::new("member_made_executable", "Made a collected file executable for whoever unpacks the package.")
            .package(patched(&|archive| {
                let at = archive.places[0].central.start + 38;
                archive.patch(at + 2, &0o100_755u16.to_le_bytes());
            }))
            .fails(&["container.directory_malformed", UNREADABLE]),
        Lie::new("local_header_says_encrypted", "Set the encryption flag in a local header, so that some tools ask for a password and others do not.")
            .package(patched(&|archive| {
                let at = archive.places[0].local.start + 6;
                archive.bytes[at] |= 1;
            }))
            .fails(&["container.member_malformed", "integrity.prefix_differs", "integrity.counts_differ"]),
        Lie::new("data_descriptor_differs", "Changed the CRC-32 in a data descriptor alone.")
            .package(patched(&|archive| {
                let at = archive.places[0].descriptor.start + 4;
                archive.bytes[at] ^= 1;
            }))
            .fails(&["container.member_malformed", "integrity.prefix_differs", "integrity.counts_differ"]),
        Lie::new("seal_in_zip64_form", "Wrote the sealed statement's sizes in 64 bits, which no signature covers and other tools read just the same.")
            .package(wide.write().bytes)
            .fails(&["container.member_malformed"]),
        Lie::new("seal_with_another_time", "Gave the sealed statement another time in the archive, which no signature covers.")
            .package(retimed.write().bytes)
            .fails(&["container.member_malformed"]),
        Lie::new("hidden_bytes_between_members", "Hid a message between two members.")
            .package(with_first(workshop, |member| member.hidden = b"hidden".to_vec()))
            .fails(&["container.member_malformed", UNREADABLE]),
        Lie::new("hidden_bytes_before_the_directory", "Hid a message between the last member and the central directory.")
            .package({
                let mut package = workshop.base();
                package.members.last_mut().unwrap().hidden = b"hidden".to_vec();
                package.write().bytes
            })
            .fails(&["container.member_malformed", UNREADABLE]),
    ]
}

fn edges(workshop: &Workshop) -> Vec<Lie> {
    let base = workshop.base().write();
    let end = base.bytes.len() - 22;
    let mut commented = base.bytes.clone();
    commented[end + 20] = 6;
    commented.extend(b"hidden");
    let mut behind = workshop.base();
    behind.hidden = b"hidden".to_vec();
    let mut directory = base.bytes[base.places[0].central.start..end].to_vec();
    directory
        .drain(base.places[0].central.len()..base.places[0].central.len() + base.places[1].central.len());
    vec![
        Lie::new("data_prepended", "Put a message in front of the package.")
            .package([b"hidden", &base.bytes[..]].concat())
            .fails(&["container.leading_data", UNREADABLE]),
        Lie::new(
            "data_prepended_and_offsets_mended",
            "Put a message in front of the package and made every offset fit.",
        )
        .package(behind.write().bytes)
        .fails(&["container.leading_data", UNREADABLE]),
        Lie::new("data_appended", "Put a message behind the package.")
            .package([&base.bytes[..], b"hidden"].concat())
            .fails(&["container.trailing_data", UNREADABLE]),
        Lie::new("file_cut_short", "Cut the file off in the middle.")
            .package(base.bytes[..base.bytes.len() / 2].to_vec())
            .fails(&["container.cut_off", UNREADABLE]),
        Lie::new("end_record_cut_short", "Cut off the last byte of the file.")
            .package(base.bytes[..base.bytes.len() - 1].to_vec())
            .fails(&["container.cut_off", UNREADABLE]),
        Lie::new(
            "comment_in_the_end_record",
            "Added an archive comment, which other tools show and do not mind.",
        )
        .package(commented)
        .fails(&["container.end_malformed", UNREADABLE]),
        Lie::new(
            "zip64_end_records_of_a_small_package",
            "Put ZIP64 end records, which only packages of 65,535 members need, before the end record.",
        )
        .package({
            let mut wide = base.directory;
            wide.entries = u64::from(u16::MAX);
            let mut records = wide.render_end();
            for at in [24, 32] {
                records[at..at + 8].copy_from_slice(&base.directory.entries.to_le_bytes());
            }
            [&base.bytes[..end], &records[..76], &base.bytes[end..]].concat()
        })
        .fails(&["container.end_malformed", UNREADABLE]),
        Lie::new(
            "second_directory_leaves_a_file_out",
            "Appended a second central directory that leaves a collected file out.",
        )
        .package({
            let second = Directory {
                entries: base.directory.entries - 1,
                offset: base.bytes.len() as u64,
                bytes: directory.len() as u64,
            };
            [&base.bytes[..], &directory, &second.render_end()].concat()
        })
        .fails(&["container.member_malformed", UNREADABLE]),
        Lie::new("package_overwritten_with_zeros", "Overwrote the whole file with zeros.")
            .package(vec![0; base.bytes.len()])
            .expect(Verdict::CannotDetermine, &["container.not_a_package", UNREADABLE]),
        Lie::new(
            "packed_again_by_another_tool",
            "Unpacked the package and packed it again with a stock tool, contents untouched.",
        )
        .package(packed_again(&base.bytes))
        .fails(&["container.directory_malformed", UNREADABLE]),
    ]
}

fn packed_again(bytes: &[u8]) -> Vec<u8> {
    let workplace = workplace();
    fs::write(workplace.path().join("package.zip"), bytes).unwrap();
    let shell = "unzip -q package.zip && rm package.zip && zip -q -r -X package.zip *";
    run(Command::new("sh").args(["-c", shell]).current_dir(workplace.path()), 0);
    fs::read(workplace.path().join("package.zip")).unwrap()
}
