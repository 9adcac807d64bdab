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
#[path = "support/wire.rs"]
mod wire;
#[path = "support/writer.rs"]
mod writer;

use demo_compare::{Content as Body, Request, differences, queries};
use demo_replay::{Sender, Set, read};
use graphql_parser::query::{Definition, Document, OperationDefinition, Selection, SelectionSet};
use onezot::demo::{Content, Node, Settings, Setup};
use onezot::fleet::Placement;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use writer::Writer;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn content() -> Content {
    Content::read(&read("content/content.json"), &read("content/bytes.json")).unwrap()
}

async fn node(content: &Content, seed: u64, holds: impl Fn(&str) -> bool) -> Node {
    let settings: Settings = serde_json::from_slice(&read("http-config.json")).unwrap();
    let users = [("alice", "alice-pw"), ("bob", "bob-pw")].map(|(name, word)| (name.to_owned(), word.to_owned()));
    let node = Node::start(Setup { settings, users: users.into(), seed, ..Setup::default() }).await.unwrap();
    node.load(content, holds).unwrap();
    node
}

/// What is not composed over nodes yet is an exception of the README.
fn is_composed(request: &Request) -> bool {
    let composed = ["CVEDiffListForImages"];
    queries(request).iter().any(|name| composed.contains(&name.as_str()))
}

/// Whether every list of the answer is merged by the gateway, and no part of an item has an order of its own each time.
fn is_merged(request: &Request) -> bool {
    let merged = ["RepoListWithNewestImage", "ImageListForDigest", "StarredRepos", "BookmarkedRepos"];
    let text = String::from_utf8_lossy(&request.body.bytes()).into_owned();
    let free = ["Annotations", "SignatureInfo", "Platforms", "Vendors"];
    queries(request).iter().all(|name| merged.contains(&name.as_str())) && !free.iter().any(|name| text.contains(name))
}

/// A document, who asks it, and its variables: what a file of `tests/cases` holds.
#[derive(Clone, Deserialize, Serialize)]
struct Case {
    user: Option<String>,
    query: String,
    variables: Map<String, Value>,
}

impl Case {
    fn request(&self) -> Request {
        Request {
            n: 0,
            kind: "sent".to_owned(),
            user: self.user.clone(),
            method: "POST".to_owned(),
            path: "/v2/_zot/ext/search".to_owned(),
            headers: BTreeMap::from([("Content-Type".to_owned(), "application/json".to_owned())]),
            body: Body::Text(json!({"query": self.query, "variables": self.variables}).to_string()),
        }
    }
}

/// A placement, and the configuration of it. Of seven nodes, one owns nothing.
fn placement(nodes: usize, content: &Content) -> (Placement, String) {
    let keys = (0..10_000).map(|number| format!("differential{number:04}"));
    let placements =
        keys.map(|key| (Placement { hash_key: key.clone().try_into().unwrap(), ..Placement::default() }, key));
    let owners = |placement: &Placement| -> BTreeSet<usize> {
        content.pushes.iter().map(|push| placement.owner(&push.repository, nodes).node).collect()
    };
    let (placement, key) = placements.into_iter().find(|(found, _)| owners(found).len() == nodes.min(6)).unwrap();
    (placement, format!("placement: {{hash_key: {key}}}\n"))
}

/// One node with everything, and a gateway over several that share it.
struct Sides {
    one: Sender,
    gateway: Sender,
    running: onezot::server::Running,
    _nodes: Vec<Node>,
}

impl Sides {
    async fn start(nodes: usize, left_out: Option<usize>) -> Sides {
        Set::read("").teach();
        let content = content();
        let mut all = vec![node(&content, 1, |_| true).await];
        let (placement, yaml) = placement(nodes, &content);
        for index in 0..nodes {
            let holds = |name: &str| placement.owner(name, nodes).node == index && left_out != Some(index);
            all.push(node(&content, 2 + index as u64, holds).await);
        }
        let addresses: Vec<_> = all[1..].iter().map(Node::address).collect();
        let running = wire::gateway(&addresses, &yaml).await;
        let gateway = Sender::new(format!("http://{}", running.addresses[0]));
        Sides { one: Sender::to(&all[0]), gateway, running, _nodes: all }
    }

    /// What the gateway answers otherwise, and whether the one's answer has lists with something in them.
    async fn differences(&self, case: &Case) -> (Vec<String>, bool) {
        let request = case.request();
        let mut expected = self.one.send(&request).await;
        expected.headers.retain(|name, _| !["date", "content-length", "transfer-encoding"].contains(&name.as_str()));
        let text = String::from_utf8_lossy(&expected.body);
        let has_items = text.contains("\"data\":{") && text.contains(":[{");
        let actual = self.gateway.send(&request).await;
        let mut found = differences(&request, &expected, &actual);
        // A node breaks ties anew for each request; the gateway has one order for them.
        if is_merged(&request) && self.gateway.send(&request).await.body != actual.body {
            found.push("another answer the second time".to_owned());
        }
        (found, has_items)
    }

    /// The smallest document in which the difference is still found, as far as leaving out one thing at a time goes.
    async fn shrunk(&self, case: &Case) -> Case {
        let mut smallest = case.clone();
        'smaller: loop {
            for query in smaller(&smallest.query) {
                let candidate = Case { query, ..smallest.clone() };
                if !self.differences(&candidate).await.0.is_empty() {
                    smallest = candidate;
                    continue 'smaller;
                }
            }
            return smallest;
        }
    }
}

/// Documents with one selection or argument less.
fn smaller(text: &str) -> Vec<String> {
    let Ok(document) = graphql_parser::parse_query::<String>(text) else { return Vec::new() };
    let document = document.into_static();
    let all = leave_out(&mut document.clone(), usize::MAX);
    let one_less = |which| {
        let mut copy = document.clone();
        leave_out(&mut copy, which);
        copy.to_string()
    };
    (0..all).map(one_less).collect()
}

/// Leaves out one of the selections and arguments, counted in their order; tells how many there are.
fn leave_out(document: &mut Document<'static, String>, which: usize) -> usize {
    fn selections(set: &mut SelectionSet<'static, String>, which: usize, count: &mut usize) {
        let mut kept = Vec::new();
        let alone = set.items.len() == 1;
        for mut item in std::mem::take(&mut set.items) {
            if !alone {
                *count += 1;
                if *count - 1 == which {
                    continue;
                }
            }
            match &mut item {
                Selection::Field(field) => {
                    field.arguments.retain(|_| {
                        *count += 1;
                        *count - 1 != which
                    });
                    selections(&mut field.selection_set, which, count);
                }
                Selection::InlineFragment(fragment) => selections(&mut fragment.selection_set, which, count),
                Selection::FragmentSpread(_) => {}
            }
            kept.push(item);
        }
        set.items = kept;
    }
    let mut count = 0;
    for definition in &mut document.definitions {
        match definition {
            Definition::Operation(OperationDefinition::Query(query)) => {
                selections(&mut query.selection_set, which, &mut count);
            }
            Definition::Operation(OperationDefinition::SelectionSet(set)) => selections(set, which, &mut count),
            Definition::Fragment(fragment) => selections(&mut fragment.selection_set, which, &mut count),
            Definition::Operation(_) => {}
        }
    }
    count
}

/// The number of documents that were answered otherwise, and some of them. The first is shrunk and kept as a file.
async fn compare(nodes: usize, left_out: Option<usize>) -> (usize, Vec<String>) {
    let sides = Sides::start(nodes, left_out).await;
    let mut writer = Writer::new(number("ONEZOT_SEED", 1) * 1000 + nodes as u64, &content());
    let (mut compared, mut with_items, mut wrong) = (0, 0, Vec::new());
    while compared < number("ONEZOT_DOCUMENTS", 400) {
        let (query, variables) = writer.request();
        let user = Some(writer.one(&["alice", "alice", "alice", "bob", ""]).to_owned()).filter(|user| !user.is_empty());
        let case = Case { user, query, variables };
        if is_composed(&case.request()) {
            continue;
        }
        compared += 1;
        let (found, has_items) = sides.differences(&case).await;
        with_items += usize::from(has_items);
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
    println!("{nodes} nodes: {} of {compared} documents alike", compared as usize - wrong.len());
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
    let sides = Sides::start(3, None).await;
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
    let sides = Sides::start(3, Some(0)).await;
    let query = "{RepoListWithNewestImage(requestedPage:{limit:9}){Page{TotalCount ItemCount} Results{Name Size}} \
                 q:ImageList(repo:\"solo\"){Results{Tag Size}}}";
    let case = Case { user: Some("alice".to_owned()), query: query.to_owned(), variables: Map::new() };
    let small = sides.shrunk(&case).await.query;
    sides.running.stop().await;
    assert!(small.len() < query.len() && !small.contains("ImageList(") && small.contains("RepoList"), "{small}");
}
