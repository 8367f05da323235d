//! Feeds any text to the reader of artifact definitions; refuses a panic, and a checked definition that cannot be searched.
#![no_main]

use holdfast_agent::catalogue::Catalogue;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut catalogue = Catalogue::built_in().expect("the built-in files are good");
    if catalogue.add_text(text, "fuzz.yaml").is_ok() {
        for definition in catalogue.definitions() {
            let patterns = definition.patterns(&["/home/examiner", "/srv/a*b"]).expect("it was checked");
            for pattern in patterns {
                let _ = pattern.matches(b"/etc/passwd");
            }
        }
    }
});
