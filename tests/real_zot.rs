//! Tier 5: three real zots behind onezot beside one real zot that holds everything, when `ONEZOT_ZOT` names a binary.
//!
//! The same content is pushed to both sides, and the same requests are sent to both: first the recorded ones, live, then
//! random ones (`ONEZOT_CASES`, default 2000; `ONEZOT_SEED`), reads and writes, whose answers must be alike. Then sequences
//! from nothing (`ONEZOT_SEQUENCES`, default 20), and documents about made content (`ONEZOT_DOCUMENTS`, default 2000).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/author.rs"]
mod author;
#[path = "support/beside.rs"]
mod beside;
#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/looks.rs"]
mod looks;
#[path = "support/made.rs"]
mod made;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/sides.rs"]
mod sides;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/writer.rs"]
mod writer;
#[path = "support/zots.rs"]
mod zots;

use author::{Author, Step};
use beside::{Outcome, Pair};
use demo_compare::queries;
use demo_replay::{Sender, Set, read};
use serde_json::Value;
use sides::{Case, cannot_be_found, number};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use wire::Got;
use writer::Writer;
use zots::{Call, Content, Zot};

/// Headers that differ between any two servers.
const FREE: [&str; 3] = ["date", "connection", "transfer-encoding"];

/// What is not alike in two answers to one request.
fn differences(call: &Call, one: &Got, fleet: &Got) -> Vec<String> {
    let mut found = Vec::new();
    if one.status != fleet.status {
        found.push(format!("status {} became {}", one.status, fleet.status));
    }
    let lines = |got: &Got| {
        let mut lines: Vec<String> = got
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| !FREE.contains(&name.as_str()))
            // A session, and the length of what is chunked on one side, are each server's own.
            .filter(|(name, _)| call.method == "HEAD" || name != "content-length")
            .map(|(name, value)| format!("{name}: {}", masked(value)))
            .collect();
        lines.sort();
        lines
    };
    let (expected, actual) = (lines(one), lines(fleet));
    if expected != actual {
        found.push(format!("headers {expected:?} became {actual:?}"));
    }
    if masked(&String::from_utf8_lossy(&one.body)) != masked(&String::from_utf8_lossy(&fleet.body)) {
        let text = |got: &Got| String::from_utf8_lossy(&got.body[..got.body.len().min(400)]).into_owned();
        found.push(format!("body {:?} became {:?}", text(one), text(fleet)));
    }
    found
}

/// A text in which the identifiers of upload sessions and multipart boundaries are blanked.
fn masked(text: &str) -> String {
    let uuid = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    let boundary = regex::Regex::new("[0-9a-f]{60}").unwrap();
    let session = regex::Regex::new("session=[^;]*|Expires=[^;]*").unwrap();
    let text = uuid.replace_all(text, "UUID");
    // A digest has 64 digits, a boundary of Go 60: only the latter stands alone.
    let text = if text.contains("multipart/byteranges") || text.contains("Content-Range: bytes") {
        boundary.replace_all(&text, "BOUNDARY").into_owned()
    } else {
        text.into_owned()
    };
    let node = regex::Regex::new("[?&]_oz_node=[A-Za-z0-9%]*").unwrap();
    node.replace_all(&session.replace_all(&text, "SESSION"), "").into_owned()
}

struct Sides {
    one: Zot,
    _nodes: Vec<Zot>,
    running: onezot::server::Running,
}

impl Sides {
    async fn start(binary: &std::path::Path) -> Sides {
        let one = Zot::start(binary).await;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Zot::start(binary).await);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
        let running = wire::gateway(&addresses, "").await;
        Sides { one, _nodes: nodes, running }
    }

    fn senders(&self) -> (Sender, Sender) {
        let to = |address: SocketAddr| Sender::new(format!("http://{address}"));
        (to(self.one.address), to(self.running.addresses[0]))
    }

    async fn both(&self, call: &Call) -> (Got, Got) {
        let one = call.send(self.one.address).await;
        (one, call.send(self.running.addresses[0]).await)
    }
}

/// The recorded requests that a real zot can be asked again.
fn recorded() -> Vec<(u64, Call)> {
    let text = std::fs::read_to_string("tests/golden/requests.jsonl").unwrap();
    let passwords = BTreeMap::from([
        ("alice", ("alice", "alice-pw")),
        ("bob", ("bob", "bob-pw")),
        ("baduser", ("mallory", "x")),
        ("badpass", ("alice", "wrong")),
    ]);
    let requests = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    requests
        .filter(|request| request["kind"] == "sent" && !request["path"].as_str().unwrap().contains("ext/search"))
        .map(|request| {
            let user = request["user"].as_str().map(|user| passwords[user]);
            let headers = request["headers"].as_object().unwrap();
            let call = Call {
                method: request["method"].as_str().unwrap().to_owned(),
                target: request["path"].as_str().unwrap().to_owned(),
                user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
                headers: headers.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect(),
                body: request["body"].as_str().unwrap_or_default().into(),
            };
            (request["n"].as_u64().unwrap(), call)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_zots_behind_onezot_answer_as_one_zot() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let sides = Sides::start(&binary).await;
    let content = Content::recorded();
    content.push(sides.one.address).await;
    content.push(sides.running.addresses[0]).await;

    let mut failed = Vec::new();
    let recorded = recorded();
    for (n, call) in &recorded {
        let (one, fleet) = sides.both(call).await;
        let found = differences(call, &one, &fleet);
        let named = exception(call, &one);
        match (found.is_empty(), named) {
            (false, None) => failed.push(format!("recorded {n}: {} {}: {found:?}", call.method, call.target)),
            (false, Some(why)) => println!("exception: {} {}: {why}", call.method, call.target),
            _ => {}
        }
    }
    println!("recorded requests asked again: {} of {} alike", recorded.len() - failed.len(), recorded.len());

    recorded_documents(&sides, &mut failed).await;
    random_documents(&sides, &known(), &mut failed).await;

    let (cases, seed) = (number("ONEZOT_CASES", 2000), number("ONEZOT_SEED", 1));
    let mut author = Author::who_knows(seed, &known());
    let (one, fleet) = sides.senders();
    let pair = Pair { one: &one, fleet: &fleet, with_newest: false };
    let mut all = Outcome::default();
    for case in 0..cases {
        let mut outcome = pair.run(&[author.step()]).await;
        failed.extend(
            std::mem::take(&mut outcome.wrong).into_iter().map(|what| format!("seed {seed} case {case}: {what}")),
        );
        all.add(outcome);
    }
    println!("{cases} random cases, {} answers: {:?}; exceptions {:?}", all.compared, all.steps, all.excepted);
    sides.running.stop().await;
    assert!(failed.is_empty(), "{} differences:\n{}", failed.len(), failed[..failed.len().min(300)].join("\n"));
}

/// How many sequences the same zots see: starting four of them takes seconds.
const SEQUENCES_OF_ZOTS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn sequences_over_three_zots_are_answered_as_by_one_zot() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let (first, count) = (number("ONEZOT_SEED", 1) * 100_000, number("ONEZOT_SEQUENCES", 20));
    let (mut all, mut seed) = (Outcome::default(), first);
    let sides = Sides::start(&binary).await;
    let (one, fleet) = sides.senders();
    for entry in std::fs::read_dir("tests/cases/sequences").unwrap() {
        let steps: Vec<Step> = serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        all.add(Pair { one: &one, fleet: &fleet, with_newest: false }.run(&steps).await);
    }
    sides.running.stop().await;
    while seed < first + count {
        let sides = Sides::start(&binary).await;
        let (one, fleet) = sides.senders();
        let pair = Pair { one: &one, fleet: &fleet, with_newest: false };
        for seed in seed..(seed + SEQUENCES_OF_ZOTS).min(first + count) {
            let content = if seed.is_multiple_of(2) { known() } else { made::content(seed, 12) };
            let mut outcome = pair.run(&Author::new(seed, &content).sequence(15 + (seed % 16) as usize)).await;
            let is_wrong = !outcome.wrong.is_empty();
            outcome.wrong.iter_mut().for_each(|what| *what = format!("sequence {seed}: {what}"));
            all.add(outcome);
            if is_wrong {
                break;
            }
        }
        seed += SEQUENCES_OF_ZOTS;
        sides.running.stop().await;
    }
    println!("{count} sequences, {} answers: {:?}; exceptions {:?}", all.compared, all.steps, all.excepted);
    assert!(all.wrong.is_empty(), "{} differences:\n{}", all.wrong.len(), all.wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn made_content_on_three_zots_is_answered_as_by_one_zot() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let seed = number("ONEZOT_SEED", 1);
    let sides = Sides::start(&binary).await;
    let (facts, bytes) = made::parts(seed, 60);
    let content = Content::of(facts, bytes);
    content.push(sides.one.address).await;
    content.push(sides.running.addresses[0]).await;
    let mut failed = Vec::new();
    random_documents(&sides, &made::content(seed, 60), &mut failed).await;
    sides.running.stop().await;
    assert!(failed.is_empty(), "{} differences:\n{}", failed.len(), failed[..failed.len().min(30)].join("\n"));
}

/// The recorded content.
fn known() -> onezot::demo::Content {
    onezot::demo::Content::read(&read("content/content.json"), &read("content/bytes.json")).unwrap()
}

/// Sends the recorded GraphQL requests to both sides.
async fn recorded_documents(sides: &Sides, failed: &mut Vec<String>) {
    let set = Set::read("");
    set.teach();
    let one = Sender::new(format!("http://{}", sides.one.address));
    let fleet = Sender::new(format!("http://{}", sides.running.addresses[0]));
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for request in set.requests.iter().filter(|r| r.kind == "sent" && r.path.starts_with("/v2/_zot/ext/search")) {
        let mut expected = one.send(request).await;
        // As in the recordings.
        expected
            .headers
            .retain(|name, _| !FREE.contains(&name.as_str()) && (name != "content-length" || request.method == "HEAD"));
        let found = demo_compare::differences(request, &expected, &fleet.send(request).await);
        for name in queries(request) {
            let alike = counts.entry(name).or_default();
            alike.1 += 1;
            alike.0 += usize::from(found.is_empty());
        }
        if !found.is_empty() && document_exception(request).is_none() {
            failed.push(format!("document {}: {found:?}", request.n));
        }
    }
    for (name, (alike, total)) in counts {
        println!("{name}: {alike} of {total} alike");
    }
}

/// Sends random documents to both sides: `ONEZOT_DOCUMENTS`, default 2000.
async fn random_documents(sides: &Sides, content: &onezot::demo::Content, failed: &mut Vec<String>) {
    let mut writer = Writer::new(number("ONEZOT_SEED", 1), content);
    let (one, fleet) = sides.senders();
    let (mut compared, mut alike, mut excepted) = (0, 0, 0);
    while compared < number("ONEZOT_DOCUMENTS", 2000) {
        let (query, variables) = writer.request();
        let user = writer.one(&["alice", "alice", "alice", "bob", "", "badpass"]).to_owned();
        let case = Case { user: Some(user).filter(|user| !user.is_empty()), query, variables, made: None };
        let request = case.request();
        if document_exception(&request).is_some() {
            continue;
        }
        compared += 1;
        let mut expected = one.send(&request).await;
        expected.headers.retain(|name, _| !FREE.contains(&name.as_str()) && name != "content-length");
        let actual = fleet.send(&request).await;
        let found = demo_compare::differences(&request, &expected, &actual);
        if !found.is_empty() && cannot_be_found(&case, &actual.body, &one).await {
            excepted += 1;
            continue;
        }
        alike += usize::from(found.is_empty());
        if !found.is_empty() {
            failed.push(format!("{:?} {}: {found:?}", case.user, case.query));
        }
    }
    println!("random documents: {alike} of {compared} alike, {excepted} digests cannot be found");
    assert!(excepted <= 5 + compared / 50, "{excepted} digests cannot be found");
}

/// The README's exceptions among documents.
fn document_exception(request: &demo_compare::Request) -> Option<&'static str> {
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
    let text = path + &String::from_utf8_lossy(&request.body.bytes());
    if text.contains("9223372036854775807") || text.contains("[null]") {
        return Some("a zot panics");
    }
    let is_handshake = request.headers.keys().any(|name| name.eq_ignore_ascii_case("upgrade"));
    is_handshake.then_some("the handshake of a WebSocket is not passed on")
}

/// The README's exceptions, as far as the requests here show them.
fn exception(call: &Call, one: &Got) -> Option<&'static str> {
    let is_catalog = call.target.starts_with("/v2/_catalog?") && call.target.contains("last=");
    let reads_all = call.user.as_ref().is_some_and(|(name, _)| name == "alice");
    if is_catalog && !reads_all {
        return Some("a last that the user may not read");
    }
    if call.target.contains("/referrers/") && one.status == 500 && one.body.is_empty() {
        return Some("a name that is a mere directory");
    }
    let inside = ["/metrics", "/swagger/", "/v2/_zot/pprof/"].iter().any(|path| call.target.starts_with(path));
    inside.then_some("the inside of one node")
}
