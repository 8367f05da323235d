//! Owns the table of installed files that are not as their packages' databases say; refuses to judge why, and to list
//! what is as it should be.

use std::io;

use serde::Serialize;

use super::compare::Comparison;
use super::{apk, dpkg_files, pacman, rpm_files};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "package_file_integrity",
    about: "Installed files that differ from what the databases of their packages say.",
    sources: &[
        "/var/lib/dpkg/info/*.{list,md5sums}",
        "/var/lib/dpkg/{status,diversions,statoverride}",
        "/{var/lib,usr/lib/sysimage,usr/share}/rpm/{rpmdb.sqlite,Packages.db,Packages}",
        "/{lib,usr/lib}/apk/db/installed",
        "/var/lib/pacman/local/*/{files,mtree}",
    ],
    group: Group::Disk,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_integrity,
};

/// One installed file that differs from what its package's database says, or one count of the files that were compared.
#[derive(Serialize, Default)]
pub(super) struct IntegrityRow {
    /// Derived: Database: dpkg, rpm, apk or pacman.
    pub(super) manager: &'static str,
    /// Derived: missing, differs, unreadable, or summary: one for each database, with the counts.
    pub(super) result: &'static str,
    /// osquery: Package that the file belongs to (`rpm_package_files.package`); null in a summary.
    pub(super) package: Option<String>,
    /// Derived: Base64 of the exact bytes behind `package`; null where `package` is those bytes verbatim.
    pub(super) package_raw: Option<String>,
    /// Derived: Its version; null in a summary.
    pub(super) package_version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `package_version`; null where `package_version` is those
    /// bytes verbatim.
    pub(super) package_version_raw: Option<String>,
    /// osquery: Path of the file (`rpm_package_files.path`), where a diversion moved it to; null in a
    /// summary.
    pub(super) path: Option<String>,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    pub(super) path_raw: Option<String>,
    /// Derived: Path in the package, where a diversion of dpkg moved the file; null otherwise.
    pub(super) diverted_from: Option<String>,
    /// Derived: Base64 of the exact bytes behind `diverted_from`; null where `diverted_from` is those bytes
    /// verbatim.
    pub(super) diverted_from_raw: Option<String>,
    /// Derived: What differs, as `rpm -V` and `dpkg --verify` write it: nine of S size, M mode or type, 5
    /// digest, D device, L link target, U user, G group, T time, P capabilities; `.` is equal, `?` not
    /// compared: not known to the database, not wanted by the package or not readable. `missing` for a missing
    /// file; null in a summary.
    pub(super) flags: Option<String>,
    /// Derived: c configuration, d documentation, g ghost, l licence, r readme, as rpm writes them; null for
    /// none.
    pub(super) attribute: Option<String>,
    /// Derived: Algorithm of the digests; null where the database has none.
    pub(super) digest_algorithm: Option<&'static str>,
    /// Derived: Digest by the database, hexadecimal; null where it has none.
    pub(super) expected_digest: Option<String>,
    /// Derived: Digest of the file as it is; null where it was not read.
    pub(super) digest: Option<String>,
    /// osquery: Size in bytes by the database (`rpm_package_files.size`); null where it has none.
    pub(super) expected_size: Option<u64>,
    /// Derived: Size in bytes of the file as it is; null where it is missing.
    pub(super) size: Option<u64>,
    /// osquery: Permissions in octal by the database (`rpm_package_files.mode`) or an override; null where
    /// it has none.
    pub(super) expected_mode: Option<String>,
    /// Derived: Permissions in octal as they are; null where the file is missing.
    pub(super) mode: Option<String>,
    /// Derived: Type by the database: regular, directory, symlink, character, block, fifo or socket; null
    /// where it has none.
    pub(super) expected_type: Option<&'static str>,
    /// Derived: Type as it is; null where the file is missing.
    pub(super) r#type: Option<&'static str>,
    /// osquery: Owner by the database (`rpm_package_files.username`) or an override; null where it has none.
    pub(super) expected_user: Option<String>,
    /// Derived: Base64 of the exact bytes behind `expected_user`; null where `expected_user` is those bytes
    /// verbatim.
    pub(super) expected_user_raw: Option<String>,
    /// Derived: Owner as it is, by name or else by number; null where the file is missing.
    pub(super) user: Option<String>,
    /// Derived: Base64 of the exact bytes behind `user`; null where `user` is those bytes verbatim.
    pub(super) user_raw: Option<String>,
    /// osquery: Group by the database (`rpm_package_files.groupname`) or an override; null where it has
    /// none.
    pub(super) expected_group: Option<String>,
    /// Derived: Base64 of the exact bytes behind `expected_group`; null where `expected_group` is those
    /// bytes verbatim.
    pub(super) expected_group_raw: Option<String>,
    /// Derived: Group as it is, by name or else by number; null where the file is missing.
    pub(super) group: Option<String>,
    /// Derived: Base64 of the exact bytes behind `group`; null where `group` is those bytes verbatim.
    pub(super) group_raw: Option<String>,
    /// Derived: Link target by the database; null where it has none.
    pub(super) expected_target: Option<String>,
    /// Derived: Base64 of the exact bytes behind `expected_target`; null where `expected_target` is those
    /// bytes verbatim.
    pub(super) expected_target_raw: Option<String>,
    /// Derived: Link target as it is; null where the file is no link.
    pub(super) target: Option<String>,
    /// Derived: Base64 of the exact bytes behind `target`; null where `target` is those bytes verbatim.
    pub(super) target_raw: Option<String>,
    /// Derived: Modification time by the database, Unix seconds; null where it has none.
    pub(super) expected_mtime: Option<i64>,
    /// Derived: Modification time as it is, Unix seconds; null where the file is missing.
    pub(super) mtime: Option<i64>,
    /// Derived: In a summary, packages whose files were compared; null otherwise.
    pub(super) packages: Option<u64>,
    /// Derived: In a summary, files that were compared; null otherwise.
    pub(super) files_checked: Option<u64>,
    /// Derived: In a summary, files that are missing; null otherwise.
    pub(super) files_missing: Option<u64>,
    /// Derived: In a summary, files that differ; null otherwise.
    pub(super) files_differing: Option<u64>,
    /// Derived: In a summary, files that could not be read; null otherwise.
    pub(super) files_unreadable: Option<u64>,
    /// Derived: In a summary, regular files for whose content the database has no digest, so that a change of
    /// it is not seen: many where a list of digests was deleted; null otherwise.
    pub(super) files_without_digest: Option<u64>,
}

fn capture_integrity(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut comparison = Comparison::on(capture);
    dpkg_files::compare(capture, &mut comparison)?;
    rpm_files::compare(capture, &mut comparison)?;
    apk::compare(capture, &mut comparison)?;
    pacman::compare(capture, &mut comparison)
}
