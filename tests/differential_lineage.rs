//! Tier 2 of `DerivedImageList` and `BaseImageList`: random relations of images whose layers are shared among 1, 2, 3 and
//! 7 embedded nodes, against one embedded node with everything. The content is made up, another one for each seed.
//!
//! `ONEZOT_DOCUMENTS` says how many for each fleet (default 400), `ONEZOT_SEED` which ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
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

use demo_replay::Set;
use sides::{Case, Sides, number};
use writer::Writer;

const LINEAGE: [&str; 2] = ["DerivedImageList", "BaseImageList"];

/// What a fleet answered.
#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    with_items: usize,
    /// How many name a digest that the gateway cannot find: an exception of the README.
    excepted: usize,
    /// The most documents that are sent for one field, and the most blobs that are read.
    requests: (usize, usize),
    wrong: Vec<String>,
}

async fn compare(nodes: usize, images: usize, left_out: Option<usize>) -> Tally {
    let seed = number("ONEZOT_SEED", 1) * 1000 + nodes as u64;
    let content = made::content(seed, images);
    let sides = Sides::with(&Set::read(""), &content, nodes, left_out).await;
    let mut writer = Writer::new(seed, &content);
    writer.about(&LINEAGE);
    let mut tally = Tally::default();
    while tally.compared < number("ONEZOT_DOCUMENTS", 400) as usize {
        let (query, variables) = writer.request();
        let user = Some(writer.one(&["alice", "alice", "alice", "bob", ""]).to_owned()).filter(|user| !user.is_empty());
        let case = Case { user, query, variables, made: None };
        tally.compared += 1;
        let (found, has_items) = sides.differences(&case).await;
        tally.with_items += usize::from(has_items);
        let _ = sides.sent();
        sides.gateway.send(&case.request()).await;
        let fields: usize = LINEAGE.iter().map(|name| case.query.matches(&format!("{name}(")).count()).sum();
        let (documents, blobs) = sides.sent_by_kind();
        // One asks whether the document is valid.
        tally.requests.0 = tally.requests.0.max((documents - 1).div_ceil(fields.max(1)));
        tally.requests.1 = tally.requests.1.max(blobs.div_ceil(fields.max(1)));
        if found.is_empty() {
            continue;
        }
        if sides.lacks_digest(&case).await {
            tally.excepted += 1;
            continue;
        }
        if tally.wrong.is_empty() && left_out.is_none() {
            println!("seed {seed}: {}", serde_json::to_string(&sides.shrunk(&case).await).unwrap());
        }
        tally.wrong.push(format!("{}: {}", serde_json::to_string(&case).unwrap(), found.join("; ")));
    }
    sides.running.stop().await;
    let alike = tally.compared - tally.wrong.len() - tally.excepted;
    println!(
        "{nodes} nodes: {alike} of {} relations alike, {} with images, {} digests cannot be found, at most {:?} requests",
        tally.compared, tally.with_items, tally.excepted, tally.requests
    );
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_answered_as_by_one_node() {
    for nodes in [1, 2, 3, 7] {
        let tally = compare(nodes, 60, None).await;
        let shown = &tally.wrong[..tally.wrong.len().min(5)];
        assert!(tally.wrong.is_empty(), "{nodes} nodes: {} differ: {shown:#?}", tally.wrong.len());
        assert!(tally.with_items > tally.compared / 5, "{nodes} nodes: {tally:?}");
        assert!(tally.excepted <= tally.compared / 10, "{nodes} nodes: {tally:?}");
        assert!(tally.requests.0 <= most_documents(nodes), "{nodes} nodes: {tally:?}");
    }
}

/// The owner is asked, the nodes for a digest, for the layers, for repositories, and for the first manifests of indexes.
fn most_documents(nodes: usize) -> usize {
    1 + 4 * nodes
}

/// Whatever the number of images, the requests are as many.
#[tokio::test(flavor = "multi_thread")]
async fn what_relations_cost_does_not_depend_on_the_number_of_images() {
    for images in [10, 200] {
        let nodes = 3;
        let content = made::content(5, images);
        let sides = Sides::with(&Set::read(""), &content, nodes, None).await;
        let mut most = (0, 0);
        for push in content.pushes.iter().filter(|push| !push.reference.starts_with("sha256:")).take(12) {
            for name in LINEAGE {
                let image = format!("{}:{}", push.repository, push.reference);
                let query = format!("{{{name}(image:\"{image}\"){{Results{{RepoName Tag Size LastUpdated}}}}}}");
                let case = Case { user: Some("alice".to_owned()), query, variables: Default::default(), made: None };
                let _ = sides.sent();
                sides.gateway.send(&case.request()).await;
                let (documents, blobs) = sides.sent_by_kind();
                most = (most.0.max(documents - 1), most.1.max(blobs));
            }
        }
        sides.running.stop().await;
        println!("{images} images: at most {} documents and {} blobs", most.0, most.1);
        assert!(most.0 > nodes && most.0 <= most_documents(nodes) && most.1 <= 96, "{images} images: {most:?}");
    }
}

/// The comparison notices a fleet that lacks a part.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_content_is_noticed() {
    let tally = compare(3, 60, Some(1)).await;
    assert!(tally.wrong.len() > 20, "{tally:?}");
}
