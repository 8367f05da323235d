//! Owns the checks of a token and of the path behind it; refuses a path that leaves an embedded certificate out.

use std::time::Duration;

use der::Decode as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha1::Sha1;
use sha2::Digest as _;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{self, BasicConstraints, ExtendedKeyUsage, SubjectAltName, SubjectKeyIdentifier};

use super::cms::{CertificateHash, CertificateId, SignedToken, SignerId};
use super::element::{Elements, SEQUENCE, constructed, wrap};
use super::roots::Root;
use super::scheme::{path_schemes, verify_signature};
use super::tst_info::{TstInfo, hexadecimal};
use super::{Anchor, Timestamp, TimestampError, TimestampRoots, printable};
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

/// id-kp-timeStamping (RFC 3161 2.3), dotted and as DER contents.
const TIME_STAMPING: const_oid::ObjectIdentifier =
    const_oid::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
const TIME_STAMPING_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

pub(super) fn verify(
    token: &[u8],
    info: &TstInfo,
    imprint: &Sha256Digest,
    roots: &TimestampRoots,
) -> Result<Timestamp, TimestampError> {
    let token = SignedToken::parse(token)?;
    let signer_der = signer_certificate(&token)?;
    let signer_der = CertificateDer::from(signer_der);
    let signer = EndEntityCert::try_from(&signer_der).map_err(|_| UNREADABLE)?;
    let certificate = Certificate::from_der(&signer_der).map_err(|_| UNREADABLE)?;

    if token.attributes.message_digest != token.digest.digest(token.content) {
        return Err(TimestampError::Broken("message digest is not that of TSTInfo"));
    }
    for id in &token.attributes.certificate_ids {
        check_certificate_id(id, &signer_der, &signer)?;
    }
    check_purpose(&certificate)?;
    if !is_valid_at(&certificate, info.gen_time) {
        return Err(TimestampError::Broken("authority's certificate was not valid at the time of the token"));
    }
    let signed = token.attributes.signed_bytes();
    verify_signature(&signer, token.family, token.digest, &signed, token.signature)?;
    check_authority_name(info, &signer, &certificate)?;
    info.check_imprint(imprint)?;

    let authority = printable(&certificate.tbs_certificate().subject().to_string());
    let anchored = anchor(&signer, &signer_der, &token.certificates, info.gen_time, roots)
        .map_err(|reason| TimestampError::UntrustedAuthority { authority: authority.clone(), reason })?;
    Ok(Timestamp {
        gen_time: info.gen_time,
        accuracy: info.accuracy,
        authority,
        serial: hexadecimal(&info.serial),
        policy: info.policy.to_string(),
        anchored,
    })
}

const UNREADABLE: TimestampError = TimestampError::Broken("an embedded certificate cannot be read");

/// The one embedded certificate that SignerInfo names (RFC 5652 5.3).
fn signer_certificate<'a>(token: &SignedToken<'a>) -> Result<&'a [u8], TimestampError> {
    let mut found = None;
    for der in &token.certificates {
        let der: &'a [u8] = der;
        if is_named(der, &token.signer)? && found.replace(der).is_some() {
            return Err(TimestampError::Broken("two embedded certificates fit the signer identifier"));
        }
    }
    found.ok_or(TimestampError::Broken("no embedded certificate fits the signer identifier"))
}

fn is_named(der: &[u8], id: &SignerId<'_>) -> Result<bool, TimestampError> {
    let certificate_der = CertificateDer::from(der);
    match id {
        SignerId::IssuerAndSerial { issuer, serial } => {
            let certificate = EndEntityCert::try_from(&certificate_der).map_err(|_| UNREADABLE)?;
            Ok(certificate.issuer() == *issuer && certificate.serial() == *serial)
        }
        SignerId::KeyIdentifier(wanted) => {
            let certificate = Certificate::from_der(der).map_err(|_| UNREADABLE)?;
            let found = extension::<SubjectKeyIdentifier>(&certificate)?;
            Ok(found.is_some_and(|(_, identifier)| identifier.0.as_bytes() == *wanted))
        }
    }
}

fn extension<'a, T: der::Decode<'a, Error = der::Error> + const_oid::AssociatedOid>(
    certificate: &'a Certificate,
) -> Result<Option<(bool, T)>, TimestampError> {
    certificate.tbs_certificate().get_extension::<T>().map_err(|_| UNREADABLE)
}

/// Confirms that a signed attribute names the signer's very certificate (RFC 5035 5.4, RFC 5816 2.2.1).
fn check_certificate_id(
    id: &CertificateId<'_>,
    der: &[u8],
    certificate: &EndEntityCert<'_>,
) -> Result<(), TimestampError> {
    let digest = match id.hash {
        CertificateHash::Sha1 => Sha1::digest(der).to_vec(),
        CertificateHash::Sha2(hash) => hash.digest(der),
    };
    if id.digest != digest {
        return Err(TimestampError::Broken("signed attribute names another certificate than the signer's"));
    }
    match id.issuer_serial {
        Some((issuer, serial)) if issuer != certificate.issuer() || serial != certificate.serial() => {
            Err(TimestampError::Broken("signed attribute names another issuer or serial than the signer's"))
        }
        _ => Ok(()),
    }
}

/// Confirms that the certificate is for timestamping and nothing else (RFC 3161 2.3).
fn check_purpose(certificate: &Certificate) -> Result<(), TimestampError> {
    match extension::<ExtendedKeyUsage>(certificate)? {
        Some((true, usage)) if usage.0 == [TIME_STAMPING] => {}
        Some((true, _)) => {
            return Err(TimestampError::Broken("authority's extended key usage is not exactly timeStamping"));
        }
        Some((false, _)) => {
            return Err(TimestampError::Broken("authority's extended key usage is not critical"));
        }
        None => return Err(TimestampError::Broken("authority's certificate has no extended key usage")),
    }
    if let Some((_, usage)) = extension::<pkix::KeyUsage>(certificate)? {
        let signs = pkix::KeyUsages::DigitalSignature | pkix::KeyUsages::NonRepudiation;
        if usage.0.is_empty() || !signs.contains(usage.0) {
            return Err(TimestampError::Broken("authority's key usage is not for signatures only"));
        }
    }
    if extension::<BasicConstraints>(certificate)?.is_some_and(|(_, constraints)| constraints.ca) {
        return Err(TimestampError::Broken("authority's certificate is that of a certification authority"));
    }
    Ok(())
}

fn is_valid_at(certificate: &Certificate, time: UtcTime) -> bool {
    let validity = certificate.tbs_certificate().validity();
    let Ok(seconds) = u64::try_from(time.unix_seconds()) else { return false };
    let time = Duration::from_secs(seconds);
    validity.not_before.to_unix_duration() <= time && time <= validity.not_after.to_unix_duration()
}

/// Confirms that the token's `tsa` field, where present, is a name of the signer's certificate (RFC 3161 2.4.2).
fn check_authority_name(
    info: &TstInfo,
    signer: &EndEntityCert<'_>,
    certificate: &Certificate,
) -> Result<(), TimestampError> {
    let Some(name) = &info.authority_name else { return Ok(()) };
    let subject = wrap(constructed(4), &[&wrap(SEQUENCE, &[signer.subject()])]);
    if *name == subject {
        return Ok(());
    }
    let extensions = certificate.tbs_certificate().extensions().map(Vec::as_slice).unwrap_or_default();
    let alternatives =
        extensions.iter().find(|one| one.extn_id == <SubjectAltName as const_oid::AssociatedOid>::OID);
    if let Some(alternatives) = alternatives {
        let mut names = Elements::only(alternatives.extn_value.as_bytes(), SEQUENCE, "subjectAltName")?;
        while !names.is_empty() {
            if names.next()?.whole == name.as_slice() {
                return Ok(());
            }
        }
    }
    Err(TimestampError::Broken("token names another authority than its certificate"))
}

/// The pinned root behind the signer at the token's time (RFC 5280 6), or what building a path came to.
fn anchor(
    signer: &EndEntityCert<'_>,
    signer_der: &[u8],
    embedded: &[&[u8]],
    time: UtcTime,
    roots: &TimestampRoots,
) -> Result<Anchor, String> {
    if roots.is_empty() {
        return Err("no root is pinned".to_owned());
    }
    let valid: Vec<&Root> =
        roots.roots.iter().filter(|root| is_usable_root(&root.certificate, time)).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        valid.iter().filter_map(|root| anchor_from_trusted_cert(&root.der).ok()).collect();
    let others: Vec<&[u8]> = embedded.iter().copied().filter(|der| *der != signer_der).collect();
    let candidates: Vec<CertificateDer<'_>> = others.iter().map(|der| CertificateDer::from(*der)).collect();
    let seconds = u64::try_from(time.unix_seconds()).map_err(|_| "time is before 1970".to_owned())?;
    let moment = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    // A path may lead past a certificate that another path needs: keep looking for the one that needs them all.
    let accept = |path: &VerifiedPath<'_>| check_path(path, &others, roots);
    // `KeyUsage::required` would demand timeStamping of the intermediates too; the signer's is checked by itself.
    let path = signer
        .verify_for_usage(
            &path_schemes(),
            &anchors,
            &candidates,
            moment,
            KeyUsage::required_if_present(TIME_STAMPING_DER),
            None,
            Some(&accept),
        )
        .map_err(|error| path_problem(&error))?;
    let anchor = path.anchor();
    let root = valid
        .iter()
        .find(|root| anchor_from_trusted_cert(&root.der).is_ok_and(|candidate| candidate == *anchor))
        .ok_or("path ends at no pinned root")?;
    Ok(Anchor { subject: root.subject.clone(), certificate_sha256: root.digest })
}

/// What building a path came to, in words.
fn path_problem(error: &webpki::Error) -> String {
    use webpki::Error;
    let words = match error {
        Error::UnknownIssuer => {
            "no path leads from it, by way of every embedded certificate, to a pinned root"
        }
        Error::CertExpired { .. } => "a certificate of the path had expired at the time of the token",
        Error::CertNotValidYet { .. } => {
            "a certificate of the path was not yet valid at the time of the token"
        }
        Error::InvalidSignatureForPublicKey => {
            "a certificate's signature does not verify by its issuer's key"
        }
        Error::EndEntityUsedAsCa => "an issuer on the path may not issue certificates",
        Error::RequiredEkuNotFoundContext(_) => "an issuer on the path may not issue for timestamping",
        Error::PathLenConstraintViolated => "the path is longer than one of its issuers allows",
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a certificate of the path is signed with an unsupported algorithm"
        }
        other => return format!("path is refused: {other:?}"),
    };
    words.to_owned()
}

/// Whether a pinned certificate was valid at `time` and may sign certificates, as `openssl ts -verify` asks too.
fn is_usable_root(root: &Certificate, time: UtcTime) -> bool {
    is_valid_at(root, time) && may_sign_certificates(root)
}

/// webpki leaves the key usage of issuers to its caller (RFC 5280 4.2.1.3).
fn may_sign_certificates(certificate: &Certificate) -> bool {
    match certificate.tbs_certificate().get_extension::<pkix::KeyUsage>() {
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Confirms that issuers may sign certificates, and that no embedded certificate is neither used nor pinned.
///
/// Nothing else would notice a change in an unused one.
fn check_path(
    path: &VerifiedPath<'_>,
    others: &[&[u8]],
    roots: &TimestampRoots,
) -> Result<(), webpki::Error> {
    let used: Vec<CertificateDer<'_>> = path.intermediate_certificates().map(|cert| cert.der()).collect();
    for der in &used {
        let certificate = Certificate::from_der(der).map_err(|_| webpki::Error::BadDer)?;
        if !may_sign_certificates(&certificate) {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
    }
    let is_covered = |der: &&[u8]| {
        used.iter().any(|one| one.as_ref() == *der)
            || roots.roots.iter().any(|root| root.der.as_ref() == *der)
    };
    if others.iter().all(is_covered) { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
}
