//! Owns the judgement of evidence packages: strict reading, checks, report; refuses to sign anything.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

mod check;
pub mod cli;
mod open;
mod render;
mod trust;

pub use check::{Context, rules, verify};
pub use open::{Evidence, FileEvidence};
pub use trust::Trust;
