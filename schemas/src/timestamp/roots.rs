//! Owns the pinned roots of timestamp authorities (`tsa-roots.pem`); refuses every line it does not understand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::Decode as _;
use rustls_pki_types::CertificateDer;
use webpki::anchor_from_trusted_cert;
use x509_cert::Certificate;

use super::printable;
pub use crate::allowed_signers::TrustFileError;
use crate::digest::Sha256Digest;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates that an organisation trusts to vouch for timestamp authorities. None: nothing is anchored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimestampRoots {
    pub(super) roots: Vec<Root>,
}

/// One pinned root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) der: CertificateDer<'static>,
    pub(super) subject: String,
    pub(super) digest: Sha256Digest,
    pub(super) certificate: Certificate,
}

impl TimestampRoots {
    /// Reads certificates in PEM (RFC 7468 5), as many as there are.
    ///
    /// Between them only blank lines and lines that begin with `#` may stand. A root need not be self-signed:
    /// a pinned intermediate is trusted as well, without its issuer.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustFileError> {
        let mut roots = Vec::new();
        let mut body: Option<String> = None;
        let mut line = 0;
        for text in pem.split(|byte| *byte == b'\n') {
            line += 1;
            let refuse = |reason: &str| TrustFileError { line, reason: reason.to_owned() };
            let text = str::from_utf8(text).map_err(|_| refuse("not text"))?;
            let text = text.strip_suffix('\r').unwrap_or(text);
            body = match (body, text) {
                (None, BEGIN) => Some(String::new()),
                (None, text) if text.trim().is_empty() || text.starts_with('#') => None,
                (None, _) => return Err(refuse("neither a certificate nor a comment")),
                (Some(body), END) => {
                    roots.push(Root::parse(&body).map_err(refuse)?);
                    None
                }
                (Some(body), text) => Some(body + text),
            };
        }
        if body.is_some() {
            return Err(TrustFileError { line, reason: "certificate has no end".to_owned() });
        }
        Ok(Self { roots })
    }

    /// Whether no root is pinned.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// How many roots are pinned.
    pub fn len(&self) -> usize {
        self.roots.len()
    }
}

impl Root {
    fn parse(base64: &str) -> Result<Self, &'static str> {
        let der = STANDARD.decode(base64).map_err(|_| "certificate is not canonical base64")?;
        let certificate = Certificate::from_der(&der).map_err(|_| "certificate is not DER of X.509")?;
        let subject = printable(&certificate.tbs_certificate().subject().to_string());
        let digest = Sha256Digest::of(&der);
        let der = CertificateDer::from(der);
        anchor_from_trusted_cert(&der).map_err(|_| "certificate cannot be used as a root")?;
        Ok(Self { der, subject, digest, certificate })
    }
}
