//! Tier 5 of repositories that lie on several nodes: three real zots with parts and copies of them behind onezot, beside one
//! real zot that holds everything, when `ONEZOT_ZOT` names a binary. Embedded nodes share their author's misreadings.
//!
//! `ONEZOT_DOCUMENTS` says how many documents are compared (default 1000), `ONEZOT_SEED` which ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
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
#[path = "support/spread.rs"]
mod spread;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/writer.rs"]
mod writer;
#[path = "support/zots.rs"]
mod zots;

use author::request;
use demo_replay::Sender;
use onezot::demo::Event;
use onezot::fleet::Placement;
use sides::{Case, cannot_be_found, number};
use spread::{Lie, Spread};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use writer::Writer;
use zots::{Call, Content, Zot};

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_copies_on_three_zots_are_answered_as_by_one_zot() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let seed = number("ONEZOT_SEED", 1);
    let content = made::content(seed, 60);
    let spread = Spread::new(&content, 3, &Placement::default(), seed);
    assert!(spread.lies()[&Lie::Split] > 1, "{:?}", spread.lies());
    let (facts, bytes) = made::parts(seed, 60);
    let source = Content::of(facts, bytes);
    let one = Zot::start(&binary).await;
    let nodes = [Zot::start(&binary).await, Zot::start(&binary).await, Zot::start(&binary).await];
    let addresses = nodes.each_ref().map(|node| node.address);
    let targets = |event: Event<'_>| -> Vec<SocketAddr> {
        let there = (0..3).filter(|&node| spread.happened(node, event)).map(|node| addresses[node]);
        std::iter::once(one.address).chain(there).collect()
    };
    let mut there: HashMap<SocketAddr, HashSet<(String, String)>> = HashMap::new();
    for push in &content.pushes {
        let user = usize::from(push.user != "alice");
        for to in targets(Event::Push(push)) {
            let there = there.entry(to).or_default();
            source.push_manifest(to, user, &push.repository, &push.reference, &push.digest, there).await;
        }
    }
    for pull in &content.pulls {
        let target = format!("/v2/{}/manifests/{}", pull.repository, pull.reference);
        for to in targets(Event::Pull(pull)) {
            for _ in 0..pull.times {
                assert_eq!(Call::by(0, "GET", &target).send(to).await.status, 200, "{target}");
            }
        }
    }
    for (marks, action) in [(&content.stars, "toggleStar"), (&content.bookmarks, "toggleBookmark")] {
        for mark in marks {
            let target = format!("/v2/_zot/ext/userprefs?action={action}&repo={}", mark.repository);
            for to in targets(Event::Mark(mark)) {
                assert_eq!(Call::by(0, "PUT", &target).send(to).await.status, 200, "{target}");
            }
        }
    }
    let running = wire::gateway(&addresses, "").await;
    let sender = |address: SocketAddr| Sender::new(format!("http://{address}"));
    let (one, fleet) = (sender(one.address), sender(running.addresses[0]));

    let mut wrong = Vec::new();
    let mut reads = 0;
    for push in &content.pushes {
        let name = &push.repository;
        let targets = [
            format!("/v2/{name}/tags/list"),
            format!("/v2/{name}/tags/list?n=2&last={}", push.reference),
            format!("/v2/{name}/manifests/{}", push.reference),
            format!("/v2/{name}/manifests/{}", push.digest),
            format!("/v2/{name}/referrers/{}", push.digest),
            format!("/v2/{name}/referrers/{}?artifactType=application/spdx%2Bjson", push.digest),
        ];
        // What follows a tag that is none is asked for, too; a pull counts on both sides.
        for target in targets {
            let mut asked = request("GET", target, "alice", "", b"");
            asked.headers.clear();
            let (mut expected, actual) = (one.send(&asked).await, fleet.send(&asked).await);
            expected.headers.retain(|name, _| name != "content-length");
            reads += 1;
            let mut actual = actual;
            actual.headers.retain(|name, _| name != "content-length");
            let found = match asked.path.contains("/referrers/") {
                // The order is that of the pushes to a node.
                true => sorted(&expected.body) != sorted(&actual.body),
                false => !demo_compare::differences(&asked, &expected, &actual).is_empty(),
            };
            if found {
                let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
                wrong.push(format!("{}: {} instead of {}", asked.path, text(&actual.body), text(&expected.body)));
            }
        }
    }

    let mut writer = Writer::new(seed, &content);
    let documents = number("ONEZOT_DOCUMENTS", 1000);
    let (mut excepted, mut newest) = (0, 0);
    for _ in 0..documents {
        let (query, variables) = writer.request();
        let user = writer.one(&["alice", "alice", "alice", "bob", "", "badpass"]).to_owned();
        let case = Case { user: Some(user).filter(|user| !user.is_empty()), query, variables, made: None };
        let asked = case.request();
        let mut expected = one.send(&asked).await;
        expected.headers.retain(|name, _| !["date", "content-length", "transfer-encoding"].contains(&name.as_str()));
        let actual = fleet.send(&asked).await;
        let found = demo_compare::differences(&asked, &expected, &actual);
        if found.is_empty() {
            continue;
        }
        if found.iter().all(|what| what.contains("NewestImage")) {
            newest += 1;
        } else if cannot_be_found(&case, &actual.body, &one).await {
            excepted += 1;
        } else {
            wrong.push(format!("{:?} {}: {found:?}", case.user, case.query));
        }
    }
    running.stop().await;
    println!(
        "{reads} reads and {documents} documents, {} differ; {excepted} digests cannot be found, {newest} name another \
         newest image; {:?}",
        wrong.len(),
        spread.lies()
    );
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!((excepted + newest) * 15 <= documents, "{excepted} and {newest} of {documents}");
}

/// The descriptors of an index, in an order of their own.
fn sorted(body: &[u8]) -> Vec<String> {
    let index: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let mut all: Vec<String> = index["manifests"].as_array().into_iter().flatten().map(ToString::to_string).collect();
    all.sort();
    all
}
