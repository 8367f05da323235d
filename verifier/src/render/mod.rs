//! Owns the renderings of a report; refuses to say anything that the report does not hold.

pub mod text;
