//! Owns asking timestamp authorities (RFC 3161 3.4, over HTTP): all at once, each for a bounded time; refuses tokens that
//! do not answer the question, and never costs evidence.

use std::io::Read;
use std::thread;
use std::time::Duration;

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::time::UtcTime;
use holdfast_schemas::timestamp::{TimestampError, TimestampRoots, TimestampToken, request};
use reqwest::Url;

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);
const MAX_ANSWER: u64 = 64 * 1024;

/// An authority's address: http or https, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityUrl(Url);

impl AuthorityUrl {
    /// Parses an address; says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("{text:?} is no http or https address"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an authority's address must not hold credentials: arguments are recorded".to_owned());
        }
        Ok(Self(url))
    }

    /// The address without its query, as records may hold it.
    pub fn recordable(&self) -> String {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

/// What one authority answered.
#[derive(Debug, Clone)]
pub struct AuthorityAnswer {
    /// The authority, as records may hold it.
    pub authority: String,
    /// The token, as the package stores it; none where there is no usable answer.
    pub token: Option<Vec<u8>>,
    /// The time in the token.
    pub time: Option<UtcTime>,
    /// Why there is no token.
    pub failure: Option<String>,
}

/// Asks every authority for a token over `imprint`, side by side; takes at most as long as the slowest may.
pub(super) fn ask_all(authorities: &[AuthorityUrl], imprint: &Sha256Digest) -> Vec<AuthorityAnswer> {
    thread::scope(|scope| {
        let asked: Vec<_> = authorities.iter().map(|url| (url, scope.spawn(|| ask(url, imprint)))).collect();
        asked
            .into_iter()
            .map(|(url, thread)| {
                let answer =
                    thread.join().unwrap_or_else(|_| Err("the program failed while asking".to_owned()));
                let authority = url.recordable();
                match answer {
                    Ok((time, token)) => {
                        AuthorityAnswer { authority, token: Some(token), time: Some(time), failure: None }
                    }
                    Err(failure) => {
                        AuthorityAnswer { authority, token: None, time: None, failure: Some(failure) }
                    }
                }
            })
            .collect()
    })
}

fn ask(url: &AuthorityUrl, imprint: &Sha256Digest) -> Result<(UtcTime, Vec<u8>), String> {
    let mut nonce = [0u8; 8];
    getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
    // RFC 3161 2.4.1 wants a nonce that fits a positive INTEGER of 64 bits.
    let nonce = u64::from_be_bytes(nonce) >> 1 | 1;
    let answer = post(url, request(imprint, nonce))?;
    let token = TimestampToken::from_response(&answer).map_err(|error| error.to_string())?;
    token.answers(imprint, nonce).map_err(|error| error.to_string())?;
    match token.verify(imprint, &TimestampRoots::default()) {
        // Which authorities are trusted is the verifier's to say; here the token only has to hold together.
        Ok(_) | Err(TimestampError::UntrustedAuthority { .. }) => {
            Ok((token.gen_time(), token.to_stored_response()))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn post(url: &AuthorityUrl, query: Vec<u8>) -> Result<Vec<u8>, String> {
    let words = |error: reqwest::Error| {
        // The innermost cause says what a person can act on; the outer ones repeat the address.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        cause.to_string()
    };
    // A second installation fails, and the first one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .build()
        .map_err(words)?;
    let sent =
        client.post(url.0.clone()).header("Content-Type", "application/timestamp-query").body(query).send();
    let response = sent.map_err(words)?;
    if !response.status().is_success() {
        return Err(format!("it answered with status {}", response.status()));
    }
    let mut answer = Vec::new();
    response.take(MAX_ANSWER + 1).read_to_end(&mut answer).map_err(|error| error.to_string())?;
    if answer.len() as u64 > MAX_ANSWER {
        return Err("its answer is longer than 64 KiB".to_owned());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_credentials_are_refused_and_queries_not_recorded() {
        assert!(AuthorityUrl::parse("http://user:secret@tsa.example.gov/").is_err());
        assert!(AuthorityUrl::parse("ftp://tsa.example.gov/").is_err());
        assert!(AuthorityUrl::parse("tsa").is_err());
        let url = AuthorityUrl::parse("https://tsa.example.gov/tsr?key=secret#x").expect("good");
        assert_eq!(url.recordable(), "https://tsa.example.gov/tsr");
    }
}
