//! Owns the Merkle tree over item records (RFC 9162 2.1.1); refuses nothing, for every list has a root.

use sha2::{Digest, Sha256};

use crate::digest::Sha256Digest;

/// Builds the RFC 9162 Merkle tree hash of a list while it passes by, in memory of the order of log2(n).
#[derive(Default, Clone)]
pub struct MerkleTree {
    leaves: u64,
    /// Roots of the perfect subtrees so far, largest first: one for each set bit of `leaves`.
    peaks: Vec<Sha256Digest>,
}

impl MerkleTree {
    /// Appends one leaf: a line of `items.jsonl` without its newline. The leaf hash is SHA-256(0x00 || line).
    pub fn push(&mut self, line: &[u8]) {
        let mut hasher = Sha256::new_with_prefix([0u8]);
        hasher.update(line);
        let mut node = Sha256Digest::from(hasher);
        let mut carried = self.leaves;
        while carried & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                node = parent(&left, &node);
            }
            carried >>= 1;
        }
        self.peaks.push(node);
        self.leaves += 1;
    }

    /// Leaves so far.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The tree's root; for no leaves SHA-256 of nothing (RFC 9162 2.1.1).
    pub fn root(&self) -> Sha256Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Sha256Digest::of(b"") };
        peaks.fold(*last, |right, left| parent(left, &right))
    }
}

fn parent(left: &Sha256Digest, right: &Sha256Digest) -> Sha256Digest {
    let mut hasher = Sha256::new_with_prefix([1u8]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162 2.1.1 as it is written: split at the largest power of two below n.
    fn by_definition(leaves: &[Vec<u8>]) -> Sha256Digest {
        match leaves {
            [] => Sha256Digest::of(b""),
            [leaf] => Sha256Digest::of(&[&[0u8][..], leaf].concat()),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                parent(&by_definition(&leaves[..split]), &by_definition(&leaves[split..]))
            }
        }
    }

    #[test]
    fn streamed_root_equals_the_definition() {
        let leaves: Vec<Vec<u8>> = (0..70u8).map(|n| vec![n; usize::from(n)]).collect();
        let mut tree = MerkleTree::default();
        for (count, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), by_definition(&leaves[..count]), "{count} leaves");
            tree.push(leaf);
        }
        assert_eq!((tree.leaves(), tree.root()), (70, by_definition(&leaves)));
    }
}
