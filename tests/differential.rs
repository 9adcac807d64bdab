//! Tier 2: random documents to the gateway over 1, 2, 3 and 7 embedded nodes, and to one embedded node with everything.
//!
//! `ONEZOT_DOCUMENTS` says how many for each fleet (default 400), `ONEZOT_SEED` which ones. The first that differs is
//! shrunk and kept in `tests/cases`, whose files are asked again each time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

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
#[path = "support/writer.rs"]
mod writer;

use demo_replay::Set;
use serde_json::Map;
use sides::{Case, Sides, number};
use writer::Writer;

/// The number of documents that were answered otherwise, and some of them. The first is shrunk and kept as a file.
async fn compare(nodes: usize, left_out: Option<usize>) -> (usize, Vec<String>) {
    let set = Set::read("");
    let sides = Sides::start(&set, nodes, left_out).await;
    let mut writer = Writer::new(number("ONEZOT_SEED", 1) * 1000 + nodes as u64, &set.content());
    let (mut compared, mut with_items, mut excepted, mut wrong) = (0, 0, 0, Vec::new());
    while compared < number("ONEZOT_DOCUMENTS", 400) {
        let (query, variables) = writer.request();
        let user = Some(writer.one(&["alice", "alice", "alice", "bob", ""]).to_owned()).filter(|user| !user.is_empty());
        let case = Case { user, query, variables };
        compared += 1;
        let (mut found, has_items) = sides.differences(&case).await;
        with_items += usize::from(has_items);
        if !found.is_empty() && sides.lacks_digest(&case).await {
            excepted += 1;
            found.clear();
        }
        if !found.is_empty() {
            if wrong.is_empty() && left_out.is_none() {
                let small = serde_json::to_string(&sides.shrunk(&case).await).unwrap();
                let file = format!("tests/cases/seed-{}-{nodes}-{compared}.json", number("ONEZOT_SEED", 1));
                std::fs::write(&file, &small).unwrap();
                println!("kept as {file}: {small}");
            }
            wrong.push(format!("{}: {}", serde_json::to_string(&case).unwrap(), found.join("; ")));
        }
    }
    sides.running.stop().await;
    assert!(with_items > compared as usize / 4, "{with_items} of {compared} answers have lists with something in them");
    assert!(excepted <= 2 + compared as usize / 50, "{excepted} digests that cannot be found");
    let alike = compared as usize - wrong.len() - excepted;
    println!("{nodes} nodes: {alike} of {compared} documents alike, {excepted} digests cannot be found");
    (wrong.len(), wrong.into_iter().take(10).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn random_documents_are_answered_as_by_one_node() {
    for nodes in [1, 2, 3, 7] {
        let (count, wrong) = compare(nodes, None).await;
        assert_eq!(count, 0, "{nodes} nodes: {wrong:#?}");
    }
}

/// The comparison notices a fleet that lacks a part.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_content_is_noticed() {
    let (count, _) = compare(3, Some(1)).await;
    assert!(count > 20, "{count}");
}

/// What once differed.
#[tokio::test(flavor = "multi_thread")]
async fn kept_cases_are_answered_as_by_one_node() {
    let sides = Sides::start(&Set::read(""), 3, None).await;
    let mut wrong = Vec::new();
    let files: Vec<_> = std::fs::read_dir("tests/cases").unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        let case: Case = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let (found, _) = sides.differences(&case).await;
        if !found.is_empty() {
            wrong.push(format!("{}: {}", file.display(), found.join("; ")));
        }
    }
    sides.running.stop().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A document that fails is shrunk to what makes it fail.
#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_shrunk() {
    let sides = Sides::start(&Set::read(""), 3, Some(0)).await;
    let query = "{RepoListWithNewestImage(requestedPage:{limit:9}){Page{TotalCount ItemCount} Results{Name Size}} \
                 q:ImageList(repo:\"solo\"){Results{Tag Size}}}";
    let case = Case { user: Some("alice".to_owned()), query: query.to_owned(), variables: Map::new() };
    let small = sides.shrunk(&case).await.query;
    sides.running.stop().await;
    assert!(small.len() < query.len() && !small.contains("ImageList(") && small.contains("RepoList"), "{small}");
}
