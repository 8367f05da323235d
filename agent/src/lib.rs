//! Owns everything that reads the examined host: choosing, capturing, packaging and sealing evidence; refuses to run
//! any program of that host.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod collect;
mod package;
pub mod seal;
pub mod source;
pub mod state;

pub use package::{Destination, PackageError};
