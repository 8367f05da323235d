//! Owns the CMS structure of a token (RFC 5652, RFC 3161 2.4.2); refuses whatever no signature would cover.

use const_oid::ObjectIdentifier;

use super::TimestampError;
use super::element::{
    Elements, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, constructed, primitive, wrap,
};
use super::scheme::{Family, Hash};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// Most certificates a token may embed: a path of intermediates is short.
const MAX_CERTIFICATES: usize = 10;

/// A token taken apart. Slices are of the token's own bytes.
#[derive(Debug)]
pub(super) struct SignedToken<'a> {
    /// The DER of TSTInfo.
    pub(super) content: &'a [u8],
    /// The embedded certificates, whole, in their order; no two are equal.
    pub(super) certificates: Vec<&'a [u8]>,
    pub(super) signer: SignerId<'a>,
    pub(super) digest: Hash,
    pub(super) family: Family,
    pub(super) attributes: SignedAttributes<'a>,
    pub(super) signature: &'a [u8],
}

/// How SignerInfo names its certificate (RFC 5652 5.3).
#[derive(Debug)]
pub(super) enum SignerId<'a> {
    /// The contents of the issuer's Name, and the serial number's INTEGER contents.
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    /// The subject key identifier.
    KeyIdentifier(&'a [u8]),
}

/// The signed attributes of a token (RFC 5652 11, RFC 5035 5.4).
#[derive(Debug)]
pub(super) struct SignedAttributes<'a> {
    /// The contents of the attribute set: signed under the tag SET OF (RFC 5652 5.4).
    content: &'a [u8],
    pub(super) message_digest: &'a [u8],
    /// The first certificate identifier of each signing-certificate attribute; at least one.
    pub(super) certificate_ids: Vec<CertificateId<'a>>,
}

impl SignedAttributes<'_> {
    /// The bytes the signature is over: the attributes as an explicit SET OF.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        wrap(SET, &[self.content])
    }
}

/// ESSCertID or ESSCertIDv2 (RFC 5035 4 and 5.4.1).
#[derive(Debug)]
pub(super) struct CertificateId<'a> {
    pub(super) hash: CertificateHash,
    pub(super) digest: &'a [u8],
    /// Contents of the issuer's Name and of the serial number's INTEGER.
    pub(super) issuer_serial: Option<(&'a [u8], &'a [u8])>,
}

/// The hash of a certificate identifier. SHA-1 only names a certificate here; it protects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateHash {
    Sha1,
    Sha2(Hash),
}

impl<'a> SignedToken<'a> {
    /// Takes apart a ContentInfo that holds exactly one token by exactly one signer.
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, TimestampError> {
        let mut info = Elements::only(token, SEQUENCE, "ContentInfo")?;
        if info.oid()? != SIGNED_DATA {
            return Err(TimestampError::Malformed("content is not CMS signed data"));
        }
        let signed_data = info.take(constructed(0))?;
        info.finish()?;
        let mut fields = Elements::only(signed_data, SEQUENCE, "SignedData")?;
        version(&mut fields, 3, "SignedData version is not 3")?;
        let digest_algorithms = fields.take(SET)?;
        let content = encapsulated(fields.enter(SEQUENCE, "EncapsulatedContentInfo")?)?;
        let certificates = certificates(fields.take_optional(constructed(0))?)?;
        if fields.take_optional(constructed(1))?.is_some() {
            return Err(TimestampError::Malformed(
                "token carries revocation lists, which no signature covers",
            ));
        }
        let mut signer_infos = fields.enter(SET, "SignerInfos")?;
        fields.finish()?;
        let mut signer_info = signer_infos.enter(SEQUENCE, "SignerInfo")?;
        signer_infos.finish().map_err(|_| TimestampError::Malformed("token has more than one signer"))?;

        let signer = signer(&mut signer_info)?;
        let digest_algorithm = signer_info.take_whole(SEQUENCE)?;
        if digest_algorithms != digest_algorithm.whole {
            return Err(TimestampError::Malformed("digestAlgorithms is not exactly the signer's"));
        }
        let digest = Hash::from_identifier(digest_algorithm.content)?;
        let attributes = attributes(signer_info.take(constructed(0))?)?;
        let family = Family::from_identifier(signer_info.take(SEQUENCE)?, digest)?;
        let signature = signer_info.take(OCTET_STRING)?;
        signer_info.finish().map_err(|_| TimestampError::Malformed("token carries unsigned attributes"))?;
        Ok(Self { content, certificates, signer, digest, family, attributes, signature })
    }
}

fn version(fields: &mut Elements<'_>, wanted: u8, problem: &'static str) -> Result<(), TimestampError> {
    if fields.take(INTEGER)? == [wanted] { Ok(()) } else { Err(TimestampError::Malformed(problem)) }
}

/// The TSTInfo bytes of EncapsulatedContentInfo (RFC 5652 5.2).
fn encapsulated<'a>(mut fields: Elements<'a>) -> Result<&'a [u8], TimestampError> {
    if fields.oid()? != TST_INFO {
        return Err(TimestampError::Malformed("content is not TSTInfo"));
    }
    let mut explicit = fields.enter(constructed(0), "eContent")?;
    fields.finish()?;
    let content = explicit.take(OCTET_STRING)?;
    explicit.finish()?;
    Ok(content)
}

fn certificates(content: Option<&[u8]>) -> Result<Vec<&[u8]>, TimestampError> {
    let mut elements = Elements::new(content.unwrap_or_default(), "certificates");
    let mut certificates = Vec::new();
    while !elements.is_empty() {
        let certificate = elements.take_whole(SEQUENCE)?.whole;
        if certificates.len() == MAX_CERTIFICATES || certificates.contains(&certificate) {
            return Err(TimestampError::Malformed("token embeds a certificate twice or too many"));
        }
        certificates.push(certificate);
    }
    Ok(certificates)
}

/// SignerInfo's version and signer identifier, which go together (RFC 5652 5.3).
fn signer<'a>(fields: &mut Elements<'a>) -> Result<SignerId<'a>, TimestampError> {
    match fields.take(INTEGER)? {
        [1] => {
            let mut id = fields.enter(SEQUENCE, "issuerAndSerialNumber")?;
            let issuer = id.take(SEQUENCE)?;
            let serial = id.take(INTEGER)?;
            id.finish()?;
            Ok(SignerId::IssuerAndSerial { issuer, serial })
        }
        [3] => Ok(SignerId::KeyIdentifier(fields.take(primitive(0))?)),
        _ => Err(TimestampError::Malformed("SignerInfo version is neither 1 nor 3")),
    }
}

fn attributes(content: &[u8]) -> Result<SignedAttributes<'_>, TimestampError> {
    let mut elements = Elements::new(content, "signed attributes");
    let mut seen: Vec<ObjectIdentifier> = Vec::new();
    let mut content_type = None;
    let mut message_digest = None;
    let mut certificate_ids = Vec::new();
    while !elements.is_empty() {
        let mut attribute = elements.enter(SEQUENCE, "signed attribute")?;
        let kind = attribute.oid()?;
        let values = attribute.take(SET)?;
        attribute.finish()?;
        if seen.contains(&kind) {
            return Err(TimestampError::Malformed("a signed attribute stands twice"));
        }
        seen.push(kind);
        match kind {
            CONTENT_TYPE => content_type = Some(single(values, OBJECT_IDENTIFIER)?),
            MESSAGE_DIGEST => message_digest = Some(single(values, OCTET_STRING)?),
            SIGNING_CERTIFICATE => {
                certificate_ids.push(first_certificate_id(single(values, SEQUENCE)?, Generation::V1)?);
            }
            SIGNING_CERTIFICATE_V2 => {
                certificate_ids.push(first_certificate_id(single(values, SEQUENCE)?, Generation::V2)?);
            }
            _ => {}
        }
    }
    if content_type != Some(TST_INFO.as_bytes()) {
        return Err(TimestampError::Broken("signed content type is not TSTInfo"));
    }
    if certificate_ids.is_empty() {
        return Err(TimestampError::Broken("no signed attribute names the signing certificate"));
    }
    let message_digest =
        message_digest.ok_or(TimestampError::Broken("no signed attribute holds the message digest"))?;
    Ok(SignedAttributes { content, message_digest, certificate_ids })
}

/// The contents of the only value of an attribute.
fn single(values: &[u8], tag: u8) -> Result<&[u8], TimestampError> {
    let mut values = Elements::new(values, "signed attribute value");
    let value = values.take(tag)?;
    values.finish()?;
    Ok(value)
}

#[derive(Debug, Clone, Copy)]
enum Generation {
    V1,
    V2,
}

/// The identifier of the signing certificate itself: the first (RFC 5035 5.4.1); the others only restrict the path.
fn first_certificate_id(content: &[u8], generation: Generation) -> Result<CertificateId<'_>, TimestampError> {
    let mut fields = Elements::new(content, "signing certificate attribute");
    let mut ids = fields.enter(SEQUENCE, "signing certificate attribute")?;
    let mut id = ids.enter(SEQUENCE, "ESSCertID")?;
    let hash = match generation {
        Generation::V1 => CertificateHash::Sha1,
        Generation::V2 => match id.take_optional(SEQUENCE)? {
            Some(algorithm) => CertificateHash::Sha2(Hash::from_identifier(algorithm)?),
            None => CertificateHash::Sha2(Hash::Sha256),
        },
    };
    let digest = id.take(OCTET_STRING)?;
    let issuer_serial = match id.is_empty() {
        true => None,
        false => Some(issuer_serial(id.enter(SEQUENCE, "issuerSerial")?)?),
    };
    id.finish()?;
    Ok(CertificateId { hash, digest, issuer_serial })
}

/// The one directory name and the serial number of an IssuerSerial (RFC 5035 4).
fn issuer_serial<'a>(mut fields: Elements<'a>) -> Result<(&'a [u8], &'a [u8]), TimestampError> {
    let mut names = fields.enter(SEQUENCE, "issuerSerial")?;
    let mut name = names.enter(constructed(4), "issuerSerial")?;
    names.finish()?;
    let issuer = name.take(SEQUENCE)?;
    name.finish()?;
    let serial = fields.take(INTEGER)?;
    fields.finish()?;
    Ok((issuer, serial))
}
