//! Owns what the lies are made from: three real packages, their ledgers, two real authorities, keys; refuses to lie itself.

use std::fs;
use std::path::Path;

use ed25519_dalek::SigningKey;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::report::Verdict;
use holdfast_tests::forge::{Hands, Ledger, Package, public_key, stolen_key, stranger};
use holdfast_tests::{Authority, Capture, Captured, stock, workplace};
use tempfile::TempDir;

/// A forgery, and what the specification says of it.
pub(crate) struct Lie {
    pub(crate) name: &'static str,
    pub(crate) told: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) codes: Vec<&'static str>,
    pub(crate) absent: Vec<&'static str>,
    pub(crate) package: Vec<u8>,
    pub(crate) ledger: Option<Vec<u8>>,
    pub(crate) trust: Option<Files>,
    pub(crate) expect_head: Option<Sha256Digest>,
}

/// Files of a folder, with their names.
pub(crate) type Files = Vec<(&'static str, Vec<u8>)>;

impl Lie {
    /// A lie, told in one sentence.
    pub(crate) fn new(name: &'static str, told: &'static str) -> Self {
        Self {
            name,
            told,
            verdict: Verdict::Failed,
            codes: Vec::new(),
            absent: Vec::new(),
            package: Vec::new(),
            ledger: None,
            trust: None,
            expect_head: None,
        }
    }

    pub(crate) fn package(mut self, bytes: Vec<u8>) -> Self {
        self.package = bytes;
        self
    }

    pub(crate) fn ledger(mut self, bytes: Vec<u8>) -> Self {
        self.ledger = Some(bytes);
        self
    }

    pub(crate) fn trust(mut self, files: Files) -> Self {
        self.trust = Some(files);
        self
    }

    pub(crate) fn expect_head(mut self, head: Sha256Digest) -> Self {
        self.expect_head = Some(head);
        self
    }

    /// The verdict, and every code that is worse than good; without a ledger `custody.no_ledger` goes without saying.
    pub(crate) fn expect(mut self, verdict: Verdict, codes: &[&'static str]) -> Self {
        self.verdict = verdict;
        self.codes = codes.to_vec();
        // What has not the form of a package is not judged any further.
        let is_judged = !codes.contains(&UNREADABLE);
        if self.ledger.is_none() && is_judged {
            self.codes.push("custody.no_ledger");
        }
        if !is_judged {
            *self.codes.iter_mut().find(|code| **code == UNREADABLE).unwrap() = "completeness.unread";
        }
        self
    }

    /// FAILED, with these codes.
    pub(crate) fn fails(self, codes: &[&'static str]) -> Self {
        self.expect(Verdict::Failed, codes)
    }

    /// Codes that must not be found.
    pub(crate) fn without(mut self, codes: &[&'static str]) -> Self {
        self.absent = codes.to_vec();
        self
    }
}

/// Stands for `completeness.unread` where the file could not be read as a package at all.
pub(crate) const UNREADABLE: &str = "(nothing further is read)";

/// Where lies are made.
pub(crate) struct Workshop {
    base: Captured,
    other: Captured,
    drill: Captured,
    agency: Authority,
    /// An authority that the trust folder does not list.
    pub(crate) stranger: Authority,
    trust: Files,
    examiner: SigningKey,
    _workplace: TempDir,
}

impl Workshop {
    /// Collects the packages.
    pub(crate) fn open() -> Self {
        let workplace = workplace();
        let at = workplace.path();
        let [agency, stranger_authority] =
            ["agency", "stranger"].map(|name| long_lived(Authority::start(at, name)));
        let tree = Path::new("/tmp/holdfast-vectors");
        plant(tree);
        let all = format!("{}/**", tree.display());
        let capture = |paths: &str, more: &[&str]| {
            let mut capture = Capture::of_path(at, paths);
            capture.arguments.extend(["--case", "IR-2026-041"].map(str::to_owned));
            capture.arguments.extend(more.iter().map(|word| (*word).to_owned()));
            capture.authority = Some(&agency);
            capture.run()
        };
        let base = capture(&all, &[]);
        let other = capture(&format!("{}/etc/*", tree.display()), &[]);
        let drill = capture(&all, &["--exercise"]);
        let retired = format!("# Lost in 2025.\n{} retired\n", public_key(&stranger(200)).to_openssh());
        let trust = vec![
            ("allowed_signers", fs::read(base.trust.join("allowed_signers")).unwrap()),
            ("revoked_keys", retired.into_bytes()),
            ("tsa-roots.pem", fs::read(&agency.root).unwrap()),
        ];
        let examiner = stolen_key(&at.join("examiner"));
        fs::remove_dir_all(tree).unwrap();
        Self {
            base,
            other,
            drill,
            agency,
            stranger: stranger_authority,
            trust,
            examiner,
            _workplace: workplace,
        }
    }

    /// The package that nobody touched.
    pub(crate) fn base(&self) -> Package {
        Package::open(&self.base.package)
    }

    /// Its ledger.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::open(&self.base.ledger)
    }

    /// Another package by the same examiner.
    pub(crate) fn other(&self) -> Package {
        Package::open(&self.other.package)
    }

    /// The other package's ledger.
    pub(crate) fn other_ledger(&self) -> Ledger {
        Ledger::open(&self.other.ledger)
    }

    /// A drill by the same examiner.
    pub(crate) fn drill(&self) -> Package {
        Package::open(&self.drill.package)
    }

    /// The organisation's trust folder.
    pub(crate) fn trust(&self) -> Files {
        self.trust.clone()
    }

    /// The trust folder with one file replaced, or left out.
    pub(crate) fn trust_with(&self, name: &'static str, content: Option<Vec<u8>>) -> Files {
        let mut files: Files = self.trust().into_iter().filter(|(known, _)| *known != name).collect();
        files.extend(content.map(|content| (name, content)));
        files
    }

    /// The trust folder with these options for the examiner's key.
    pub(crate) fn trust_with_options(&self, options: &str) -> Files {
        let line = format!("examiner@example.gov {options} {}\n", public_key(&self.examiner).to_openssh());
        self.trust_with("allowed_signers", Some(line.into_bytes()))
    }

    /// The examiner's key, in the wrong hands.
    pub(crate) fn examiner(&self) -> SigningKey {
        self.examiner.clone()
    }

    /// The hands of an insider, who holds the examiner's key and gets a token from the organisation's own authority.
    pub(crate) fn insider(&self) -> Hands<'_> {
        Hands { collector: stranger(1), examiner: Some(self.examiner()), authority: Some(&self.agency) }
    }

    /// The hands of a stranger, who has keys of his own and asks the same public authority.
    pub(crate) fn outsider(&self) -> Hands<'_> {
        Hands { collector: stranger(1), examiner: Some(stranger(2)), authority: Some(&self.agency) }
    }

    /// A token of the organisation's authority.
    pub(crate) fn agency_token(&self, data: &[u8]) -> Vec<u8> {
        holdfast_tests::forge::token(&self.agency, data)
    }

    /// What is found of the host's clock where no trusted token stands in for it: the host's own word, in the package.
    pub(crate) fn unsynchronised(&self) -> Option<&'static str> {
        let doubts = self.base().collection().clock.end.synchronised == Some(false);
        doubts.then_some("time.clock_unsynchronised")
    }
}

/// Gives an authority certificates that stay valid for thirty years: the vectors are to outlive their makers' patience.
fn long_lived(authority: Authority) -> Authority {
    let openssl = |line: &str| stock("openssl", &line.split(' ').collect::<Vec<_>>(), &authority.folder);
    let name = authority.folder.file_name().unwrap().to_string_lossy();
    openssl(&format!(
        "req -new -x509 -key root.key -config tsa.cnf -extensions root -subj /O=Example-Agency/CN={name}-root -days 10950 -out root.pem"
    ));
    openssl(
        "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile tsa.cnf -extensions authority -days 10950 -out tsa.pem",
    );
    authority
}

/// Plants the files that are collected.
fn plant(tree: &Path) {
    for (name, content) in [
        ("etc/hosts", "127.0.0.1 localhost\n"),
        ("etc/motd", "authorised use only\n"),
        ("var/auth.log", "Nov 24 03:12:09 sshd: Accepted password for root from 203.0.113.7\n"),
    ] {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}
