//! Mounts over embedded nodes: the gateway over three of them answers as one that holds everything, and no node but the
//! owner is written to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/wire.rs"]
mod wire;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use onezot::demo::{Content, Fault, Node, Settings, Setup};
use onezot::fleet::Placement;
use onezot::server::Running;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use wire::{Got, send};

/// A gateway whose repositories are where the placement says: what is counted and compared here is what mounts cost.
async fn gateway(nodes: &[SocketAddr], yaml: &str) -> Running {
    wire::gateway(nodes, &format!("locate: owner\n{yaml}")).await
}

const NODES: usize = 3;
const USERS: [(&str, &str); 2] = [("alice", "alice-pw"), ("bob", "bob-pw")];

fn read(name: &str) -> Vec<u8> {
    std::fs::read(format!("tests/golden/{name}")).unwrap()
}

fn owner(repository: &str) -> usize {
    Placement::default().owner(repository, NODES).node
}

/// A repository whose name begins so, on a node.
fn on(node: usize, stem: &str) -> String {
    (0..).map(|number| format!("{stem}-{number}")).find(|name| owner(name) == node).unwrap()
}

async fn node(content: &Content, holds: impl Fn(&str) -> bool) -> Node {
    let settings: Settings = serde_json::from_slice(&read("http-config.json")).unwrap();
    let users = USERS.map(|(name, password)| (name.to_owned(), password.to_owned()));
    let node = Node::start(Setup { settings, users: users.into(), ..Setup::default() }).await.unwrap();
    node.load(content, holds).unwrap();
    node
}

/// One node with everything, and a gateway over three that share it.
struct Sides {
    content: Content,
    one: Node,
    nodes: Vec<Node>,
    running: Running,
}

impl Sides {
    async fn start() -> Sides {
        let content = Content::read(&read("content/content.json"), &read("content/bytes.json")).unwrap();
        let one = node(&content, |_| true).await;
        let mut nodes = Vec::new();
        for index in 0..NODES {
            nodes.push(node(&content, |name| owner(name) == index).await);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
        let running = gateway(&addresses, "").await;
        Sides { content, one, nodes, running }
    }

    async fn both(&self, call: &Call<'_>) -> (Got, Got) {
        (call.send(self.one.address()).await, call.send(self.running.addresses[0]).await)
    }

    /// What the nodes got since this was last asked. No node is asked for what makes it link a blob, and only the owner
    /// of a repository is written to.
    fn seen(&self) -> Vec<(usize, Method, String)> {
        let mut all = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for seen in node.take_seen() {
                let is_blob = seen.target.contains("/blobs/") && !seen.target.contains("/blobs/uploads/");
                assert!(!is_blob || seen.method == Method::GET, "{} {}", seen.method, seen.target);
                assert!(!seen.headers.contains_key("range"), "{}", seen.target);
                if seen.method != Method::GET && !seen.target.contains("/ext/search") {
                    let name = seen.target.strip_prefix("/v2/").unwrap().split("/blobs/").next().unwrap();
                    assert_eq!(owner(name), index, "{} {}", seen.method, seen.target);
                }
                all.push((index, seen.method, seen.target));
            }
        }
        all
    }
}

struct Call<'a> {
    user: Option<(&'a str, &'a str)>,
    method: &'a str,
    target: String,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    fn new(user: Option<&'a str>, method: &'a str, target: impl Into<String>) -> Call<'a> {
        let user = user.and_then(|user| USERS.into_iter().find(|(name, _)| *name == user));
        Call { user, method, target: target.into(), body: Vec::new() }
    }

    async fn send(&self, to: SocketAddr) -> Got {
        let mut lines = String::new();
        if let Some((name, password)) = self.user {
            lines = format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{name}:{password}")));
        }
        if self.method != "GET" && self.method != "HEAD" {
            lines.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        let (method, target) = (self.method, &self.target);
        let header = format!("{method} {target} HTTP/1.1\r\nHost: r\r\n{lines}Connection: close\r\n\r\n");
        send(to, [header.as_bytes(), &self.body].concat()).await
    }
}

/// Status, header and body, without what no two servers share.
fn shown(got: &Got) -> String {
    let uuid = regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap();
    let mut lines: Vec<String> = got
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| !["date", "connection"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort();
    let text = format!("{} {lines:?} {}", got.status, String::from_utf8_lossy(&got.body));
    uuid.replace_all(&text, "UUID").into_owned()
}

/// Whether an image of the one has a blob: what a search can find.
async fn is_in_an_image(one: &Node, user: Option<&str>, digest: &str) -> bool {
    let query = format!("{{ImageListForDigest(id:\"{digest}\"){{Results{{RepoName}}}}}}");
    let target = format!("/v2/_zot/ext/search?query={query}").replace('"', "%22");
    Call::new(user, "GET", target).send(one.address()).await.text().contains("RepoName")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_are_answered_as_one_zot_answers_them() {
    let sides = Sides::start().await;
    let mut blobs: BTreeSet<(String, String)> = BTreeSet::new();
    for push in &sides.content.pushes {
        let of_manifest = sides.content.manifests[&push.digest].blobs.iter().chain([&push.digest]);
        blobs.extend(of_manifest.map(|digest| (push.repository.clone(), digest.clone())));
    }
    let zeros = format!("sha256:{}", "0".repeat(64));
    let (mut wrong, mut copied, mut unknown, mut number) = (Vec::new(), 0, 0, 0);
    for (source, digest) in &blobs {
        let escaped = source.replace('/', "%2F");
        for (user, stem) in [(Some("alice"), "mounted/r"), (Some("bob"), "flow/bob/r"), (None, "public/r")] {
            for query in [
                format!("mount={digest}&from={escaped}"),
                format!("from=nope&mount={digest}"),
                format!("mount={}", digest.replace(':', "%3A")),
                format!("mount={digest}&from=..%2F..%2Fx&digest={zeros}"),
            ] {
                // Many cases are the same case: a third of them, spread, is plenty.
                number += 1;
                if number % 3 != 0 {
                    continue;
                }
                let target = format!("{stem}{number}");
                let (one, fleet) =
                    sides.both(&Call::new(user, "POST", format!("/v2/{target}/blobs/uploads/?{query}"))).await;
                let is_right = query.ends_with(&escaped);
                let seen = sides.seen();
                if shown(&one) != shown(&fleet) {
                    // The README's exception: nothing says where such a blob is.
                    if one.status == 201 && !is_right && !is_in_an_image(&sides.one, user, digest).await {
                        assert_eq!(fleet.status, 202, "{}", shown(&fleet));
                        unknown += 1;
                        continue;
                    }
                    wrong.push(format!("{user:?} {target} {query}: {} became {}", shown(&one), shown(&fleet)));
                }
                copied += usize::from(seen.iter().any(|(_, method, _)| method == Method::PUT));
                let (one, fleet) = sides.both(&Call::new(user, "GET", format!("/v2/{target}/blobs/{digest}"))).await;
                if shown(&one) != shown(&fleet) {
                    wrong.push(format!("GET {target} {digest}: {} became {}", shown(&one), shown(&fleet)));
                }
            }
        }
    }
    println!("mounts: {number} / 3, {copied} of them copied, {unknown} that nothing tells of");
    let (one, fleet) = sides.both(&Call::new(Some("alice"), "GET", "/v2/_catalog")).await;
    assert_eq!(one.text(), fleet.text());
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(copied > 80 && unknown < 30, "{copied} copied, {unknown} that nothing tells of");
    sides.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_mounts_are_the_ones() {
    let sides = Sides::start().await;
    let text = String::from_utf8(read("flows.jsonl")).unwrap();
    let mut steps = 0;
    for flow in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if !flow["id"].as_str().unwrap().starts_with("flow/mount/") {
            continue;
        }
        let mut location = String::new();
        for step in flow["steps"].as_array().unwrap() {
            let (request, expected) = (&step["request"], &step["response"]);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut target = text(&request["path"]);
            if request["follows_location"] == json!(true) {
                let query = target.split_once('?').map_or("", |(_, query)| query);
                target = format!("{location}?{query}");
            }
            let mut call = Call::new(step["user"].as_str(), "", target);
            let method = text(&request["method"]);
            call.method = &method;
            call.body = text(&request["body"]).into_bytes();
            let got = call.send(sides.running.addresses[0]).await;
            location = got.header("location").unwrap_or_default().to_owned();
            let headers = expected["headers"].as_object().unwrap();
            let headers = headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            let body = match expected["body"]["base64"].as_str() {
                Some(encoded) => BASE64_STANDARD.decode(encoded).unwrap(),
                None => text(&expected["body"]).into_bytes(),
            };
            let status = expected["status"].as_u64().unwrap().try_into().unwrap();
            let expected = Got { status, headers, body };
            assert_eq!(shown(&got), shown(&expected), "{} {}", flow["id"], call.target);
            steps += 1;
        }
    }
    assert_eq!(steps, 38, "the steps of all flows that mount");
    sides.running.stop().await;
}

#[tokio::test]
async fn what_needs_no_other_node_asks_none() {
    let sides = Sides::start().await;
    let lib = owner("lib");
    let push = sides.content.pushes.iter().find(|push| push.repository == "lib").unwrap();
    let digest = &sides.content.manifests[&push.digest].blobs[0];
    let target = on((lib + 1) % NODES, "mounted/a");
    let session = |query: &str| format!("/v2/{target}/blobs/uploads/{query}");
    sides.seen();
    for (query, status, body) in [
        ("?mount=junk&from=lib".to_owned(), 202, ""),
        (format!("?mount={}&from=lib", digest.to_uppercase()), 202, ""),
        (format!("?mount={digest}&mount={digest}&from=lib"), 400, ""),
        ("?from=lib".to_owned(), 405, ""),
        (String::new(), 202, ""),
        // A body streams through: it is the owner's affair.
        (format!("?mount={digest}&from=lib"), 202, "bytes"),
    ] {
        let mut call = Call::new(Some("alice"), "POST", session(&query));
        call.body = body.into();
        assert_eq!(call.send(sides.running.addresses[0]).await.status, status, "{query}");
        assert_eq!(sides.seen(), [(owner(&target), Method::POST, session(&query))]);
    }
    // What the owner has, refuses, or refuses to this user is its answer alone.
    let own = on(lib, "mounted/b");
    let query = format!("blobs/uploads/?mount={digest}&from=lib");
    for (user, repository, status) in [(Some("alice"), &own, 201), (Some("bob"), &target, 403), (None, &target, 401)] {
        let path = format!("/v2/{repository}/{query}");
        let (one, fleet) = sides.both(&Call::new(user, "POST", &path)).await;
        assert_eq!((fleet.status, shown(&fleet)), (status, shown(&one)));
        assert_eq!(sides.seen(), [(owner(repository), Method::POST, path)]);
    }
    sides.running.stop().await;
}

/// Where nodes have no search, only the right `from` leads to the blob.
#[tokio::test]
async fn without_search_the_client_must_know_where_the_blob_is() {
    let sides = Sides::start().await;
    for node in &sides.nodes {
        node.faults().set_for("/v2/_zot/ext/search", Fault::Status(http::StatusCode::NOT_FOUND));
    }
    let push = sides.content.pushes.iter().find(|push| push.repository == "lib").unwrap();
    let digest = &sides.content.manifests[&push.digest].blobs[0];
    for (number, (from, status)) in [("&from=nope", 202), ("", 202), ("&from=lib", 201)].into_iter().enumerate() {
        let target = on((owner("lib") + 1) % NODES, &format!("mounted/{number}"));
        let path = format!("/v2/{target}/blobs/uploads/?mount={digest}{from}");
        let got = Call::new(Some("alice"), "POST", path).send(sides.running.addresses[0]).await;
        assert_eq!(got.status, status, "{from}: {}", shown(&got));
    }
    sides.running.stop().await;
}

/// A client that cannot read the source gets no blob by guessing its digest.
#[tokio::test]
async fn nobody_gets_a_blob_that_they_may_not_read() {
    let sides = Sides::start().await;
    let of = |name: &str| -> BTreeSet<&String> {
        let pushes = sides.content.pushes.iter().filter(|push| push.repository == name);
        pushes.flat_map(|push| &sides.content.manifests[&push.digest].blobs).collect()
    };
    let readable: BTreeSet<&String> = sides
        .content
        .pushes
        .iter()
        .map(|push| push.repository.as_str())
        .filter(|name| name.starts_with("public/") || name.starts_with("team-b/") || ["lib", "zot-test"].contains(name))
        .flat_map(of)
        .collect();
    let mut asked = 0;
    for push in &sides.content.pushes {
        for digest in sides.content.manifests[&push.digest].blobs.iter().filter(|digest| !readable.contains(digest)) {
            let query = format!("mount={digest}&from={}", push.repository);
            let target = on((owner(&push.repository) + 1) % NODES, &format!("flow/bob/{asked}"));
            let call = Call::new(Some("bob"), "POST", format!("/v2/{target}/blobs/uploads/?{query}"));
            let (one, fleet) = sides.both(&call).await;
            assert_eq!((one.status, fleet.status), (202, 202), "{query}");
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
    sides.running.stop().await;
}
