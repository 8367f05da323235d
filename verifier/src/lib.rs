//! Owns the judgement of evidence packages: strict reading, checks, report; refuses to sign anything.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

mod check;
#[cfg(not(target_family = "wasm"))]
pub mod cli;
mod open;
pub mod render;
mod trust;

pub use check::{Context, rules, verify};
pub use open::Evidence;
#[cfg(unix)]
pub use open::FileEvidence;
pub use trust::Trust;
