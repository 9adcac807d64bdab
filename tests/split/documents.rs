//! Random documents about content of which repositories lie on several nodes.

use super::demo_replay::Set;
use super::made;
use super::sides::{Case, Sides, number};
use super::spread::{Lie, Spread};
use super::wire;
use super::writer::Writer;
use onezot::demo::{Content, Node};
use onezot::fleet::Placement;
use std::collections::BTreeMap;

/// One node with everything, and the gateway over several on which it is spread.
pub async fn sides(set: &Set, content: &Content, nodes: usize, seed: u64) -> (Sides, BTreeMap<Lie, usize>) {
    let spread = Spread::new(content, nodes, &Placement::default(), seed);
    let one = set.node_that_holds(content, 1, |_| true).await;
    let mut others = Vec::new();
    for index in 0..nodes {
        let node = set.node_that_holds(content, 2 + index as u64, |_| false).await;
        node.load_events(content, |event| spread.happened(index, event)).unwrap();
        others.push(node);
    }
    let addresses: Vec<_> = others.iter().map(Node::address).collect();
    let running = wire::gateway(&addresses, "locate: search\n").await;
    (Sides::of(one, others, running), spread.lies())
}

/// The exception of the README that a difference is.
fn exception(found: &[String]) -> Option<&'static str> {
    let newest = |what: &String| what.contains("NewestImage");
    found.iter().all(newest).then_some("the newest image by its configuration")
}

#[tokio::test(flavor = "multi_thread")]
async fn random_documents_are_answered_as_by_one_node() {
    let set = Set::read("");
    set.teach();
    let documents = number("ONEZOT_DOCUMENTS", 400);
    let (mut compared, mut wrong, mut excepted) = (0, Vec::new(), BTreeMap::<&str, usize>::new());
    for (round, nodes) in (0..8).map(|round| (round, [3, 4, 3, 7][usize::try_from(round % 4).unwrap()])) {
        let seed = number("ONEZOT_SEED", 1) * 100 + round;
        let (content, made) = match round % 3 {
            0 => (set.content(), None),
            _ => (made::content(seed, 60), Some(seed)),
        };
        let (sides, lies) = sides(&set, &content, nodes, seed).await;
        assert!(lies[&Lie::Split] > 1, "{lies:?}");
        let mut writer = Writer::new(seed, &content);
        for _ in 0..documents.div_ceil(8) {
            let (query, variables) = writer.request();
            let user = Some(writer.one(&["alice", "alice", "alice", "bob", "", "badpass"]).to_owned());
            let case = Case { user: user.filter(|user| !user.is_empty()), query, variables, made };
            compared += 1;
            let (found, _) = sides.differences(&case).await;
            if found.is_empty() {
                continue;
            }
            if let Some(why) = exception(&found) {
                *excepted.entry(why).or_default() += 1;
            } else if sides.lacks_digest(&case).await {
                *excepted.entry("a digest that cannot be found").or_default() += 1;
            } else {
                let small = sides.shrunk(&case).await;
                let found = sides.differences(&small).await.0;
                let text = serde_json::to_string(&small).unwrap();
                wrong.push(format!("seed {seed}, {nodes} nodes: {text}: {}", found.join("; ")));
            }
        }
        sides.running.stop().await;
    }
    println!("{} of {compared} documents differ; exceptions {excepted:?}", wrong.len());
    assert!(wrong.is_empty(), "{}: {:#?}", wrong.len(), &wrong[..wrong.len().min(12)]);
    assert!(excepted.values().sum::<usize>() * 20 <= compared, "{excepted:?} of {compared}");
}

/// Each node has an opinion of its own on when a repository was vulnerable first: an exception of the README.
#[tokio::test(flavor = "multi_thread")]
async fn documents_about_vulnerabilities_are_answered_as_by_one_node() {
    let set = Set::read("cve/");
    let content = set.content();
    let documents = number("ONEZOT_DOCUMENTS", 400) / 2;
    let (mut excepted, mut wrong) = (0, Vec::new());
    for round in 0..4 {
        let seed = number("ONEZOT_SEED", 1) * 100 + round;
        let (sides, _) = sides(&set, &content, 3, seed).await;
        let mut writer = Writer::new(seed, &content);
        writer.about(&["CVEListForImage", "ImageListForCVE", "ImageListWithCVEFixed", "CVEDiffListForImages"]);
        for _ in 0..documents.div_ceil(4) {
            let (query, variables) = writer.request();
            let case = Case { user: Some("alice".to_owned()), query, variables, made: None };
            let (found, _) = sides.differences(&case).await;
            if found.is_empty() {
                continue;
            }
            let small = sides.shrunk(&case).await;
            let found = sides.differences(&small).await.0;
            if small.query.contains("ImageListWithCVEFixed") && !small.query.contains("CVEDiff") {
                excepted += 1;
            } else {
                let text = serde_json::to_string(&small).unwrap();
                wrong.push(format!("seed {seed}: {text}: {}", found.join("; ")));
            }
        }
        sides.running.stop().await;
    }
    println!("{} of {documents} documents differ, {excepted} of images with a fix", wrong.len());
    assert!(wrong.is_empty(), "{}: {:#?}", wrong.len(), &wrong[..wrong.len().min(12)]);
    assert!(excepted * 5 <= documents, "{excepted} of {documents}");
}
