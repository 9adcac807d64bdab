//! Tier 2 of `CVEDiffListForImages`: random differences of images on 1, 2, 3 and 7 embedded nodes, against one embedded
//! node with everything.
//!
//! `ONEZOT_DOCUMENTS` says how many for each fleet (default 400), `ONEZOT_SEED` which ones. As many as the square of the
//! number of tags cover every pair of images.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/cve_writer.rs"]
mod cve_writer;
#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/sides.rs"]
mod sides;
#[path = "support/wire.rs"]
mod wire;

use cve_writer::CveWriter;
use demo_replay::{Sender, Set};
use onezot::demo::Node;
use serde_json::{Map, Value, json};
use sides::{Case, Sides, number};

/// What becomes of a request at the most: whether it is valid, both images, what is in either.
const MOST_REQUESTS: usize = 5;

/// What a fleet answered.
#[derive(Debug, Default)]
struct Tally {
    compared: u64,
    with_items: usize,
    /// How many came to as many requests as there are at the most.
    composed: usize,
    wrong: Vec<String>,
}

/// Whether a repository may be an empty text.
fn names_no_repository(case: &Case) -> bool {
    [case.query.clone(), json!(case.variables).to_string()].iter().any(|text| text.contains("\"\""))
}

async fn compare(nodes: usize, left_out: Option<usize>) -> Tally {
    let set = Set::read("cve/");
    let sides = Sides::start(&set, nodes, left_out).await;
    let mut writer = CveWriter::new(number("ONEZOT_SEED", 1) * 1000 + nodes as u64, &set.content());
    let mut tally = Tally::default();
    while tally.compared < number("ONEZOT_DOCUMENTS", 400) {
        let (query, variables) = writer.request();
        let users = ["alice", "alice", "alice", "alice", "alice", "alice", "alice", "alice", "bob", ""];
        let user = Some(writer.one(&users).to_owned()).filter(|user| !user.is_empty());
        let case = Case { user, query, variables, made: None };
        tally.compared += 1;
        let (mut found, has_items) = sides.differences(&case).await;
        found.extend(sides.other_data(&case).await);
        // Which of several base images zot takes is another one each time.
        for _ in 0..if names_no_repository(&case) { 40 } else { 0 } {
            if found.is_empty() {
                break;
            }
            found = sides.differences(&case).await.0;
        }
        let _ = sides.sent();
        sides.gateway.send(&case.request()).await;
        let sent = sides.sent();
        let fields = case.query.matches("CVEDiffListForImages(").count();
        if sent > 1 + (MOST_REQUESTS - 1) * fields {
            found.push(format!("{sent} requests"));
        }
        tally.with_items += usize::from(has_items);
        tally.composed += usize::from(sent >= MOST_REQUESTS - 1);
        if !found.is_empty() {
            tally.wrong.push(format!("{}: {}", serde_json::to_string(&case).unwrap(), found.join("; ")));
        }
    }
    sides.running.stop().await;
    println!(
        "{nodes} nodes: {} of {} differences alike, {} with CVEs, {} asked of both owners twice",
        tally.compared as usize - tally.wrong.len(),
        tally.compared,
        tally.with_items,
        tally.composed
    );
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_answered_as_by_one_node() {
    for nodes in [1, 2, 3, 7] {
        let tally = compare(nodes, None).await;
        let shown = &tally.wrong[..tally.wrong.len().min(10)];
        assert!(tally.wrong.is_empty(), "{nodes} nodes: {} differ: {shown:#?}", tally.wrong.len());
        assert!(tally.with_items > tally.compared as usize / 20, "{nodes} nodes: {tally:?}");
        assert!(nodes == 1 || tally.composed > tally.compared as usize / 8, "{nodes} nodes: {tally:?}");
    }
}

/// The comparison notices a fleet that lacks a part.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_content_is_noticed() {
    let tally = compare(3, Some(1)).await;
    assert!(tally.wrong.len() > 20, "{}", tally.wrong.len());
}

/// The gateway's answer, over three nodes of which some do not scan, to a difference that alice asks for.
async fn with_nodes_that_do_not_scan(which: &[usize], yaml: &str, minuend: &str, subtrahend: &str) -> (u16, Value) {
    let set = Set::read("cve/");
    let mut nodes = Vec::new();
    for index in 0..3 {
        nodes.push(if which.contains(&index) {
            set.node_without_scans(Some(index), 1).await
        } else {
            set.node(Some(index), 1).await
        });
    }
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    let running = wire::gateway(&addresses, yaml).await;
    let query = "query($m:ImageInput! $s:ImageInput!){CVEDiffListForImages(minuend:$m subtrahend:$s){CVEList{Id}}}";
    let image = |name: &str| json!({"Repo": name, "Tag": "1.0"});
    let variables = [("m".to_owned(), image(minuend)), ("s".to_owned(), image(subtrahend))].into_iter().collect();
    let case = Case { user: Some("alice".to_owned()), query: query.to_owned(), variables, made: None };
    let answer = Sender::new(format!("http://{}", running.addresses[0])).send(&case.request()).await;
    running.stop().await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// `alpine/app` is on node 1, `debian/svc` on node 2, `lang/web` on node 0.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_does_not_scan_is_named() {
    for (which, minuend, subtrahend) in
        [(1, "alpine/app", "debian/svc"), (2, "alpine/app", "debian/svc"), (0, "alpine/app", "lang/web")]
    {
        for yaml in ["partial: fail\n", "partial: warn\n"] {
            let (status, body) = with_nodes_that_do_not_scan(&[which], yaml, minuend, subtrahend).await;
            let message = format!("node zot-{which} says: cve search is disabled");
            assert_eq!((status, &body["errors"][0]["message"]), (502, &json!(message)), "{body}");
            assert_eq!(body["data"], json!(null));
        }
    }
    let (status, body) = with_nodes_that_do_not_scan(&[1, 2], "", "alpine/app", "debian/svc").await;
    let error = json!({"message": "cve search is disabled", "path": ["CVEDiffListForImages"], "locations": [{"line": 1, "column": 38}]});
    assert_eq!((status, body), (200, json!({"errors": [error], "data": null})));
    let (status, body) = with_nodes_that_do_not_scan(&[0], "", "alpine/app", "debian/svc").await;
    assert!(status == 200 && body["data"]["CVEDiffListForImages"]["CVEList"][0]["Id"].is_string(), "{body}");
}

/// A wrong password must not count several times at a directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_at_one_node() {
    let sides = Sides::start(&Set::read("cve/"), 7, None).await;
    let mut most = 0;
    for subtrahend in ["debian/svc", "lang/web", "docker/app", "nodate/app"] {
        let image = |name: &str| format!("{{Repo:\"{name}\" Tag:\"1.0\"}}");
        let images = format!("minuend:{} subtrahend:{}", image("alpine/app"), image(subtrahend));
        let query = format!("{{CVEDiffListForImages({images}){{CVEList{{Id}}}}}}");
        let case =
            |user: &str| Case { user: Some(user.to_owned()), query: query.clone(), variables: Map::new(), made: None };
        for user in ["badpass", "alice"] {
            let (found, _) = sides.differences(&case(user)).await;
            assert!(found.is_empty(), "{user}: {found:?}");
            if user == "alice" {
                most = most.max(sides.sent());
                continue;
            }
            // A look for the repository, and the document itself.
            let (nodes, requests) = sides.tried();
            assert!((1..=2).contains(&requests), "{requests} requests to {nodes} nodes");
        }
    }
    sides.running.stop().await;
    assert_eq!(most, MOST_REQUESTS);
}
