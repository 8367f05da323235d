//! Owns what a package's database expects at a path, and the digests that databases use; refuses to default what it does
//! not say.

use holdfast_schemas::item::ItemKind;
use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::super::capabilities::Capabilities;

/// Whose files are compared.
#[derive(Default)]
pub(super) struct Package {
    /// The package's name.
    pub(super) name: Vec<u8>,
    /// Its version.
    pub(super) version: Vec<u8>,
}

/// What a database expects at one path; what it does not say is none and is not compared.
#[derive(Default)]
pub(super) struct Expected {
    /// Absolute path.
    pub(super) path: Vec<u8>,
    /// The path in the package, where a diversion moved the file.
    pub(super) diverted_from: Option<Vec<u8>>,
    /// c, d, g, l or r, as in the table.
    pub(super) attribute: Option<char>,
    /// Whether its absence is no difference.
    pub(super) may_be_missing: bool,
    /// Its type.
    pub(super) kind: Option<ItemKind>,
    /// Its digest.
    pub(super) digest: Option<(Algorithm, Vec<u8>)>,
    /// Its size in bytes.
    pub(super) size: Option<u64>,
    /// Its permissions, 12 bits.
    pub(super) mode: Option<u32>,
    /// Its owner.
    pub(super) user: Option<Owner>,
    /// Its group.
    pub(super) group: Option<Owner>,
    /// Where it points if it is a link.
    pub(super) target: Option<Vec<u8>>,
    /// Its modification time, Unix seconds.
    pub(super) mtime: Option<i64>,
    /// Its capabilities.
    pub(super) capabilities: Option<Capabilities>,
}

/// An owner, as the database writes it.
#[derive(Clone)]
pub(super) enum Owner {
    /// By name.
    Name(Vec<u8>),
    /// By number.
    Id(u32),
}

/// Digest algorithms of the databases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// Its name, in small letters.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// A digest to be fed.
    pub(super) fn start(self) -> Box<dyn DynDigest> {
        match self {
            Self::Md5 => Box::new(Md5::default()),
            Self::Sha1 => Box::new(Sha1::default()),
            Self::Sha224 => Box::new(Sha224::default()),
            Self::Sha256 => Box::new(Sha256::default()),
            Self::Sha384 => Box::new(Sha384::default()),
            Self::Sha512 => Box::new(Sha512::default()),
        }
    }

    /// The digest of bytes in memory.
    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let mut hash = self.start();
        hash.update(bytes);
        hash.finalize().into_vec()
    }
}
