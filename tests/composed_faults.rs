//! The exceptions of the README that composed queries have, their bounds, and lists of nodes that do not scan. What becomes of
//! them when nodes fail is in `faults.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use demo_replay::Set;
use onezot::demo::Node;
use serde_json::{Value, json};
use std::net::SocketAddr;
use stub::{Stub, reply};
use wire::Got;

struct Fleet {
    nodes: Vec<Node>,
    running: onezot::server::Running,
    owner: usize,
}

impl Fleet {
    async fn start(yaml: &str) -> Fleet {
        let mut nodes = Vec::new();
        for index in 0..3 {
            nodes.push(Set::read("").node(Some(index), 7).await);
        }
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        let running = wire::gateway(&addresses, yaml).await;
        let owner = onezot::fleet::Placement::default().owner("lib", 3).node;
        Fleet { nodes, running, owner }
    }

    async fn ask(&self, user: &str, document: &str) -> Got {
        ask(self.running.addresses[0], user, document).await
    }
}

async fn ask(to: SocketAddr, user: &str, document: &str) -> Got {
    let credentials = match user {
        "alice" => "Authorization: Basic YWxpY2U6YWxpY2UtcHc=\r\n",
        "bob" => "Authorization: Basic Ym9iOmJvYi1wdw==\r\n",
        _ => "",
    };
    let body = json!({"query": document}).to_string();
    let header = format!(
        "POST /v2/_zot/ext/search HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{credentials}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    wire::send(to, header.as_bytes().to_vec()).await
}

fn json(got: &Got) -> Value {
    if got.body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&got.body).unwrap_or_else(|error| panic!("{error}: {}", got.text()))
}

/// An exception: a digest that no tag leads to, or only where the client may not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_the_client_cannot_see_is_an_error_and_not_a_part() {
    let fleet = Fleet::start("").await;
    let content = Set::read("").content();
    let owner = |repository: &str| onezot::fleet::Placement::default().owner(repository, 3).node;
    let untagged = |push: &&onezot::demo::content::Push| {
        let is_tagged =
            content.pushes.iter().any(|other| other.digest == push.digest && other.reference != push.digest);
        let is_child = content.manifests.values().any(|manifest| manifest.children.contains(&push.digest));
        push.reference == push.digest && !is_tagged && !is_child
    };
    let elsewhere = content.pushes.iter().filter(untagged).find(|push| owner(&push.repository) != fleet.owner).unwrap();
    let query = |image: &str, digest: &str| {
        format!(r#"{{DerivedImageList(image:"{image}",digest:"{digest}"){{Results{{Tag}}}}}}"#)
    };
    let said = |got: &Got| json(got)["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    let got = fleet.ask("alice", &query("lib:1", &elsewhere.digest)).await;
    assert_eq!(said(&got), format!("image meta not found for digest {}", elsewhere.digest), "{}", got.text());
    // The owner has it: its own relations would be a part.
    let mut refused = 0;
    for here in content.pushes.iter().filter(untagged) {
        let beside = content.pushes.iter().find(|push| {
            let is_named = !push.reference.starts_with("sha256") && push.user == "alice";
            is_named && owner(&push.repository) == owner(&here.repository)
        });
        let beside = beside.map(|push| format!("{}:{}", push.repository, push.reference)).unwrap();
        let got = fleet.ask("alice", &query(&beside, &here.digest)).await;
        assert!(json(&got)["data"].is_null(), "{}", got.text());
        refused += usize::from(said(&got).starts_with("no image that you may read has a tag and the digest sha256:"));
    }
    assert!(refused > 0);
    // bob may read lib, and nothing of team-a.
    let unreadable =
        content.pushes.iter().find(|push| push.repository == "team-a/app" && push.reference == "1.0.1").unwrap();
    let got = fleet.ask("bob", &query("lib:1", &unreadable.digest)).await;
    assert!(said(&got).contains("digest sha256:"), "{}", got.text());
    fleet.running.stop().await;
}

/// An image that would be looked for very often is looked for in one list of everything.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_very_many_first_layers_costs_one_list() {
    let valid = r#"{"errors":[{"message":"operation _oz_validate not found"}],"data":null}"#;
    let manifests: Vec<Value> = (0..300)
        .map(|index| json!({"Digest": format!("sha256:{index:064x}"), "Layers": [{"Digest": format!("sha256:{:064x}", 1000 + index)}]}))
        .collect();
    let answer = json!({"data": {
        "DerivedImageList": {"Results": []},
        "_oz_0": {"Results": []},
        "_oz_image": {"Tag": "1", "Manifests": manifests},
    }})
    .to_string();
    let mut stubs = Vec::new();
    for _ in 0..2 {
        let answer = answer.clone();
        let node = move |seen: &stub::Seen| {
            let is_validation = String::from_utf8_lossy(&seen.body).contains("_oz_validate");
            reply(200, if is_validation { valid.to_owned() } else { answer.clone() })
        };
        stubs.push(Stub::new(node).await);
    }
    let addresses: Vec<_> = stubs.iter().map(|stub| stub.address).collect();
    let running = wire::gateway(&addresses, "locate: owner\n").await;
    let got = ask(running.addresses[0], "", r#"{DerivedImageList(image:"lib:1"){Results{Tag}}}"#).await;
    running.stop().await;
    assert_eq!(json(&got)["data"]["DerivedImageList"]["Results"], json!([]), "{}", got.text());
    let seen: Vec<String> =
        stubs.iter().flat_map(Stub::seen).map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert_eq!(seen.len(), 3, "the validation, the owner, and the other one: {seen:?}");
    let lists = seen.iter().filter(|body| body.contains("ImageList(repo:")).collect::<Vec<_>>();
    assert!(lists.len() == 1 && !lists[0].contains("ImageListForDigest"), "{lists:?}");
}

/// Of nodes that scan and nodes that do not, the list of one node's part is no list.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_scan_is_missing_in_a_list_for_a_cve() {
    let query = r#"{ImageListForCVE(id:"CVE-2099-0001"){Page{TotalCount} Results{RepoName Tag}}}"#;
    for (partial, without) in [("fail", [1, 1]), ("warn", [1, 1]), ("warn", [0, 3])] {
        let set = Set::read("cve/");
        let mut nodes = Vec::new();
        for index in 0..3 {
            let scans = !(without[0]..without[0] + without[1]).contains(&index);
            nodes.push(if scans {
                set.node(Some(index), 7).await
            } else {
                set.node_without_scans(Some(index), 7).await
            });
        }
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        let running = wire::gateway(&addresses, &format!("partial: {partial}\n")).await;
        let got = ask(running.addresses[0], "alice", query).await;
        let answer = json(&got);
        running.stop().await;
        match (partial, without[1]) {
            (_, 3) => {
                assert_eq!((got.status, &answer["errors"][0]["message"]), (200, &json!("cve search is disabled")));
            }
            ("fail", _) => {
                assert_eq!(got.status, 502);
                assert_eq!(answer["errors"][0]["message"], "node zot-1 says: cve search is disabled");
            }
            _ => {
                assert_eq!(answer["extensions"]["onezot"]["nodes"]["failed"], json!(["zot-1"]), "{answer}");
                assert!(answer["data"]["ImageListForCVE"]["Page"]["TotalCount"].as_u64().unwrap() > 0);
            }
        }
    }
}
