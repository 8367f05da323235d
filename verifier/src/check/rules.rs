//! Owns the rules: each finding's code, axis, status and the words for what its check shows and does not show
//! (schemas/README.md, section 8); refuses codes that are not in that table.

use holdfast_schemas::report::{Axis, Status};

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Stable code.
    pub code: &'static str,
    /// Which question it bears on.
    pub axis: Axis,
    /// How it stands when it is found.
    pub status: Status,
    /// What the check shows.
    pub shows: &'static str,
    /// What it does not show.
    pub does_not_show: &'static str,
}

/// What groups of rules show and do not show.
mod words {
    pub(super) const FORM: (&str, &str) = (
        "whether the file has exactly the form that a sealed package has, with nothing hidden in it",
        "who changed it, or when",
    );
    pub(super) const OPENED: (&str, &str) =
        ("that the file could not be judged as a package", "anything about its content");
    pub(super) const FILES: (&str, &str) = (
        "whether each file has the same bytes as when the package was sealed, with none added or removed",
        "that the files told the truth, or were unchanged before sealing",
    );
    pub(super) const RECORDS: (&str, &str) =
        ("whether the records can be read in only one way and fit each other", "that what they say is true");
    pub(super) const SEAL: (&str, &str) =
        ("whether everything in the package is what was sealed", "that everything relevant was collected");
    pub(super) const SIGNATURE: (&str, &str) = (
        "which key sealed the package, and that nothing changed since",
        "who used the key, or that it was not stolen",
    );
    pub(super) const TRUST: (&str, &str) = (
        "whether the organisation that made the trust folder lists the key",
        "who used the key, or that it was not stolen",
    );
    pub(super) const TOKEN: (&str, &str) = (
        "that the package existed by a certain time, by somebody else's clock",
        "when the recorded events happened",
    );
    pub(super) const CLOCK: (&str, &str) = (
        "how far the host's clock was from another clock when it was sealed",
        "that times in older logs are right",
    );
    pub(super) const LOG: (&str, &str) =
        ("what the collecting program attempted and what became of it", "that the host showed it everything");
    pub(super) const LEDGER: (&str, &str) = (
        "whether the custody entries that were supplied are unedited and follow each other",
        "that the entries are true, or that nobody else had access",
    );
}

macro_rules! rules {
    ($($name:ident = $code:literal, $axis:ident, $status:ident, $words:ident;)*) => {
        $(
            #[doc = concat!("`", $code, "`")]
            pub static $name: Rule = Rule {
                code: $code,
                axis: Axis::$axis,
                status: Status::$status,
                shows: words::$words.0,
                does_not_show: words::$words.1,
            };
        )*
        /// Every rule, in the order of the specification.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    NOT_A_PACKAGE = "container.not_a_package", Integrity, Unknown, OPENED;
    CUT_OFF = "container.cut_off", Integrity, Bad, FORM;
    TRAILING_DATA = "container.trailing_data", Integrity, Bad, FORM;
    LEADING_DATA = "container.leading_data", Integrity, Bad, FORM;
    END_MALFORMED = "container.end_malformed", Integrity, Bad, FORM;
    DIRECTORY_MALFORMED = "container.directory_malformed", Integrity, Bad, FORM;
    MEMBER_MALFORMED = "container.member_malformed", Integrity, Bad, FORM;
    CONTENT_MALFORMED = "container.content_malformed", Integrity, Bad, FORM;
    NAME_FORBIDDEN = "container.name_forbidden", Integrity, Bad, FORM;
    NAME_DUPLICATE = "container.name_duplicate", Integrity, Bad, FORM;
    MEMBER_ORDER = "container.member_order", Integrity, Bad, FORM;
    WELL_FORMED = "container.well_formed", Integrity, Good, FORM;
    VERSION_UNSUPPORTED = "format.version_unsupported", Integrity, Unknown, OPENED;
    LIMITS_EXCEEDED = "limits.exceeded", Integrity, Unknown, OPENED;
    DECLARATION_DIFFERS = "bag.declaration_differs", Integrity, Bad, FORM;
    INFO_DIFFERS = "bag.info_differs", Integrity, Bad, RECORDS;
    MANIFEST_MALFORMED = "bag.manifest_malformed", Integrity, Bad, RECORDS;
    MEMBER_UNLISTED = "bag.member_unlisted", Integrity, Bad, FILES;
    LISTED_MEMBER_ABSENT = "bag.listed_member_absent", Integrity, Bad, FILES;
    RECORD_MALFORMED = "record.malformed", Integrity, Bad, RECORDS;
    RECORD_INCONSISTENT = "record.inconsistent", Integrity, Bad, RECORDS;
    SEQUENCE_BROKEN = "record.sequence_broken", Integrity, Bad, RECORDS;
    ITEM_DIGEST_DIFFERS = "integrity.item_digest_differs", Integrity, Bad, FILES;
    RECORD_DIFFERS = "integrity.record_differs", Integrity, Bad, FILES;
    RECORD_ABSENT = "integrity.record_absent", Integrity, Bad, FILES;
    RECORDED_MEMBER_ABSENT = "integrity.recorded_member_absent", Integrity, Bad, FILES;
    TAG_DIGEST_DIFFERS = "integrity.tag_digest_differs", Integrity, Bad, FILES;
    TAGMANIFEST_DIFFERS = "integrity.tagmanifest_differs", Integrity, Bad, SEAL;
    PREFIX_DIFFERS = "integrity.prefix_differs", Integrity, Bad, SEAL;
    ITEMS_ROOT_DIFFERS = "integrity.items_root_differs", Integrity, Bad, SEAL;
    COUNTS_DIFFER = "integrity.counts_differ", Integrity, Bad, SEAL;
    PAYLOAD_MATCHES = "integrity.payload_matches", Integrity, Good, FILES;
    SEAL_ABSENT = "seal.absent", Integrity, Bad, SEAL;
    SEAL_MALFORMED = "seal.malformed", Integrity, Bad, SEAL;
    IDENTITY_DIFFERS = "seal.identity_differs", Integrity, Bad, SEAL;
    EXERCISE = "seal.exercise", Integrity, Good, SEAL;
    SIGNATURE_ABSENT = "signer.signature_absent", Signer, Bad, SIGNATURE;
    SIGNATURE_MALFORMED = "signer.signature_malformed", Signer, Bad, SIGNATURE;
    SIGNATURE_DIFFERS = "signer.signature_differs", Signer, Bad, SIGNATURE;
    UNCHANGED = "signer.unchanged_since_sealing", Signer, Good, SIGNATURE;
    NO_EXAMINER = "signer.no_examiner", Signer, Unknown, SIGNATURE;
    NO_TRUST_FOLDER = "signer.no_trust_folder", Signer, Unknown, TRUST;
    TRUST_MALFORMED = "signer.trust_malformed", Signer, Unknown, TRUST;
    UNKNOWN_KEY = "signer.unknown_key", Signer, Unknown, TRUST;
    REVOKED_KEY = "signer.revoked_key", Signer, Bad, TRUST;
    OUTSIDE_VALIDITY = "signer.key_outside_validity", Signer, Bad, TRUST;
    NOT_FOR_SEALS = "signer.key_not_for_seals", Signer, Bad, TRUST;
    OTHER_PRINCIPAL = "signer.other_principal", Signer, Exception, TRUST;
    TRUSTED = "signer.trusted", Signer, Good, TRUST;
    TOKEN_ABSENT = "time.token_absent", Time, Exception, TOKEN;
    NO_ROOTS = "time.no_roots", Time, Unknown, TOKEN;
    AUTHORITY_UNPINNED = "time.authority_unpinned", Time, Exception, TOKEN;
    TOKEN_OTHER_DATA = "time.token_other_data", Time, Bad, TOKEN;
    TOKEN_BROKEN = "time.token_broken", Time, Bad, TOKEN;
    TOKEN_TRUSTED = "time.token_trusted", Time, Good, TOKEN;
    CLOCK_DIFFERS = "time.clock_differs", Time, Exception, CLOCK;
    CLOCK_UNSYNCHRONISED = "time.clock_unsynchronised", Time, Exception, CLOCK;
    EXCEPTIONS = "completeness.exceptions", Completeness, Exception, LOG;
    INTERRUPTED = "completeness.interrupted", Completeness, Exception, LOG;
    NOTHING_MISSING = "completeness.nothing_missing", Completeness, Good, LOG;
    UNREAD = "completeness.unread", Completeness, Unknown, LOG;
    NO_LEDGER = "custody.no_ledger", Custody, Unknown, LEDGER;
    LINE_MALFORMED = "custody.line_malformed", Custody, Bad, LEDGER;
    ENTRY_SIGNATURE_DIFFERS = "custody.signature_differs", Custody, Bad, LEDGER;
    ENTRY_SEQUENCE_BROKEN = "custody.sequence_broken", Custody, Bad, LEDGER;
    LINK_BROKEN = "custody.link_broken", Custody, Bad, LEDGER;
    OTHER_PACKAGE = "custody.other_package", Custody, Bad, LEDGER;
    ENTRY_SIGNER_DIFFERS = "custody.signer_differs", Custody, Bad, LEDGER;
    PACKAGE_DIFFERS = "custody.package_differs", Custody, Bad, LEDGER;
    HEAD_DIFFERS = "custody.head_differs", Custody, Bad, LEDGER;
    FIRST_EVENTS = "custody.first_events", Custody, Exception, LEDGER;
    TIME_REVERSED = "custody.time_reversed", Custody, Exception, LEDGER;
    LATER_ENTRY = "custody.later_entry_unjudged", Custody, Exception, LEDGER;
    CHAIN_UNBROKEN = "custody.chain_unbroken", Custody, Good, LEDGER;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_of_the_specification() {
        let specification = include_str!("../../../schemas/README.md");
        let rows = specification.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let code = cells.next()?.trim_end_matches('`').to_owned();
            let axis = cells.next()?.to_owned();
            // What stands behind the status says when it is another one.
            Some((code, axis, cells.next()?.split(' ').next()?.to_owned()))
        });
        let told: Vec<_> = rows
            .filter(|(code, axis, _)| {
                code.contains('.') && Axis::ALL.iter().any(|known| known.to_string() == *axis)
            })
            .collect();
        let ours: Vec<_> = ALL
            .iter()
            .map(|rule| {
                (rule.code.to_owned(), rule.axis.to_string(), format!("{:?}", rule.status).to_lowercase())
            })
            .collect();
        assert_eq!(ours, told);
    }
}
