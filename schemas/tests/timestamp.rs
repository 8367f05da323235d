//! Owns the comparison with real timestamp authorities: OpenSSL's, made for each test, and forgeries of their tokens.
#![allow(clippy::disallowed_methods, reason = "the authorities and the second verifier are host programs")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::timestamp::{TimestampError, TimestampRoots, TimestampToken, request};

const DATA: &[u8] = b"the collector's signature";
const NONCE: u64 = 0x8123_4567_89ab_cdef;

fn imprint() -> Sha256Digest {
    Sha256Digest::of(DATA)
}

/// A fresh directory for one test.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("timestamp").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("target directory is writable");
    path
}

fn try_openssl(dir: &Path, command: &str) -> Output {
    Command::new("openssl")
        .args(command.split_whitespace())
        .current_dir(dir)
        .env_remove("OPENSSL_CONF")
        .output()
        .expect("openssl runs")
}

fn openssl(dir: &Path, command: &str) -> Vec<u8> {
    let output = try_openssl(dir, command);
    assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(dir.join(name), content).expect("write");
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).expect("read")
}

/// A root, an intermediate and an authority in one directory.
struct Authority {
    dir: PathBuf,
}

const GOOD_PURPOSE: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n";

impl Authority {
    /// Keys made by `key` (arguments of `openssl genpkey`), certificates signed with `hash`.
    fn new(name: &str, key: &str, hash: &str) -> Self {
        let dir = directory(name);
        write(&dir, "req.cnf", "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=unused\n");
        for who in ["root", "ca", "tsa"] {
            openssl(&dir, &format!("genpkey {key} -out {who}.key"));
        }
        let authority = Self { dir };
        authority.certify(
            "root",
            "root",
            hash,
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
        );
        authority.certify(
            "ca",
            "root",
            hash,
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n",
        );
        authority.certify("tsa", "ca", hash, GOOD_PURPOSE);
        authority
    }

    /// Certifies `who`, whose key exists, by `issuer`.
    fn certify(&self, who: &str, issuer: &str, hash: &str, extensions: &str) {
        let dir = &self.dir;
        write(dir, "ext", format!("subjectKeyIdentifier=hash\n{extensions}"));
        let subject = format!("/O=Holdfast_test/CN={who}");
        openssl(dir, &format!("req -new -config req.cnf -key {who}.key -subj {subject} -out {who}.csr"));
        let sign = if who == issuer {
            format!("-signkey {who}.key")
        } else {
            format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial")
        };
        openssl(
            dir,
            &format!("x509 -req -in {who}.csr {sign} -{hash} -days 3650 -extfile ext -out {who}.pem"),
        );
    }

    fn configure(&self, digests: &str, more: &str) {
        let config = format!(
            "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\ncrypto_device=builtin\nsigner_cert=tsa.pem\ncerts=ca.pem\n\
             signer_key=tsa.key\ndefault_policy=1.3.6.1.4.1.99999.1\ndigests={digests}\n{more}"
        );
        write(&self.dir, "ts.cnf", config);
        write(&self.dir, "serial", "0A01\n");
    }

    /// The authority's answer to our request.
    fn answer(&self) -> Vec<u8> {
        write(&self.dir, "x.tsq", request(&imprint(), NONCE));
        openssl(&self.dir, "ts -reply -config ts.cnf -queryfile x.tsq -out x.resp");
        read(&self.dir, "x.resp")
    }

    fn token(&self) -> TimestampToken {
        self.configure("sha256", "signer_digest=sha256\n");
        TimestampToken::from_response(&self.answer()).expect("a token")
    }

    fn roots(&self) -> TimestampRoots {
        TimestampRoots::from_pem(&read(&self.dir, "root.pem")).expect("a root")
    }

    fn is_verified_by_openssl(&self, stored: &[u8]) -> bool {
        write(&self.dir, "x.tsr", stored);
        write(&self.dir, "data", DATA);
        try_openssl(&self.dir, "ts -verify -in x.tsr -data data -CAfile root.pem").status.success()
    }

    /// A stored token over `info` signed by `signer`'s key with `openssl cms`.
    fn forge(&self, info: &[u8], options: &str) -> Vec<u8> {
        write(&self.dir, "info", info);
        let options = if options.contains("-signer") {
            options.to_owned()
        } else {
            format!("-signer tsa.pem {options}")
        };
        let key = if options.contains("-inkey") { "" } else { "-inkey tsa.key" };
        openssl(
            &self.dir,
            &format!(
                "cms -sign -binary -nodetach -nosmimecap -md sha256 -econtent_type 1.2.840.113549.1.9.16.1.4 \
                 -in info -outform DER -out forged {options} {key}"
            ),
        );
        stored(&read(&self.dir, "forged"))
    }

    fn verdict(&self, stored: &[u8]) -> Result<(), TimestampError> {
        TimestampToken::from_stored(stored)?.verify(&imprint(), &self.roots()).map(|_| ())
    }
}

fn p256(name: &str) -> Authority {
    Authority::new(name, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "sha256")
}

/// One DER element.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..=0x7f => bytes.push(u8::try_from(short).expect("short")),
        long @ ..=0xff => bytes.extend([0x81, u8::try_from(long).expect("one byte")]),
        longer => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(longer).expect("two bytes").to_be_bytes());
        }
    }
    bytes.extend(content);
    bytes
}

/// The elements inside one DER element.
fn children(element: &[u8]) -> Vec<Vec<u8>> {
    let split = |bytes: &[u8]| -> (usize, usize) {
        match bytes[1] {
            0x81 => (3, usize::from(bytes[2])),
            0x82 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            short => (2, usize::from(short)),
        }
    };
    let mut rest = &element[split(element).0..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (header, length) = split(rest);
        let (one, after) = rest.split_at(header + length);
        found.push(one.to_vec());
        rest = after;
    }
    found
}

fn rebuild(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn stored(token: &[u8]) -> Vec<u8> {
    element(0x30, &[&[0x30, 3, 2, 1, 0], token])
}

/// `stored` with the fields of its SignedData changed by `change`.
fn with_signed_data(stored_token: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut info = children(&children(stored_token)[1]);
    let mut fields = children(&children(&info[1])[0]);
    change(&mut fields);
    info[1] = element(0xa0, &[&rebuild(0x30, &fields)]);
    stored(&rebuild(0x30, &info))
}

/// `stored` with the fields of its SignerInfo changed by `change`.
fn with_signer_info(stored_token: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    with_signed_data(stored_token, |fields| {
        let last = fields.last_mut().expect("SignerInfos");
        let mut signer = children(&children(last)[0]);
        change(&mut signer);
        *last = element(0x31, &[&rebuild(0x30, &signer)]);
    })
}

fn tst_info(time: &[u8], more: &[&[u8]]) -> Vec<u8> {
    let sha256 = [0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0];
    let message_imprint = element(0x30, &[&sha256, &element(4, &[imprint().as_bytes()])]);
    let head: [&[u8]; 5] =
        [&[2, 1, 1], &[6, 3, 42, 3, 4], &message_imprint, &[2, 1, 7], &element(0x18, &[time])];
    element(0x30, &[&head[..], more].concat())
}

const NOW_PLAIN: &str = "20300101120000Z";

#[test]
fn tokens_of_every_kind_of_authority_are_verified_by_us_and_by_openssl() {
    let rsa = |bits: u32| format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}");
    let ec = |curve: &str| format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}");
    let everything =
        "accuracy=secs:1,millisecs:500,microsecs:100\nclock_precision_digits=6\nordering=yes\ntsa_name=yes\n";
    for (name, key, hash) in [
        ("rsa2048", rsa(2048), "sha256"),
        ("rsa3072", rsa(3072), "sha384"),
        ("p256", ec("P-256"), "sha256"),
        ("p384", ec("P-384"), "sha384"),
        ("p256_512", ec("P-256"), "sha512"),
    ] {
        let authority = Authority::new(name, &key, hash);
        for more in [
            "signer_digest=sha256\n".to_owned(),
            format!("signer_digest=sha384\ness_cert_id_alg=sha1\n{everything}"),
            format!("signer_digest=sha512\ness_cert_id_alg=sha512\ness_cert_id_chain=yes\n{everything}"),
        ] {
            authority.configure("sha256", &more);
            let token = TimestampToken::from_response(&authority.answer()).expect("a token");
            assert_eq!(token.answers(&imprint(), NONCE), Ok(()));
            assert_eq!(token.answers(&imprint(), 1), Err(TimestampError::NonceMismatch));
            assert_eq!(token.nonce(), Some(NONCE));
            assert_eq!(token.imprint(), Some(imprint()));

            let stored = token.to_stored_response();
            assert_eq!(TimestampToken::from_stored(&stored).as_ref(), Ok(&token));
            let timestamp = token.verify(&imprint(), &authority.roots()).expect("a verified token");
            assert!(authority.is_verified_by_openssl(&stored), "{name} {more}");
            assert_eq!(timestamp.gen_time, token.gen_time());
            assert_eq!(timestamp.accuracy, more.contains("accuracy").then_some(1_500_100_000));
            assert_eq!(timestamp.authority, "CN=tsa,O=Holdfast_test");
            assert_eq!(timestamp.anchored.subject, "CN=root,O=Holdfast_test");
            assert_eq!(timestamp.policy, "1.3.6.1.4.1.99999.1");
            assert!(timestamp.serial.starts_with("0a0"), "{}", timestamp.serial);
        }
    }
}

#[test]
fn request_is_what_openssl_would_ask() {
    let dir = directory("request");
    write(&dir, "data", DATA);
    for nonce in [0, 0x7f, 0x80, u64::MAX, NONCE] {
        write(&dir, "x.tsq", request(&imprint(), nonce));
        let text = String::from_utf8(openssl(&dir, "ts -query -in x.tsq -text")).expect("text");
        assert!(
            text.contains("Hash Algorithm: sha256") && text.contains("Certificate required: yes"),
            "{text}"
        );
        let shown = text.lines().find_map(|line| line.strip_prefix("Nonce: 0x")).expect("a nonce");
        assert_eq!(u64::from_str_radix(shown, 16), Ok(nonce));
    }
    // Without a nonce OpenSSL's request has the same bytes but for the nonce's own.
    openssl(&dir, "ts -query -data data -sha256 -cert -no_nonce -out theirs");
    let mut ours = children(&request(&imprint(), 5));
    ours.remove(2);
    assert_eq!(rebuild(0x30, &ours), read(&dir, "theirs"));
}

#[test]
fn wrong_root_wrong_data_and_no_root_are_told_apart() {
    let (ours, other) = (p256("root_ours"), p256("root_other"));
    let token = ours.token();
    for roots in [other.roots(), TimestampRoots::default()] {
        let refused = token.verify(&imprint(), &roots);
        assert!(matches!(refused, Err(TimestampError::UntrustedAuthority { .. })), "{refused:?}");
    }
    let both = [read(&other.dir, "root.pem"), b"# ours\n\n".to_vec(), read(&ours.dir, "root.pem")].concat();
    let both = TimestampRoots::from_pem(&both).expect("two roots");
    assert_eq!(both.len(), 2);
    assert!(token.verify(&imprint(), &both).is_ok());
    // A pinned intermediate is an anchor too; the embedded copy of it is byte-identical, so it is covered.
    let pinned = TimestampRoots::from_pem(&read(&ours.dir, "ca.pem")).expect("an intermediate");
    assert!(token.verify(&imprint(), &pinned).is_ok());

    let others_data = Sha256Digest::of(b"other data");
    for roots in [ours.roots(), TimestampRoots::default()] {
        let refused = token.verify(&others_data, &roots);
        assert!(matches!(refused, Err(TimestampError::ImprintMismatch { .. })), "{refused:?}");
    }
}

#[test]
fn refusal_gives_the_authoritys_status_and_words() {
    let authority = p256("refusal");
    authority.configure("sha512", "signer_digest=sha256\n");
    let refused = TimestampToken::from_response(&authority.answer());
    let Err(TimestampError::Refused { status: 2, text }) = refused else { panic!("{refused:?}") };
    assert!(text.contains("not supported") && text.contains("badAlg"), "{text}");
}

#[test]
fn certificates_for_other_purposes_are_refused() {
    let authority = p256("purpose");
    let info = tst_info(NOW_PLAIN.as_bytes(), &[]);
    let good = "-certfile ca.pem -cades";
    assert_eq!(authority.verdict(&authority.forge(&info, good)), Ok(()), "the forger works");
    assert_eq!(
        authority.verdict(&authority.forge(&info, &format!("{good} -keyid"))),
        Ok(()),
        "by key identifier"
    );
    for (purpose, reason) in [
        ("", "no extended key usage"),
        ("extendedKeyUsage=timeStamping\n", "not critical"),
        ("extendedKeyUsage=critical,timeStamping,codeSigning\n", "not exactly timeStamping"),
        ("extendedKeyUsage=critical,codeSigning\n", "not exactly timeStamping"),
        (
            "extendedKeyUsage=critical,timeStamping\nkeyUsage=keyEncipherment,digitalSignature\n",
            "signatures only",
        ),
        ("extendedKeyUsage=critical,timeStamping\nbasicConstraints=CA:TRUE\n", "certification authority"),
    ] {
        authority.certify("tsa", "ca", "sha256", purpose);
        match authority.verdict(&authority.forge(&info, good)) {
            Err(TimestampError::Broken(found)) => assert!(found.contains(reason), "{purpose}: {found}"),
            other => panic!("{purpose}: {other:?}"),
        }
    }
}

#[test]
fn defects_of_a_token_are_refused_each_for_its_own_reason() {
    use TimestampError::{Broken, Malformed, Unsupported, UntrustedAuthority};
    let authority = p256("defects");
    let good = "-certfile ca.pem -cades";
    let forge =
        |more: &[&[u8]]| authority.verdict(&authority.forge(&tst_info(NOW_PLAIN.as_bytes(), more), good));

    assert_eq!(forge(&[&[2, 1, 5]]), Ok(()), "nonce");
    assert_eq!(forge(&[&[0x30, 3, 0x80, 1, 9], &[1, 1, 0]]), Ok(()), "accuracy; ordering FALSE written out");
    assert!(matches!(forge(&[&[0x30, 4, 0x80, 2, 3, 0xe8]]), Err(Malformed(_))), "1000 milliseconds");
    assert_eq!(forge(&[&[2, 1, 0x80]]), Ok(()), "negative nonce");
    assert!(matches!(forge(&[&[2, 2, 0, 5]]), Err(Malformed(_))), "nonce not minimal");
    assert!(matches!(forge(&[&[5, 0]]), Err(Malformed(_))), "unknown field");
    let critical = [0xa1, 0x0f, 0x30, 0x0d, 6, 3, 42, 3, 4, 1, 1, 0xff, 4, 3, 2, 1, 1];
    assert_eq!(forge(&[&critical]), Err(Unsupported("critical extension")));
    let plain = [0xa1, 0x0c, 0x30, 0x0a, 6, 3, 42, 3, 4, 4, 3, 2, 1, 1];
    assert_eq!(forge(&[&plain]), Ok(()), "extension that is not critical");
    let other_name = element(0xa0, &[&element(0x82, &[b"tsa.example"])]);
    assert!(matches!(forge(&[&other_name]), Err(Broken(reason)) if reason.contains("another authority")));

    let at = |time: &str, options: &str| {
        authority.verdict(&authority.forge(&tst_info(time.as_bytes(), &[]), options))
    };
    assert_eq!(at("20300101120000.123456789Z", good), Ok(()));
    for time in ["20990101120000Z", "20000101120000Z"] {
        assert!(matches!(at(time, good), Err(Broken(reason)) if reason.contains("not valid at the time")));
    }
    assert!(matches!(at("20300101120000", good), Err(Malformed("genTime"))));
    assert!(
        matches!(at(NOW_PLAIN, "-certfile ca.pem"), Err(Broken(reason)) if reason.contains("signing certificate"))
    );
    assert!(matches!(at(NOW_PLAIN, "-cades"), Err(UntrustedAuthority { .. })), "no intermediate");
    assert!(matches!(at(NOW_PLAIN, &format!("{good} -nocerts")), Err(Broken(_))), "no signer certificate");
    assert!(matches!(at(NOW_PLAIN, &format!("{good} -md sha1")), Err(Unsupported("digest algorithm"))));
}

#[test]
fn nothing_unsigned_can_be_added_to_a_token() {
    use TimestampError::{ImprintMismatch, Malformed, UntrustedAuthority};
    let authority = p256("additions");
    let stored = authority.token().to_stored_response();
    assert_eq!(authority.verdict(&stored), Ok(()));
    let root_in_der =
        children(&element(0x30, &[&openssl(&authority.dir, "x509 -in root.pem -outform DER")])).remove(0);
    let add_certificate = |certificate: &[u8]| {
        with_signed_data(&stored, |fields| {
            let mut certificates = children(&fields[3]);
            certificates.push(certificate.to_vec());
            fields[3] = rebuild(0xa0, &certificates);
        })
    };
    assert_eq!(
        authority.verdict(&add_certificate(&root_in_der)),
        Ok(()),
        "the pinned root itself may be embedded"
    );
    let stranger = openssl(&p256("additions_stranger").dir, "x509 -in root.pem -outform DER");
    assert!(
        matches!(authority.verdict(&add_certificate(&stranger)), Err(UntrustedAuthority { .. })),
        "unused"
    );
    assert!(authority.verdict(&add_certificate(&root_in_der[..50])).is_err());
    let twice = children(&children(&children(&children(&children(&stored)[1])[1])[0])[3])[0].clone();
    assert!(matches!(authority.verdict(&add_certificate(&twice)), Err(Malformed(_))), "embedded twice");

    let crl = with_signed_data(&stored, |fields| fields.insert(4, element(0xa1, &[&[0x30, 0]])));
    assert!(matches!(authority.verdict(&crl), Err(Malformed(reason)) if reason.contains("revocation")));
    let unsigned = with_signer_info(&stored, |fields| {
        fields.push(element(0xa1, &[&element(0x30, &[&[6, 3, 42, 3, 4], &[0x31, 2, 5, 0]])]));
    });
    assert!(matches!(authority.verdict(&unsigned), Err(Malformed(reason)) if reason.contains("unsigned")));
    let two = with_signed_data(&stored, |fields| {
        let signer = children(&fields[4])[0].clone();
        fields[4] = element(0x31, &[&signer, &signer]);
    });
    assert!(
        matches!(authority.verdict(&two), Err(Malformed(reason)) if reason.contains("more than one signer"))
    );
    let another_set = with_signed_data(&stored, |fields| {
        fields[1] = element(0x31, &[&[0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0]]);
    });
    assert!(
        matches!(authority.verdict(&another_set), Err(Malformed(reason)) if reason.contains("digestAlgorithms"))
    );
    let wrong = Sha256Digest::of(b"");
    let token = TimestampToken::from_stored(&stored).expect("a token");
    assert!(matches!(token.answers(&wrong, NONCE), Err(ImprintMismatch { .. })));
}

#[test]
fn path_is_judged_by_every_certificate_on_it() {
    let authority = p256("path");
    let reason = |authority: &Authority| match authority.verdict(&authority.token().to_stored_response()) {
        Err(TimestampError::UntrustedAuthority { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let authority_only = "basicConstraints=critical,CA:TRUE\n";
    for (extensions, expected) in [
        ("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign\n", "may not issue certificates"),
        ("basicConstraints=critical,CA:FALSE\n", "may not issue certificates"),
        (
            "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=serverAuth\n",
            "may not issue for timestamping",
        ),
    ] {
        authority.certify("ca", "root", "sha256", extensions);
        let found = reason(&authority);
        assert!(found.contains(expected), "{extensions}: {found}");
    }
    authority.certify("ca", "root", "sha1", authority_only);
    assert!(reason(&authority).contains("unsupported algorithm"), "SHA-1 on the path");
    authority.certify("ca", "root", "sha256", authority_only);
    assert_eq!(authority.verdict(&authority.token().to_stored_response()), Ok(()));
}

#[test]
fn cross_certificate_is_accepted_where_a_path_needs_it() {
    // A second root certifies the key of the first: with both pinned, the shorter path would leave it out.
    let authority = p256("cross");
    openssl(&authority.dir, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out old.key");
    let issuer = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    let root = read(&authority.dir, "root.pem");
    authority.certify("old", "old", "sha256", issuer);
    authority.certify("root", "old", "sha256", issuer);
    let chain = [read(&authority.dir, "ca.pem"), read(&authority.dir, "root.pem")].concat();
    write(&authority.dir, "ca.pem", chain);
    let token = authority.token();
    let old = read(&authority.dir, "old.pem");
    let verdict = |pem: &[u8]| {
        let roots = TimestampRoots::from_pem(pem).expect("roots");
        token.verify(&imprint(), &roots).map(|timestamp| timestamp.anchored.subject)
    };
    for pinned in [old.clone(), [&root[..], &old].concat(), [&old[..], &root].concat()] {
        assert_eq!(verdict(&pinned).as_deref(), Ok("CN=old,O=Holdfast_test"));
    }
    // With the first root alone nothing vouches for the cross-certificate, whose bits would then be free.
    assert!(matches!(verdict(&root), Err(TimestampError::UntrustedAuthority { .. })));
}

#[test]
fn stored_form_is_exactly_status_and_token() {
    let authority = p256("stored");
    let token = authority.token();
    let stored_token = token.to_stored_response();
    let bare = children(&stored_token).remove(1);
    let accepted = |bytes: &[u8]| TimestampToken::from_stored(bytes).is_ok();
    assert!(accepted(&stored(&bare)));
    assert!(!accepted(&bare), "bare token");
    assert!(!accepted(&[&stored_token[..], &[0]].concat()), "trailing byte");
    assert!(!accepted(&element(0x30, &[&[0x30, 3, 2, 1, 1], &bare])), "grantedWithMods");
    assert!(!accepted(&element(0x30, &[&[0x30, 4, 2, 2, 0, 0], &bare])), "status not minimal");
    assert!(!accepted(&element(0x30, &[&[0x30, 7, 2, 1, 0, 0x30, 2, 0x0c, 0], &bare])), "status text");
    assert!(!accepted(&element(0x30, &[&[0x30, 3, 2, 1, 0], &bare, &[5, 0]])), "field after the token");
    let long_length = [&[0x30, 0x83, 0][..], &stored_token[2..]].concat();
    assert!(!accepted(&long_length), "length not minimal");
    let granted_with_mods = element(0x30, &[&[0x30, 3, 2, 1, 1], &bare]);
    assert_eq!(TimestampToken::from_response(&granted_with_mods).as_ref(), Ok(&token));
}

#[test]
fn every_bit_of_a_stored_token_matters() {
    for (name, key) in [
        ("flip_p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        ("flip_rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
    ] {
        let authority = Authority::new(name, key, "sha256");
        let roots = authority.roots();
        let stored = authority.token().to_stored_response();
        let accepted = |bytes: &[u8]| {
            TimestampToken::from_stored(bytes).is_ok_and(|token| token.verify(&imprint(), &roots).is_ok())
        };
        assert!(accepted(&stored));
        let mut caught = 0;
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepted(&flipped), "{name}: bit {bit} does not matter");
            caught += 1;
        }
        for length in 0..stored.len() {
            assert!(TimestampToken::from_stored(&stored[..length]).is_err(), "{name}: cut at {length}");
            assert!(TimestampToken::from_response(&stored[..length]).is_err(), "{name}: cut at {length}");
        }
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut garbled = stored.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(state >> 33).expect("31 bits") % garbled.len();
                garbled[at] = state.to_be_bytes()[7 - at % 4];
            }
            assert!(garbled == stored || !accepted(&garbled), "{name}: garbled token accepted");
        }
        println!(
            "{name}: {} single-bit changes tried, {caught} caught; {} cuts refused",
            stored.len() * 8,
            stored.len()
        );
    }
}

#[test]
fn root_files_with_lines_nobody_understands_are_refused() {
    let authority = p256("roots");
    let pem = String::from_utf8(read(&authority.dir, "root.pem")).expect("PEM");
    let line = |text: &str| TimestampRoots::from_pem(text.as_bytes()).map(|_| ()).map_err(|error| error.line);
    assert_eq!(line(""), Ok(()));
    assert!(TimestampRoots::from_pem(b"").expect("no roots").is_empty());
    assert_eq!(line(&format!("# comment\r\n\r\n{}", pem.replace('\n', "\r\n"))), Ok(()));
    assert_eq!(line(&format!("{pem}stray\n")), Err(pem.lines().count() + 1));
    assert_eq!(line(&pem.replace("-----END CERTIFICATE-----\n", "")), Err(pem.lines().count()));
    assert_eq!(line(&format!("x{pem}")), Err(1));
    assert_eq!(line(&pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE")), Err(1));
    assert_eq!(line(&pem.replacen("MII", "MI*", 1)), Err(pem.lines().count()));
    let key = openssl(&authority.dir, "pkey -in tsa.key -pubout");
    assert!(TimestampRoots::from_pem(&key).is_err());
}
