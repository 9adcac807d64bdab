//! One server beside another: the same request to both, and what is not alike in their answers.

// Each test uses its own part of this.
#![allow(dead_code)]

use super::wire::Got;
use super::zots::Call;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

/// Headers that differ between any two servers.
const FREE: [&str; 3] = ["date", "connection", "transfer-encoding"];

/// A request with a name, by which its differences are told.
pub struct Case {
    pub name: String,
    pub call: Call,
}

/// The README's exceptions, as far as the odd requests show them.
fn exception(name: &str) -> Option<&'static str> {
    if name.contains("path \"%2f\"") {
        return Some("an escaped slash in a path");
    }
    if name.starts_with("GET /v2/_catalog?") && name.contains('#') {
        return Some("a bare # in a target");
    }
    name.contains("garbage").then_some("a malformed header")
}

/// Sends each case to both, in order, and tells what differs: names of cases, and how. What differs as the README says is
/// counted and printed.
pub async fn compare(cases: &[Case], one: SocketAddr, fleet: SocketAddr) -> Vec<(String, String)> {
    let (mut found, mut excepted) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for Case { name, call } in cases {
        let expected = call.send(one).await;
        let actual = call.send(fleet).await;
        let differing = differences(call, &expected, &actual);
        match exception(name) {
            _ if differing.is_empty() => {}
            Some(why) => *excepted.entry(why).or_default() += 1,
            None => found.push((name.clone(), differing.join("; "))),
        }
    }
    let alike = cases.len() - found.len() - excepted.values().sum::<usize>();
    println!("{alike} of {} alike, exceptions: {excepted:?}", cases.len());
    found
}

fn differences(call: &Call, one: &Got, fleet: &Got) -> Vec<String> {
    let mut found = Vec::new();
    if one.status != fleet.status {
        found.push(format!("status {} became {}", one.status, fleet.status));
    }
    let (expected, actual) = (lines(call, one), lines(call, fleet));
    for line in expected.iter().filter(|line| !actual.contains(line)) {
        found.push(format!("no {line}"));
    }
    for line in actual.iter().filter(|line| !expected.contains(line)) {
        found.push(format!("has {line}"));
    }
    if expected.len() != actual.len() && found.is_empty() {
        found.push("a header comes another number of times".to_owned());
    }
    let (expected, actual) = (body(one), body(fleet));
    if expected != actual {
        let ((expected, expected_errors), (actual, actual_errors)) = (expected, actual);
        if expected != actual {
            let short = |text: &str| text.chars().take(500).collect::<String>();
            found.push(format!("body {:?} became {:?}", short(&expected), short(&actual)));
        }
        found.extend(without(&expected_errors, &actual_errors).map(|error| format!("no {error}")));
        found.extend(without(&actual_errors, &expected_errors).map(|error| format!("has {error}")));
    }
    found
}

/// Those of one list that another lacks, each as often as it does.
fn without<'a>(list: &'a [String], other: &[String]) -> impl Iterator<Item = &'a String> {
    let mut left = other.to_vec();
    list.iter().filter(move |item| match left.iter().position(|other| other == *item) {
        Some(at) => {
            left.swap_remove(at);
            false
        }
        None => true,
    })
}

fn lines(call: &Call, got: &Got) -> Vec<String> {
    let lines = got.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut lines: Vec<String> = lines
        .filter(|(name, _)| !FREE.contains(&name.as_str()))
        // The length of what is chunked on one side; to a HEAD it is what there is to compare.
        .filter(|(name, _)| call.method == "HEAD" || name != "content-length")
        .map(|(name, value)| format!("{name}: {}", masked(value)))
        .collect();
    lines.sort();
    lines
}

/// The body, and apart from it the errors of a GraphQL answer if there are several: fields run at the same time, so that
/// their order is free.
fn body(got: &Got) -> (String, Vec<String>) {
    let text = masked(&String::from_utf8_lossy(&got.body));
    let Some(rest) = text.strip_prefix(r#"{"errors":"#) else { return (text, Vec::new()) };
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Vec<Box<serde_json::value::RawValue>>>();
    let Some(Ok(errors)) = values.next() else { return (text, Vec::new()) };
    let mut errors: Vec<String> = errors.iter().map(|error| error.get().to_owned()).collect();
    errors.sort();
    (rest[values.byte_offset()..].to_owned(), errors)
}

/// What differs between any two runs: sessions, boundaries, times of the run, addresses.
static FREE_TEXTS: LazyLock<regex::Regex> = LazyLock::new(|| {
    let free = [
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        r"\b[0-9a-f]{60}\b",
        "session=[^;]*|Expires=[^;]*",
        r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
        r"127\.0\.0\.1:\d+",
    ];
    regex::Regex::new(&free.join("|")).unwrap()
});

fn masked(text: &str) -> String {
    FREE_TEXTS.replace_all(text, "FREE").into_owned()
}
