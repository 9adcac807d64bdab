//! Replays recorded requests against embedded nodes.

// Each test uses its own part of this.
#![allow(dead_code)]

use super::demo_compare::{Answer, Content as Body, Request, differences, queries};
use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use onezot::demo::{Content, Node, Reports, Settings, Setup};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

pub fn read(file: &str) -> Vec<u8> {
    std::fs::read(golden(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

pub fn lines<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let text = String::from_utf8(read(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A recorded set: a directory of `tests/golden`.
#[derive(Debug)]
pub struct Set {
    pub prefix: &'static str,
    pub requests: Vec<Request>,
    headers: Vec<BTreeMap<String, Values>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Recorded {
    n: usize,
    status: u16,
    headers: usize,
    body: Option<Body>,
    same_body_as: Option<usize>,
}

impl Set {
    pub fn read(prefix: &'static str) -> Self {
        let headers = serde_json::from_slice(&read(&format!("{prefix}headers.json"))).unwrap();
        Self { prefix, requests: lines(&format!("{prefix}requests.jsonl")), headers }
    }

    /// A set without its requests, for its servers.
    pub fn of_servers(prefix: &'static str) -> Self {
        Self { prefix, requests: Vec::new(), headers: Vec::new() }
    }

    /// The answers of a server.
    pub fn answers(&self, server: &str) -> BTreeMap<usize, Answer> {
        let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
        for recorded in lines::<Recorded>(&format!("{}{server}.jsonl", self.prefix)) {
            let body = match recorded.same_body_as {
                Some(other) => answers[&other].body.clone(),
                None => recorded.body.unwrap_or_default().bytes(),
            };
            let headers = flat(&self.headers[recorded.headers]);
            answers.insert(recorded.n, Answer { status: recorded.status, headers, body });
        }
        answers
    }

    /// Teaches the comparer the keys by which zot sorts, from lists of everything.
    pub fn teach(&self) {
        let lists: BTreeSet<usize> = self
            .requests
            .iter()
            .filter(|request| request.kind == "unpaged")
            .filter(|request| {
                let topics = topics(request);
                topics.contains("ImageList") || topics.contains("RepoListWithNewestImage")
            })
            .map(|request| request.n)
            .collect();
        let answers = ["node-0", "node-1", "node-2"].map(|server| self.answers(server));
        let bodies = answers.iter().flatten().filter(|(n, _)| lists.contains(n));
        super::oracle::learn(bodies.filter_map(|(_, answer)| serde_json::from_slice(&answer.body).ok()));
    }

    /// What the recorded servers held.
    pub fn content(&self) -> Content {
        let [content, bytes] = ["content", "bytes"].map(|name| read(&format!("{}content/{name}.json", self.prefix)));
        Content::read(&content, &bytes).unwrap()
    }

    /// A node set up as the recorded ones were; `index` is its place in the fleet, if it is in one.
    pub async fn node(&self, index: Option<usize>, seed: u64) -> Node {
        self.start(&self.content(), seed, self.reports(), self.recorded(index)).await
    }

    /// The same, but nothing is scanned there.
    pub async fn node_without_scans(&self, index: Option<usize>, seed: u64) -> Node {
        self.start(&self.content(), seed, None, self.recorded(index)).await
    }

    /// A node set up as the recorded ones were, with other repositories.
    pub async fn node_that_holds(&self, content: &Content, seed: u64, holds: impl Fn(&str) -> bool) -> Node {
        self.start(content, seed, self.reports(), holds).await
    }

    async fn start(&self, content: &Content, seed: u64, cve: Option<Reports>, holds: impl Fn(&str) -> bool) -> Node {
        let users = [("alice", "alice-pw"), ("bob", "bob-pw")];
        let users = users.map(|(name, password)| (name.to_owned(), password.to_owned())).into();
        let node = Node::start(Setup { settings: self.settings(), users, cve, seed, listen: None }).await.unwrap();
        node.load(content, holds).unwrap();
        node
    }

    fn settings(&self) -> Settings {
        serde_json::from_slice(&read(&format!("{}http-config.json", self.prefix))).unwrap()
    }

    fn reports(&self) -> Option<Reports> {
        let file = format!("{}reports.json", self.prefix);
        self.settings().extensions.search.cve.is_some().then(|| Reports::read(&read(&file)).unwrap())
    }

    /// Whether a recorded server held a repository.
    fn recorded(&self, index: Option<usize>) -> impl Fn(&str) -> bool + use<> {
        let placement: Value = serde_json::from_slice(&read(&format!("{}placement.json", self.prefix))).unwrap();
        move |name| match index {
            None => true,
            Some(index) => placement["repositories"][name].as_array().unwrap().iter().any(|node| *node == index as u64),
        }
    }
}

fn flat(headers: &BTreeMap<String, Values>) -> BTreeMap<String, Vec<String>> {
    let values = |values: &Values| match values {
        Values::One(value) => vec![value.clone()],
        Values::Many(values) => values.clone(),
    };
    headers.iter().map(|(name, value)| (name.clone(), values(value))).collect()
}

/// Sends requests as recorded clients did.
pub struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Sender {
    pub fn new(url: String) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url }
    }

    pub fn to(node: &Node) -> Self {
        Self::new(node.url())
    }

    pub async fn send(&self, request: &Request) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Nothing if there is no answer.
    pub async fn try_send(&self, request: &Request) -> Option<Answer> {
        let mut builder =
            http::Request::builder().method(request.method.as_str()).uri(format!("{}{}", self.url, request.path));
        let credentials = match request.user.as_deref() {
            Some("alice") => Some("alice:alice-pw"),
            Some("bob") => Some("bob:bob-pw"),
            Some("baduser") => Some("mallory:x"),
            Some("badpass") => Some("alice:wrong"),
            Some(other) => panic!("no user {other}"),
            None => None,
        };
        if let Some(credentials) = credentials {
            let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
            builder = builder.header("authorization", format!("Basic {encoded}"));
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let body = Full::new(Bytes::from(request.body.bytes()));
        let response = self.client.request(builder.body(body).unwrap()).await.ok()?;
        let (head, body) = response.into_parts();
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &head.headers {
            headers.entry(name.to_string()).or_default().push(value.to_str().unwrap().to_owned());
        }
        let body = body.collect().await.ok()?.to_bytes().to_vec();
        Some(Answer { status: head.status.as_u16(), headers, body })
    }
}

/// How many cases passed, by what they ask for.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<String, (usize, usize)>,
    failures: Vec<(usize, String)>,
}

impl Tally {
    pub fn note(&mut self, request: &Request, expected: &Answer, actual: &Answer) {
        let found = differences(request, expected, actual);
        for topic in topics(request) {
            let (passed, recorded) = self.counts.entry(topic).or_default();
            *recorded += 1;
            *passed += usize::from(found.is_empty());
        }
        if !found.is_empty() {
            self.failures.push((request.n, found.join("; ")));
        }
    }

    /// Whether a request was the last that failed.
    pub fn last_failed(&self, n: usize) -> bool {
        self.failures.last().is_some_and(|(last, _)| *last == n)
    }

    /// Prints the counts, and fails unless the failures are exactly those that are expected.
    pub fn settle(&self, title: &str, exceptions: &[(usize, &str)]) {
        println!("{title}");
        for (topic, (passed, recorded)) in &self.counts {
            println!("  {topic:<32} {passed:>5} / {recorded}");
        }
        let expected: BTreeSet<usize> = exceptions.iter().map(|(n, _)| *n).collect();
        let failed: BTreeSet<usize> = self.failures.iter().map(|(n, _)| *n).collect();
        for (n, found) in self.failures.iter().filter(|(n, _)| !expected.contains(n)) {
            let mut shown: String = found.chars().take(2500).collect();
            if shown.len() < found.len() {
                shown.push('…');
            }
            println!("{title}: request {n}: {shown}");
        }
        for (n, reason) in exceptions {
            println!("{title}: exception {n}: {reason}");
        }
        let unexpected: Vec<_> = failed.difference(&expected).collect();
        let mended: Vec<_> = expected.difference(&failed).collect();
        assert!(unexpected.is_empty(), "{title}: {} differ: {unexpected:?}", unexpected.len());
        assert!(mended.is_empty(), "{title}: no exceptions any more: {mended:?}");
    }
}

/// What a request asks for: its root fields, or its route.
fn topics(request: &Request) -> BTreeSet<String> {
    let path = request.path.split('?').next().unwrap_or_default();
    if !path.starts_with("/v2/_zot/ext/search") {
        let route = ["tags", "manifests", "blobs", "referrers"]
            .iter()
            .find(|route| path.contains(&format!("/{route}/")))
            .map_or(path, |route| *route);
        return [format!("REST {}", if route.len() > 26 { "other" } else { route })].into();
    }
    if request.kind == "apq" {
        return ["persisted queries".to_owned()].into();
    }
    let named: BTreeSet<String> = queries(request).into_iter().filter(|name| QUERIES.contains(&&**name)).collect();
    if named.is_empty() { ["other documents".to_owned()].into() } else { named }
}

const QUERIES: [&str; 15] = [
    "BaseImageList",
    "BookmarkedRepos",
    "CVEDiffListForImages",
    "CVEListForImage",
    "DerivedImageList",
    "ExpandedRepoInfo",
    "GlobalSearch",
    "Image",
    "ImageList",
    "ImageListForCVE",
    "ImageListForDigest",
    "ImageListWithCVEFixed",
    "Referrers",
    "RepoListWithNewestImage",
    "StarredRepos",
];

/// A sequence of requests.
#[derive(Deserialize)]
pub struct Flow {
    pub id: String,
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
pub struct Step {
    pub user: Option<String>,
    pub request: StepRequest,
    pub response: StepAnswer,
}

#[derive(Deserialize)]
pub struct StepRequest {
    pub method: String,
    pub path: String,
    /// Whether the path was the one that the last answer named.
    pub follows_location: bool,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Body,
}

#[derive(Deserialize)]
pub struct StepAnswer {
    pub status: u16,
    headers: BTreeMap<String, Values>,
    #[serde(default)]
    pub body: Body,
}

impl StepAnswer {
    pub fn answer(&self) -> Answer {
        Answer { status: self.status, headers: flat(&self.headers), body: self.body.bytes() }
    }
}

/// Runs a flow; tells the steps that went otherwise than recorded.
pub async fn run_flow(sender: &Sender, flow: &Flow) -> Vec<String> {
    let mut found = Vec::new();
    // Where an upload goes on: the recorded place and the one of this run.
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for (index, step) in flow.steps.iter().enumerate() {
        let mut path = step.request.path.clone();
        if step.request.follows_location {
            for (recorded, actual) in &places {
                path = path.replace(recorded, actual);
            }
        }
        let request = Request {
            n: index,
            kind: "flow".to_owned(),
            user: step.user.clone(),
            method: step.request.method.clone(),
            path,
            headers: step.request.headers.clone(),
            body: step.request.body.clone(),
        };
        let expected = step.response.answer();
        let actual = sender.send(&request).await;
        if let (Some(recorded), Some(here)) = (expected.headers.get("location"), actual.headers.get("location")) {
            places.insert(recorded[0].clone(), here[0].clone());
        }
        let differing = differences(&request, &expected, &actual);
        if !differing.is_empty() {
            found.push(format!(
                "{} step {index} {} {}: {}",
                flow.id,
                request.method,
                request.path,
                differing.join("; ")
            ));
        }
    }
    found
}
