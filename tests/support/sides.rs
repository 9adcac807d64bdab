//! The two sides of a comparison: one embedded node with everything, and the gateway over several that share it.

use super::demo_compare::{Content as Body, Request, differences, queries};
use super::demo_replay::{Sender, Set};
use super::wire;
use graphql_parser::query::{Definition, Document, OperationDefinition, Selection, SelectionSet};
use onezot::demo::{Content, Node};
use onezot::fleet::Placement;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A number from the environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Whether every list of the answer is merged by the gateway, and no part of an item has an order of its own each time.
pub fn is_merged(request: &Request) -> bool {
    let merged = ["RepoListWithNewestImage", "ImageListForDigest", "StarredRepos", "BookmarkedRepos"];
    let text = String::from_utf8_lossy(&request.body.bytes()).into_owned();
    let free = ["Annotations", "SignatureInfo", "Platforms", "Vendors"];
    queries(request).iter().all(|name| merged.contains(&name.as_str())) && !free.iter().any(|name| text.contains(name))
}

/// A document, who asks it, and its variables: what a file of `tests/cases` holds.
#[derive(Clone, Deserialize, Serialize)]
pub struct Case {
    pub user: Option<String>,
    pub query: String,
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// The seed of the content that was made for it; the recorded content without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<u64>,
}

impl Case {
    pub fn request(&self) -> Request {
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

/// A placement of some repositories, the first from some key on, and the configuration of it. Of seven nodes, one owns
/// nothing.
fn placement(nodes: usize, names: &BTreeSet<&str>, first: u64) -> (Placement, String) {
    let keys = (first..first + 10_000).map(|number| format!("diff{number:012}"));
    let placements =
        keys.map(|key| (Placement { hash_key: key.clone().try_into().unwrap(), ..Placement::default() }, key));
    let owners = |placement: &Placement| -> BTreeSet<usize> {
        names.iter().map(|name| placement.owner(name, nodes).node).collect()
    };
    let (placement, key) = placements.into_iter().find(|(found, _)| owners(found).len() == nodes.min(6)).unwrap();
    (placement, format!("placement: {{hash_key: {key}}}\n"))
}

/// A gateway over nodes that share some content.
pub struct Fleet {
    pub gateway: Sender,
    running: onezot::server::Running,
    _nodes: Vec<Node>,
}

impl Fleet {
    /// Content on so many nodes, placed by the first key from some number on that leaves at most one of them empty.
    pub async fn start(set: &Set, content: &Content, nodes: usize, first_key: u64) -> Fleet {
        let names = content.pushes.iter().map(|push| push.repository.as_str()).collect();
        let (placement, yaml) = placement(nodes, &names, first_key);
        let mut all = Vec::new();
        for index in 0..nodes {
            let holds = |name: &str| placement.owner(name, nodes).node == index;
            all.push(set.node_that_holds(content, first_key + index as u64, holds).await);
        }
        let addresses: Vec<_> = all.iter().map(Node::address).collect();
        let running = wire::gateway(&addresses, &yaml).await;
        let gateway = Sender::new(format!("http://{}", running.addresses[0]));
        Fleet { gateway, running, _nodes: all }
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// One node with everything, and a gateway over several that share it.
pub struct Sides {
    pub one: Sender,
    pub gateway: Sender,
    pub running: onezot::server::Running,
    nodes: Vec<Node>,
    yaml: String,
}

/// How a look for a repository ends.
const LOOK: &str = "/tags/list?n=1";

impl Sides {
    /// At how many nodes the gateway has been since anything of this kind was last asked, and with how many requests.
    pub fn tried(&self) -> (usize, usize) {
        let seen: Vec<usize> = self.nodes[1..].iter().map(|node| node.take_seen().len()).collect();
        (seen.iter().filter(|seen| **seen > 0).count(), seen.iter().sum())
    }

    /// The recorded content on so many nodes, one of which may lack what it owns.
    pub async fn start(set: &Set, nodes: usize, left_out: Option<usize>) -> Sides {
        set.teach();
        Sides::with(set, &set.content(), nodes, left_out).await
    }

    /// Other content on nodes that are set up as the recorded ones were.
    pub async fn with(set: &Set, content: &Content, nodes: usize, left_out: Option<usize>) -> Sides {
        let names = content.pushes.iter().map(|push| push.repository.as_str()).collect();
        Sides::placed(set, content, &names, nodes, 0, left_out).await
    }

    /// The same, somehow placed among those that own some of the names. There may be no content yet.
    pub async fn placed(
        set: &Set,
        content: &Content,
        names: &BTreeSet<&str>,
        nodes: usize,
        first_key: u64,
        left_out: Option<usize>,
    ) -> Sides {
        let mut all = vec![set.node_that_holds(content, 1, |_| true).await];
        let (placement, yaml) = placement(nodes, names, first_key);
        for index in 0..nodes {
            let holds = |name: &str| placement.owner(name, nodes).node == index && left_out != Some(index);
            all.push(set.node_that_holds(content, 2 + index as u64, holds).await);
        }
        let addresses: Vec<_> = all[1..].iter().map(Node::address).collect();
        let running = wire::gateway(&addresses, &yaml).await;
        let gateway = Sender::new(format!("http://{}", running.addresses[0]));
        Sides { one: Sender::to(&all[0]), gateway, running, nodes: all, yaml }
    }

    /// Replaces a node by an empty one; the gateway is another one, too.
    pub async fn lose(&mut self, set: &Set, index: usize) {
        self.nodes[1 + index] = set.node_that_holds(&Content::default(), 9, |_| false).await;
        let addresses: Vec<_> = self.nodes[1..].iter().map(Node::address).collect();
        let running = wire::gateway(&addresses, &self.yaml).await;
        self.gateway = Sender::new(format!("http://{}", running.addresses[0]));
        std::mem::replace(&mut self.running, running).stop().await;
    }

    /// One node with everything, and others behind a gateway.
    pub fn of(one: Node, others: Vec<Node>, running: onezot::server::Running) -> Sides {
        let gateway = Sender::new(format!("http://{}", running.addresses[0]));
        let mut nodes = vec![one];
        nodes.extend(others);
        Sides { one: Sender::to(&nodes[0]), gateway, running, nodes, yaml: String::new() }
    }

    /// How many requests the gateway has sent since this was last asked.
    pub fn sent(&self) -> usize {
        let (documents, others) = self.sent_by_kind();
        documents + others
    }

    /// The same: those with documents, and the others, without looks for where a repository is.
    pub fn sent_by_kind(&self) -> (usize, usize) {
        let mut seen: Vec<_> = self.nodes[1..].iter().flat_map(Node::take_seen).collect();
        seen.retain(|seen| !seen.target.ends_with(LOOK));
        let documents = seen.iter().filter(|seen| seen.target.contains("/_zot/ext/search")).count();
        (documents, seen.len() - documents)
    }

    /// What the gateway answers otherwise, and whether the one's answer has lists with something in them.
    pub async fn differences(&self, case: &Case) -> (Vec<String>, bool) {
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

    /// Whether the gateway says that it cannot find a `digest` whose relations are asked for.
    pub async fn lacks_digest(&self, case: &Case) -> bool {
        let actual = self.gateway.send(&case.request()).await;
        cannot_be_found(case, &actual.body, &self.one).await
    }

    /// Whether the data are other bytes, where they are the same each time.
    pub async fn other_data(&self, case: &Case) -> Option<String> {
        let request = case.request();
        let (one, again) = (self.one.send(&request).await, self.one.send(&request).await);
        let actual = self.gateway.send(&request).await;
        let data = |body: &[u8]| {
            let text = String::from_utf8_lossy(body).into_owned();
            text.find("\"data\":").map(|at| text[at..].to_owned())
        };
        let (expected, again, actual) = (data(&one.body), data(&again.body), data(&actual.body));
        (expected != actual && expected == again).then(|| format!("{actual:?} instead of {expected:?}"))
    }

    /// The smallest document in which the difference is still found, as far as leaving out one thing at a time goes.
    pub async fn shrunk(&self, case: &Case) -> Case {
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

/// Whether an answer says that a `digest` cannot be found whose relations are asked for: it has no tag, or only where the
/// client may not read, so that no list shows it. An exception of the README.
pub async fn cannot_be_found(case: &Case, answer: &[u8], at: &Sender) -> bool {
    let text = String::from_utf8_lossy(answer);
    let said = ["image meta not found for digest ", "no image that you may read has a tag and the digest "];
    let said = said.iter().find_map(|said| text.split_once(said)).filter(|_| case.query.contains("digest:"));
    let end = |rest: &str| rest.find(|end: char| !end.is_ascii_alphanumeric() && end != ':');
    let Some(digest) = said.and_then(|(_, rest)| rest.get(..end(rest)?)) else { return false };
    let digest = digest.trim_end_matches(':');
    let query = format!("{{ImageListForDigest(id:\"{digest}\"){{Results{{Digest Manifests{{Digest}}}}}}}}");
    let asked = Case { query, variables: Map::new(), ..case.clone() };
    !digest.is_empty() && !String::from_utf8_lossy(&at.send(&asked.request()).await.body).contains(digest)
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
