//! Owns the table of rpm's packages; refuses to ask rpm.

use std::io;

use serde::Serialize;

use super::rpm_header::{Header, tag};
use super::rpm_store::each_header;
use crate::state::linux::text::{optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "rpm_packages",
    about: "Packages by rpm's database, in any of its three stores.",
    sources: &["/{var/lib,usr/lib/sysimage,usr/share}/rpm/{rpmdb.sqlite,Packages.db,Packages}"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One package that an rpm database names as installed.
#[derive(Serialize, Default)]
struct RpmRow {
    /// osquery: Package name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Package version.
    version: String,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Package release.
    release: String,
    /// Derived: Base64 of the exact bytes behind `release`; null where `release` is those bytes verbatim.
    release_raw: Option<String>,
    /// osquery: Name of the source package; null where none is stated.
    source: Option<String>,
    /// Derived: Base64 of the exact bytes behind `source`; null where `source` is those bytes verbatim.
    source_raw: Option<String>,
    /// osquery: Installed size in bytes; null where none is stated.
    size: Option<u64>,
    /// osquery: SHA-1 digest of the header, hexadecimal, as the database states it; null where it does not.
    sha1: Option<String>,
    /// Derived: Base64 of the exact bytes behind `sha1`; null where `sha1` is those bytes verbatim.
    sha1_raw: Option<String>,
    /// osquery: Architecture; null where none is stated, as with signing keys.
    arch: Option<String>,
    /// Derived: Base64 of the exact bytes behind `arch`; null where `arch` is those bytes verbatim.
    arch_raw: Option<String>,
    /// osquery: Epoch; null where none is stated.
    epoch: Option<u64>,
    /// osquery: When it was installed, Unix seconds; null where none is stated.
    install_time: Option<u64>,
    /// osquery: Vendor; null where none is stated.
    vendor: Option<String>,
    /// Derived: Base64 of the exact bytes behind `vendor`; null where `vendor` is those bytes verbatim.
    vendor_raw: Option<String>,
    /// osquery: Package group; null where none is stated.
    package_group: Option<String>,
    /// Derived: Base64 of the exact bytes behind `package_group`; null where `package_group` is those bytes
    /// verbatim.
    package_group_raw: Option<String>,
    /// Derived: File of the database.
    database: String,
    /// Derived: Number of the header in the database; null where the store gives it none.
    number: Option<u64>,
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_header(capture, &mut |capture, database, number, header| capture.row(&row(header, database, number)))
}

fn row(header: &Header<'_>, database: &str, number: Option<u64>) -> RpmRow {
    let mut row = RpmRow { database: database.to_owned(), number, ..RpmRow::default() };
    (row.name, row.name_raw) = text(header.text(tag::NAME).unwrap_or_default());
    (row.version, row.version_raw) = text(header.text(tag::VERSION).unwrap_or_default());
    (row.release, row.release_raw) = text(header.text(tag::RELEASE).unwrap_or_default());
    (row.source, row.source_raw) = optional(header.text(tag::SOURCE_RPM));
    row.size = header.number(tag::LONG_SIZE).or_else(|| header.number(tag::SIZE));
    (row.sha1, row.sha1_raw) = optional(header.text(tag::SHA1_HEADER));
    (row.arch, row.arch_raw) = optional(header.text(tag::ARCH));
    row.epoch = header.number(tag::EPOCH);
    row.install_time = header.number(tag::INSTALL_TIME);
    (row.vendor, row.vendor_raw) = optional(header.text(tag::VENDOR));
    (row.package_group, row.package_group_raw) = optional(header.text(tag::GROUP));
    row
}
