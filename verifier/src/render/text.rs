//! Owns the report as text for a terminal: verdict first, then the five questions, then what was found and what to do;
//! refuses colour, so that nothing is said by colour alone.

use std::fmt::Write;

use holdfast_schemas::report::{Axis, Finding, Report, Status, Verdict};

use crate::check::headline_sentence;

const WIDTH: usize = 79;

/// Renders a report.
pub fn render(report: &Report) -> String {
    let mut page = Page(String::new());
    if report.exercise == Some(true) {
        page.line("EXERCISE - this package is a drill, not a real incident.");
        page.line("");
    }
    page.line(&report.headline.to_string());
    page.paragraph("", &headline_sentence(report));
    page.line("");
    facts(&mut page, report);
    page.line("");
    for axis in &report.axes {
        page.paragraph(&format!("{:<13} {:<11} ", axis.axis.to_string(), word(axis.status)), &axis.sentence);
    }
    explain(&mut page, report);
    page.line("");
    next_steps(&mut page, report);
    page.0.truncate(page.0.trim_end().len());
    page.0
}

/// An axis's or finding's standing in a word.
fn word(status: Status) -> &'static str {
    match status {
        Status::Good => "good",
        Status::Exception => "EXCEPTION",
        Status::Unknown => "UNKNOWN",
        Status::Bad => "BAD",
    }
}

fn facts(page: &mut Page, report: &Report) {
    page.paragraph("Package       ", &report.package);
    if let Some(id) = &report.package_id {
        page.paragraph("Package id    ", &id.spoken());
    }
    if let Some(claims) = &report.claims {
        page.paragraph("Case          ", claims.case.as_deref().unwrap_or("not recorded"));
        page.paragraph("Host          ", claims.host.as_deref().unwrap_or("not recorded"));
        page.paragraph("Examiner      ", claims.examiner.as_deref().unwrap_or("not recorded"));
        page.paragraph(
            "Collected     ",
            &format!("{} by the host's clock, with {}", claims.started_at.for_people(), claims.tool),
        );
        let content = format!(
            "{} files, {} bytes, from {} attempts (profile: {})",
            claims.payload_files, claims.payload_bytes, claims.items, claims.profile
        );
        page.paragraph("Holds         ", &content);
    }
    page.paragraph(
        "Checked       ",
        &format!("{} with {}", report.verified_at.for_people(), report.verifier),
    );
}

fn explain(page: &mut Page, report: &Report) {
    for axis in Axis::ALL {
        let mut findings: Vec<&Finding> =
            report.findings.iter().filter(|finding| finding.axis == axis).collect();
        if findings.is_empty() {
            continue;
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.status));
        page.line("");
        page.line(&axis.to_string());
        let mut told = Vec::new();
        for finding in findings {
            let subject = finding.subject.as_ref().map(|subject| format!(" [{subject}]")).unwrap_or_default();
            page.paragraph(
                &format!("  {:<10} ", word(finding.status)),
                &format!("{}{subject} ({})", finding.found, finding.code),
            );
            if !told.contains(&&finding.shows) {
                told.push(&finding.shows);
            }
        }
        for shows in told {
            let limit = report
                .findings
                .iter()
                .find(|finding| finding.shows == *shows)
                .map(|finding| finding.does_not_show.as_str());
            page.paragraph(
                "             ",
                &format!("Shows {shows}; does not show {}.", limit.unwrap_or_default()),
            );
        }
    }
}

fn next_steps(page: &mut Page, report: &Report) {
    let basis = &report.basis;
    let supplied = |given: bool, what: &str| format!("{what}: {}", if given { "given" } else { "not given" });
    page.paragraph(
        "Judged by     ",
        &format!("{}, {}", supplied(basis.trust, "trust folder"), supplied(basis.custody, "custody ledger")),
    );
    let advice = match report.headline {
        Verdict::Verified => "Keep the package, its ledger and this report together.",
        Verdict::VerifiedWithExceptions => {
            "Have each exception explained in writing, and keep the explanation with the package."
        }
        Verdict::CannotDetermine => {
            "Supply what is missing (see UNKNOWN above) and check again. Do not treat the package as verified."
        }
        Verdict::Failed => {
            "Stop. Do not repair, re-zip or re-save the file. Write-protect it, note who found this and when, compare another \
             copy, check again on another machine, and tell the collector, the security team and counsel."
        }
    };
    page.paragraph("What to do    ", advice);
}

struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{}", text.trim_end());
    }

    /// Wraps `text` behind `head`, later lines indented as far. A word longer than the line is cut, so that no line
    /// begins with what a hostile name chose.
    fn paragraph(&mut self, head: &str, text: &str) {
        let indent = head.chars().count();
        let room = WIDTH - indent;
        let mut line = head.to_owned();
        let mut used = 0;
        for word in text.split(' ').flat_map(|word| pieces(word, room)) {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                self.line(&line);
                line = " ".repeat(indent);
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(&word);
            used += length;
        }
        self.line(&line);
    }
}

fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room.max(1)).map(|piece| piece.iter().collect()).collect()
}
