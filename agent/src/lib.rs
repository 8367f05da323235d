//! Owns everything that reads the examined host: choosing, capturing, packaging and sealing evidence; refuses to run
//! a program of that host, unless its examiner asks for it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod collect;
#[cfg(target_os = "linux")]
pub mod commands;
mod package;
pub mod seal;
pub mod source;
pub mod state;

pub use package::{Destination, PackageError};
