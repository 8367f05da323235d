//! Owns RFC 3161 timestamps: request, stored token, verification; refuses tokens of which a single bit is free.
//!
//! Nothing here reads a clock or a network. A token authenticates itself, so it may arrive over plain HTTP.
//! Left free by the formats themselves, and so not caught: another order of the embedded certificates, `s`
//! negated in an ECDSA signature, `rsaEncryption` against `sha256WithRSAEncryption` and NULL against absent
//! parameters, all in fields that no signature covers. None changes what a token says or who said it.

mod cms;
mod element;
mod roots;
mod scheme;
mod tst_info;
mod verify;

use crate::digest::Sha256Digest;
use crate::time::UtcTime;

use self::cms::SignedToken;
use self::element::{
    BIT_STRING, BOOLEAN, Elements, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE,
};
use self::element::{UTF8_STRING, small, wrap};
use self::tst_info::TstInfo;

pub use self::roots::{TimestampRoots, TrustFileError};

/// Largest token read, in bytes; one with three certificates takes about 6 KiB.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Why a timestamp is refused.
///
/// [`Refused`](Self::Refused) comes from [`TimestampToken::from_response`] alone,
/// [`NonceMismatch`](Self::NonceMismatch) from [`TimestampToken::answers`] alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The bytes are more than [`MAX_TOKEN_BYTES`].
    #[error("timestamp is larger than {MAX_TOKEN_BYTES} bytes")]
    TooLarge,
    /// The authority answered that it gives no token (RFC 3161 2.4.2, PKIStatus 2 to 5).
    #[error("authority gave no token: status {status}{}{text}", if text.is_empty() { "" } else { ": " })]
    Refused {
        /// PKIStatus, normally 2 (rejection).
        status: u64,
        /// The authority's own words, control characters escaped, and the failure bits where it gave some.
        text: String,
    },
    /// The bytes are not a token in the one form that is accepted.
    #[error("timestamp is malformed: {0}")]
    Malformed(&'static str),
    /// The token is well-formed, but a digest, signature or certificate in it does not fit the rest.
    #[error("timestamp is broken: {0}")]
    Broken(&'static str),
    /// The token uses an algorithm that this program does not verify, so nothing can be said about it.
    #[error("timestamp uses an unsupported {0}")]
    Unsupported(&'static str),
    /// The token is for other data. Everything inside the token is consistent.
    #[error("timestamp is for other data: digest {found}, not {wanted}")]
    ImprintMismatch {
        /// The digest in the token, in hexadecimal digits.
        found: String,
        /// The digest asked for.
        wanted: Sha256Digest,
    },
    /// The token does not repeat the nonce of the request, so it may be an old one replayed.
    #[error("timestamp does not repeat the nonce of the request")]
    NonceMismatch,
    /// Everything inside the token is consistent, but no pinned root vouches for its authority at its time.
    #[error("no pinned root vouches for timestamp authority {authority}: {reason}")]
    UntrustedAuthority {
        /// The subject of the embedded signing certificate, control characters escaped.
        authority: String,
        /// What building a path came to.
        reason: String,
    },
}

/// The DER of a TimeStampReq (RFC 3161 2.4.1) for the SHA-256 of some data.
///
/// Version 1, `nonce`, certReq TRUE; no policy and no extensions.
pub fn request(imprint_sha256: &Sha256Digest, nonce: u64) -> Vec<u8> {
    let sha256 = wrap(OBJECT_IDENTIFIER, &[tst_info::SHA256.as_bytes()]);
    let algorithm = wrap(SEQUENCE, &[&sha256, &wrap(NULL, &[])]);
    let imprint = wrap(SEQUENCE, &[&algorithm, &wrap(OCTET_STRING, &[imprint_sha256.as_bytes()])]);
    let digits = nonce.to_be_bytes();
    // A leading zero is due where the first digit would read as a minus sign, and nowhere else.
    let zeros = digits.iter().take(7).take_while(|digit| **digit == 0).count();
    let digits = digits.get(zeros..).unwrap_or(&digits);
    let sign: &[u8] = if digits.first().is_some_and(|digit| *digit >= 0x80) { &[0] } else { &[] };
    let nonce = wrap(INTEGER, &[sign, digits]);
    wrap(SEQUENCE, &[&wrap(INTEGER, &[&[1]]), &imprint, &nonce, &wrap(BOOLEAN, &[&[0xff]])])
}

/// A token whose structure has been read, and which still has to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampToken {
    /// The ContentInfo, as received.
    der: Vec<u8>,
    info: TstInfo,
}

impl TimestampToken {
    /// Reads an authority's answer, a TimeStampResp (RFC 3161 2.4.2), of which every byte must belong to it.
    ///
    /// Status granted (0) and grantedWithMods (1) give a token; any other is [`TimestampError::Refused`].
    pub fn from_response(response: &[u8]) -> Result<Self, TimestampError> {
        if response.len() > MAX_TOKEN_BYTES {
            return Err(TimestampError::TooLarge);
        }
        let mut fields = Elements::only(response, SEQUENCE, "TimeStampResp")?;
        let mut status_info = fields.enter(SEQUENCE, "PKIStatusInfo")?;
        let status = small(status_info.take(INTEGER)?).ok_or(TimestampError::Malformed("PKIStatus"))?;
        let text = status_text(&mut status_info)?;
        if status > 1 {
            return Err(TimestampError::Refused { status, text });
        }
        let token = fields.take_whole(SEQUENCE)?.whole;
        fields.finish()?;
        Self::from_token(token)
    }

    /// Reads a token as a package stores it; refuses every wrapping but that of [`Self::to_stored_response`].
    pub fn from_stored(stored: &[u8]) -> Result<Self, TimestampError> {
        if stored.len() > MAX_TOKEN_BYTES {
            return Err(TimestampError::TooLarge);
        }
        let mut fields = Elements::only(stored, SEQUENCE, "TimeStampResp")?;
        fields.take(SEQUENCE)?;
        let token = Self::from_token(fields.take_whole(SEQUENCE)?.whole)?;
        if token.to_stored_response() == stored {
            Ok(token)
        } else {
            Err(TimestampError::Malformed("stored response holds more than status 0 and the token"))
        }
    }

    fn from_token(der: &[u8]) -> Result<Self, TimestampError> {
        let info = TstInfo::parse(SignedToken::parse(der)?.content)?;
        Ok(Self { der: der.to_vec(), info })
    }

    /// A TimeStampResp of exactly status granted and the token, which `openssl ts -verify -in` reads.
    ///
    /// What else the authority answered is dropped, because nothing protects it.
    pub fn to_stored_response(&self) -> Vec<u8> {
        let status = wrap(SEQUENCE, &[&wrap(INTEGER, &[&[0]])]);
        wrap(SEQUENCE, &[&status, &self.der])
    }

    /// The nonce of the request this token answers; `None` if it has none, or one that no [`request`] has.
    pub fn nonce(&self) -> Option<u64> {
        self.info.nonce.as_deref().and_then(small)
    }

    /// The time the token claims, by the authority's clock; a claim until the token is verified.
    pub fn gen_time(&self) -> UtcTime {
        self.info.gen_time
    }

    /// The SHA-256 the token is over; `None` if it is over another kind of digest.
    pub fn imprint(&self) -> Option<Sha256Digest> {
        self.info.imprint()
    }

    /// Confirms that the token answers a [`request`] for this imprint with this nonce.
    ///
    /// For the party that asked: a stored token has no request to be compared with.
    pub fn answers(&self, imprint: &Sha256Digest, nonce: u64) -> Result<(), TimestampError> {
        self.info.check_imprint(imprint)?;
        if self.nonce() == Some(nonce) { Ok(()) } else { Err(TimestampError::NonceMismatch) }
    }

    /// Verifies everything a token must satisfy, in this order, so that an error also says what did hold.
    ///
    /// 1. `Malformed`, `Broken`, `Unsupported`: structure (RFC 5652, RFC 3161 2.4.2), digest, signing
    ///    certificate, its purpose (RFC 3161 2.3) and validity at the token's time, signature, authority name.
    /// 2. `ImprintMismatch`: the token is not for `imprint`.
    /// 3. `UntrustedAuthority`: no path, valid at the token's time, from the authority to one of `roots`.
    ///
    /// Revocation is not checked: the token carries no proof of it, and nothing is fetched.
    pub fn verify(
        &self,
        imprint: &Sha256Digest,
        roots: &TimestampRoots,
    ) -> Result<Timestamp, TimestampError> {
        verify::verify(&self.der, &self.info, imprint, roots)
    }
}

/// What a verified token says, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The data existed at this time, by the authority's clock.
    pub gen_time: UtcTime,
    /// How far that clock may be off either way, in nanoseconds; `None` if the authority does not say.
    pub accuracy: Option<u64>,
    /// The subject of the authority's certificate (RFC 4514), control characters escaped.
    pub authority: String,
    /// The token's serial number, unique at its authority: its DER contents in lower-case hexadecimal digits.
    pub serial: String,
    /// The object identifier of the policy the authority worked under, in dotted form.
    pub policy: String,
    /// The pinned root the authority's certificate leads to.
    pub anchored: Anchor,
}

/// A pinned root that vouches for a timestamp authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The root's subject (RFC 4514), control characters escaped.
    pub subject: String,
    /// SHA-256 over the root certificate's DER.
    pub certificate_sha256: Sha256Digest,
}

/// The free text and failure bits of a PKIStatusInfo (RFC 3161 2.4.2), for a person to read.
fn status_text(status_info: &mut Elements<'_>) -> Result<String, TimestampError> {
    let mut words = Vec::new();
    if let Some(texts) = status_info.take_optional(SEQUENCE)? {
        let mut texts = Elements::new(texts, "statusString");
        while !texts.is_empty() {
            words.push(printable(&String::from_utf8_lossy(texts.take(UTF8_STRING)?)));
        }
    }
    if let Some([_, bits @ ..]) = status_info.take_optional(BIT_STRING)? {
        let named = |bit: usize| bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0);
        words.extend(FAILURES.iter().filter(|(bit, _)| named(*bit)).map(|(_, name)| (*name).to_owned()));
    }
    status_info.finish()?;
    Ok(words.join("; "))
}

/// The bits of PKIFailureInfo (RFC 3161 2.4.2).
const FAILURES: [(usize, &str); 8] = [
    (0, "badAlg"),
    (2, "badRequest"),
    (5, "badDataFormat"),
    (14, "timeNotAvailable"),
    (15, "unacceptedPolicy"),
    (16, "unacceptedExtension"),
    (17, "addInfoNotAvailable"),
    (25, "systemFailure"),
];

/// A foreign text with its control characters escaped.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, character| {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
        line
    })
}
