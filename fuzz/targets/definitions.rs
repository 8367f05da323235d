//! Feeds any text to the readers of artifact definitions, ours and others'; refuses a panic, and a checked definition that
//! cannot be searched.
#![no_main]

use std::sync::OnceLock;

use holdfast_agent::catalogue::Catalogue;
use holdfast_agent::source::User;

static BUILT_IN: OnceLock<Catalogue> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|text: &str| {
    let built_in = BUILT_IN.get_or_init(|| Catalogue::built_in().expect("the built-in files are good"));
    let mut catalogue = built_in.clone();
    let user = |home: &str| User { name: b"examiner".to_vec(), home: home.as_bytes().to_vec(), login: true };
    let users = [user("/home/examiner"), user("/srv/a*b")];
    if catalogue.add_text(text, "fuzz.yaml").is_ok() {
        let _ = catalogue.resolve();
        for definition in catalogue.definitions().iter().filter(|definition| definition.origin == "fuzz.yaml")
        {
            let patterns = definition.patterns(&users).expect("it was checked");
            for pattern in patterns {
                let _ = pattern.matches(b"/etc/passwd");
            }
        }
    }
});
