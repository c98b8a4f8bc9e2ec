//! The suites themselves: a case that is written but not listed would never run.

use std::fs;
use std::path::Path;

fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if !path.ends_with("tests.rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_case_is_listed_once() {
    let mut text = String::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance"),
        &mut text,
    );
    let mut listed: Vec<&str> = text
        .split("$crate::__conformance_cases! {")
        .skip(1)
        .filter_map(|list| list.split_once(':')?.1.split_once('}'))
        .flat_map(|(names, _)| names.split_whitespace())
        .collect();
    let mut written: Vec<&str> = text
        .split("pub async fn ")
        .skip(1)
        .filter_map(|rest| rest.split_once("(fixture: &dyn Fixture)"))
        .map(|(name, _)| name)
        .filter(|name| {
            name.chars()
                .all(|letter| letter.is_alphanumeric() || letter == '_')
        })
        .collect();
    listed.sort_unstable();
    written.sort_unstable();
    assert!(!written.is_empty());
    assert_eq!(listed, written);
}
