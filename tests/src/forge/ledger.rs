//! Owns a custody ledger in pieces: lines taken out, edited and signed anew; refuses nothing.

use std::fs;
use std::path::Path;

use ed25519_dalek::SigningKey;
use holdfast_schemas::custody::{CustodyEntry, LedgerLine};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::json::{read_record, write_record};
use holdfast_schemas::sshsig::NAMESPACE_CUSTODY;

use super::{Package, lines, sign};

/// A ledger in pieces.
#[derive(Clone)]
pub struct Ledger {
    /// The lines.
    pub lines: Vec<LedgerLine>,
}

impl Ledger {
    /// Takes the ledger at `path` apart.
    pub fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        Self { lines: lines(&bytes).into_iter().map(|line| read_record(line).unwrap()).collect() }
    }

    /// Writes the ledger again.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            bytes.extend(line.to_bytes().unwrap());
            bytes.push(b'\n');
        }
        bytes
    }

    /// The entry of line `number`, from 1.
    pub fn entry(&self, number: usize) -> CustodyEntry {
        read_record(self.lines[number - 1].entry.as_bytes()).unwrap()
    }

    /// SHA-256 of line `number`, from 1: what the next line links to, and the head where it is the last.
    pub fn link(&self, number: usize) -> Sha256Digest {
        Sha256Digest::of(&self.lines[number - 1].to_bytes().unwrap())
    }

    /// The same entries for another package, numbered, linked and signed anew by `key`.
    pub fn for_package(&self, package: &Package, key: &SigningKey) -> Self {
        let bytes = package.write().bytes;
        let mut ledger = Self { lines: Vec::new() };
        for number in 1..=self.lines.len() {
            let mut entry = self.entry(number);
            entry.prev = if number == 1 { package.id() } else { ledger.link(number - 1) };
            entry.package_sha256 = entry.package_sha256.map(|_| Sha256Digest::of(&bytes));
            entry.package_bytes = entry.package_bytes.map(|_| bytes.len() as u64);
            ledger.sign(number, &entry, key);
        }
        ledger
    }

    /// Signs an entry and makes it line `number`, from 1; the lines behind it stay as they are.
    pub fn sign(&mut self, number: usize, entry: &CustodyEntry, key: &SigningKey) {
        let entry = String::from_utf8(write_record(entry).unwrap()).unwrap();
        let signature = sign(key, NAMESPACE_CUSTODY, entry.as_bytes());
        let line = LedgerLine { entry, signature, timestamps: Vec::new() };
        if number > self.lines.len() { self.lines.push(line) } else { self.lines[number - 1] = line }
    }
}
