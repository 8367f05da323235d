//! Owns the evidence package's contract: records, container layout and the proofs over them. Bytes in, records
//! out; refuses to touch a file system, a clock or a network.
//!
//! `schemas/README.md` is the normative specification; the modules follow its flow.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

pub mod action;
pub mod collection;
pub mod custody;
pub mod item;
pub mod report;
pub mod seal;

pub mod bag;
pub mod container;
pub mod name;

pub mod digest;
pub mod json;
pub mod text;
pub mod time;

pub mod allowed_signers;
pub mod merkle;
pub mod revoked_keys;
pub mod ssh_key;
pub mod ssh_wire;
pub mod sshsig;
pub mod timestamp;
