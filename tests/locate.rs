//! `locate: search`: repositories that are not where the placement says are served from where they are, as by one node
//! with everything; and a node that cannot be asked may have what is looked for.

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
use onezot::demo::{Fault, Node};
use onezot::fleet::Placement;
use onezot::server::Running;
use sha2::{Digest, Sha256};
use sides::{Case, Sides, number};
use std::net::SocketAddr;
use wire::Got;
use writer::Writer;

const SEARCH: &str = "locate: search\ntimeouts: {headers: 1s, total: 2s}\n";

/// Where a repository is: not on its owner.
fn misplaced(repository: &str) -> usize {
    (Placement::default().owner(repository, 3).node + 1) % 3
}

async fn fleet(holds: impl Fn(&str, usize) -> bool) -> (Vec<Node>, Running) {
    let set = Set::read("");
    let content = set.content();
    let mut nodes = Vec::new();
    for index in 0..3 {
        nodes.push(set.node_that_holds(&content, index as u64, |name| holds(name, index)).await);
    }
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    let running = wire::gateway(&addresses, SEARCH).await;
    (nodes, running)
}

async fn alice(to: SocketAddr, method: &str, target: &str, body: &[u8], content_type: &str) -> Got {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nAuthorization: Basic YWxpY2U6YWxpY2UtcHc=\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    wire::send(to, [head.as_bytes(), body].concat()).await
}

async fn get(to: SocketAddr, target: &str) -> Got {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nAuthorization: Basic YWxpY2U6YWxpY2UtcHc=\r\n\r\n"
    );
    wire::send(to, head.into_bytes()).await
}

fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misplaced_repository_is_read_as_from_one_node() {
    let set = Set::read("");
    let content = set.content();
    let one = set.node_that_holds(&content, 9, |_| true).await;
    let (nodes, running) = fleet(|name, index| misplaced(name) == index).await;
    let to = running.addresses[0];
    let mut compared = 0;
    for push in &content.pushes {
        let name = &push.repository;
        let manifest = &content.manifests[&push.digest];
        let mut targets = vec![
            format!("/v2/{name}/tags/list"),
            format!("/v2/{name}/manifests/{}", push.reference),
            format!("/v2/{name}/manifests/{}", push.digest),
            format!("/v2/{name}/manifests/no-such-tag"),
            format!("/v2/{name}/referrers/{}", push.digest),
        ];
        targets.extend(manifest.blobs.iter().map(|blob| format!("/v2/{name}/blobs/{blob}")));
        for target in targets {
            for method in ["GET", "HEAD"] {
                let expected = alice(one.address(), method, &target, b"", "text/plain").await;
                let actual = alice(to, method, &target, b"", "text/plain").await;
                assert_eq!(
                    (actual.status, actual.body.len()),
                    (expected.status, expected.body.len()),
                    "{method} {target}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "{compared}");
    let wrote =
        nodes.iter().flat_map(Node::take_seen).filter(|seen| seen.method != "GET" && seen.method != "HEAD").count();
    assert_eq!(wrote, 0);
    running.stop().await;
}

/// Random documents, as in `differential.rs`, with every repository on a node that does not own it.
#[tokio::test(flavor = "multi_thread")]
async fn documents_find_misplaced_repositories() {
    let set = Set::read("");
    let content = set.content();
    set.teach();
    let one = set.node_that_holds(&content, 9, |_| true).await;
    let (nodes, running) = fleet(|name, index| misplaced(name) == index).await;
    let sides = Sides::of(one, nodes, running);
    let seed = number("ONEZOT_SEED", 1);
    let mut writer = Writer::new(seed, &content);
    let (documents, mut excepted, mut wrong) = (number("ONEZOT_DOCUMENTS", 400), 0, Vec::new());
    for _ in 0..documents {
        let (query, variables) = writer.request();
        let user = Some(writer.one(&["alice", "alice", "bob", ""]).to_owned()).filter(|user| !user.is_empty());
        let case = Case { user, query, variables, made: None };
        let (found, _) = sides.differences(&case).await;
        if !found.is_empty() {
            if sides.lacks_digest(&case).await {
                excepted += 1;
            } else {
                wrong.push(format!("{}: {}", serde_json::to_string(&case).unwrap(), found.join("; ")));
            }
        }
    }
    println!(
        "{} of {documents} documents alike, {excepted} digests cannot be found",
        documents as usize - wrong.len() - excepted
    );
    sides.running.stop().await;
    assert!(wrong.is_empty() && excepted < 20, "{} differ: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_go_where_the_repository_is_and_sessions_stay_where_they_were_opened() {
    let (nodes, running) = fleet(|name, index| misplaced(name) == index).await;
    let to = running.addresses[0];
    let blob = b"a new layer".as_slice();
    for (name, node) in [("lib", misplaced("lib")), ("brand/new", Placement::default().owner("brand/new", 3).node)] {
        let opened = alice(to, "POST", &format!("/v2/{name}/blobs/uploads/"), b"", "text/plain").await;
        assert_eq!(opened.status, 202, "{}", opened.text());
        let location = opened.header("location").unwrap().to_owned();
        assert!(location.contains(&format!("_oz_node=zot%2D{node}")), "{location}");
        let patched = alice(to, "PATCH", &location, blob, "application/octet-stream").await;
        assert_eq!(patched.status, 202, "{}", patched.text());
        let location = patched.header("location").unwrap().to_owned();
        let put =
            alice(to, "PUT", &format!("{location}&digest={}", digest(blob)), b"", "application/octet-stream").await;
        assert_eq!(put.status, 201, "{}", put.text());
        for (index, holder) in nodes.iter().enumerate() {
            let there = get(holder.address(), &format!("/v2/{name}/blobs/{}", digest(blob))).await.status == 200;
            assert_eq!(there, index == node, "{name} on {index}");
        }
        assert_eq!(get(to, &format!("/v2/{name}/blobs/{}", digest(blob))).await.body, blob);
    }
    // The session names a node that there is, or it counts for nothing.
    let elsewhere =
        alice(to, "PATCH", "/v2/lib/blobs/uploads/nope?_oz_node=zot-9", blob, "application/octet-stream").await;
    assert_eq!(elsewhere.status, 404, "{}", elsewhere.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_deleted_wherever_it_is() {
    let (nodes, running) = fleet(|name, index| misplaced(name) == index || name == "lib").await;
    let to = running.addresses[0];
    assert_eq!(alice(to, "DELETE", "/v2/lib/manifests/2", b"", "text/plain").await.status, 202);
    for node in &nodes {
        assert_eq!(get(node.address(), "/v2/lib/manifests/2").await.status, 404);
        assert_eq!(get(node.address(), "/v2/lib/manifests/1").await.status, 200);
    }
    assert_eq!(get(to, "/v2/lib/manifests/2").await.status, 404);
    assert_eq!(alice(to, "DELETE", "/v2/lib/manifests/2", b"", "text/plain").await.status, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_split_repository_is_read_from_where_it_is() {
    // The owner has an empty repository of the name.
    let (nodes, running) = fleet(|name, index| misplaced(name) == index).await;
    let owner = Placement::default().owner("lib", 3).node;
    let opened = alice(nodes[owner].address(), "POST", "/v2/lib/blobs/uploads/", b"", "text/plain").await;
    assert_eq!(opened.status, 202);
    let to = running.addresses[0];
    assert_eq!(get(to, "/v2/lib/manifests/1").await.status, 200);
    assert_eq!(get(to, "/v2/lib/manifests/none").await.status, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_turns_out_wrong_is_forgotten() {
    let (nodes, running) = fleet(|name, index| misplaced(name) == index).await;
    let to = running.addresses[0];
    assert_eq!(get(to, "/v2/lib/tags/list").await.status, 200);
    // It moves, behind the gateway's back.
    let set = Set::read("");
    let other = (misplaced("lib") + 1) % 3;
    nodes[other].load(&set.content(), |name| name == "lib").unwrap();
    nodes[misplaced("lib")].faults().set_for("/v2/lib/", Fault::Status(http::StatusCode::NOT_FOUND));
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(get(to, "/v2/lib/manifests/1").await.status, 200);
    assert_eq!(get(to, "/v2/lib/tags/list").await.status, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_asked_may_have_it() {
    let (nodes, running) = fleet(|name, index| misplaced(name) == index).await;
    let to = running.addresses[0];
    let owner = Placement::default().owner("lib", 3).node;
    let third = 3 - owner - misplaced("lib");
    nodes[third].faults().set(Fault::Status(http::StatusCode::INTERNAL_SERVER_ERROR));
    for (method, target) in [
        ("GET", "/v2/lib/manifests/1"),
        ("HEAD", "/v2/lib/manifests/1"),
        ("POST", "/v2/lib/blobs/uploads/"),
        ("DELETE", "/v2/lib/manifests/1"),
    ] {
        let got = alice(to, method, target, b"", "text/plain").await;
        assert_eq!(got.status, 502, "{method} {target}: {}", got.text());
        if method != "HEAD" {
            assert!(got.text().contains(&format!("zot-{third}")), "{}", got.text());
        }
    }
    nodes[third].faults().clear();
    assert_eq!(get(to, "/v2/lib/manifests/1").await.status, 200);
    running.stop().await;
}
