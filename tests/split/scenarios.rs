//! What becomes of copies: tags that are two images, pushes, deletions, blobs that are elsewhere.

use super::demo_replay::Set;
use super::wire::{self, Got};
use onezot::demo::{Content, Fault, Node};
use onezot::fleet::Placement;
use onezot::server::Running;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub async fn alice(to: SocketAddr, method: &str, target: &str, body: &[u8], content_type: &str) -> Got {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nAuthorization: Basic YWxpY2U6YWxpY2UtcHc=\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    wire::send(to, [head.as_bytes(), body].concat()).await
}

/// Status and body of the answer.
pub async fn text(to: SocketAddr, method: &str, target: &str) -> String {
    let got = alice(to, method, target, b"", "text/plain").await;
    format!("{} {}", got.status, got.text())
}

pub fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

async fn upload(to: SocketAddr, name: &str, bytes: &[u8]) -> Value {
    let target = format!("/v2/{name}/blobs/uploads/?digest={}", digest(bytes));
    let got = alice(to, "POST", &target, bytes, "application/octet-stream").await;
    assert_eq!(got.status, 201, "{}", got.text());
    json!({"mediaType": "application/octet-stream", "digest": digest(bytes), "size": bytes.len()})
}

/// A manifest of a configuration and one layer, which are not pushed.
fn manifest(layer: &str) -> (Vec<u8>, Vec<u8>) {
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                        "author": layer})
    .to_string();
    let of = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let config_of = of("application/vnd.oci.image.config.v1+json", config.as_bytes());
    let layer_of = of("application/vnd.oci.image.layer.v1.tar+gzip", layer.as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config_of, "layers": [layer_of]});
    (manifest.to_string().into_bytes(), config.into_bytes())
}

/// Pushes an image; its digest.
pub async fn pushed(to: SocketAddr, name: &str, tag: &str, layer: &str) -> String {
    let (manifest, config) = manifest(layer);
    upload(to, name, &config).await;
    upload(to, name, layer.as_bytes()).await;
    let got = alice(to, "PUT", &format!("/v2/{name}/manifests/{tag}"), &manifest, MANIFEST).await;
    assert_eq!(got.status, 201, "{name}:{tag}: {}", got.text());
    digest(&manifest)
}

/// Three nodes without anything, and a gateway.
async fn fleet() -> (Vec<Node>, Running) {
    let set = Set::read("");
    let mut nodes = Vec::new();
    for seed in 0..3 {
        nodes.push(set.node_that_holds(&Content::default(), seed, |_| false).await);
    }
    let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
    let running = wire::gateway(&addresses, "admin: 127.0.0.1:0\nlocate: search\n").await;
    (nodes, running)
}

fn owner(name: &str) -> usize {
    Placement::default().owner(name, 3).node
}

async fn search(to: SocketAddr, query: &str) -> Value {
    let body = json!({"query": query}).to_string();
    let got = alice(to, "POST", "/v2/_zot/ext/search", body.as_bytes(), "application/json").await;
    assert_eq!(got.status, 200, "{}", got.text());
    serde_json::from_slice(&got.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_tag_that_is_two_images_the_owners_is_served_and_it_is_counted() {
    let (nodes, running) = fleet().await;
    let (to, first) = (running.addresses[0], owner("lib"));
    let [second, third] = [1, 2].map(|more| nodes[(first + more) % 3].address());
    let owners = pushed(nodes[first].address(), "lib", "1", "the owner's").await;
    pushed(second, "lib", "1", "another one").await;
    let others = pushed(second, "lib", "2", "of the second").await;
    pushed(third, "lib", "3", "of the third").await;
    assert!(text(to, "GET", "/v2/lib/tags/list").await.contains("[\"1\",\"2\",\"3\"]"));
    let page = alice(to, "GET", "/v2/lib/tags/list?n=2", b"", "text/plain").await;
    assert_eq!(
        (page.text().trim(), page.header("link")),
        (r#"{"name":"lib","tags":["1","2"]}"#, Some("</v2/lib/tags/list?n=2&last=2>; rel=\"next\""))
    );
    let last = alice(to, "GET", "/v2/lib/tags/list?n=1&last=2", b"", "text/plain").await;
    assert_eq!((last.text().trim(), last.header("link")), (r#"{"name":"lib","tags":["3"]}"#, None));
    assert_eq!(text(to, "GET", "/v2/lib/tags/list?last=nope").await, "404 ");
    assert_eq!(text(to, "GET", "/v2/lib/tags/list?n=x").await, "400 ");
    for (tag, digest) in [("1", &owners), ("2", &others)] {
        let got = alice(to, "GET", &format!("/v2/lib/manifests/{tag}"), b"", "text/plain").await;
        assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()), "{tag}");
        let image = search(to, &format!("{{Image(image:\"lib:{tag}\"){{Digest}}}}")).await;
        assert_eq!(image["data"]["Image"]["Digest"], **digest, "{tag}");
    }
    let results = "Page{TotalCount} Results{Tag Digest}";
    let found = search(
        to,
        &format!("{{ImageList(repo:\"lib\"){{{results}}} of_digest:ImageListForDigest(id:\"\"){{{results}}}}}"),
    )
    .await;
    for list in ["ImageList", "of_digest"] {
        assert_eq!(found["data"][list]["Page"]["TotalCount"], 3, "{found}");
        assert_eq!(found["data"][list]["Results"][0], json!({"Tag": "1", "Digest": owners}), "{found}");
    }
    // What is only found in the copy that does not count is not found.
    let copy = digest(b"another one");
    let found =
        search(to, &format!("{{ImageListForDigest(id:\"{copy}\"){{Page{{TotalCount}} Results{{Tag}}}}}}")).await;
    assert_eq!(found["data"]["ImageListForDigest"], json!({"Page": {"TotalCount": 0}, "Results": []}));
    let expanded =
        search(to, "{ExpandedRepoInfo(repo:\"lib\"){Images{Tag} Summary{Name Size NewestImage{RepoName}}}}").await;
    assert_eq!(expanded["data"]["ExpandedRepoInfo"]["Images"].as_array().unwrap().len(), 3, "{expanded}");
    let status = wire::get(running.admin.unwrap(), "/status").await;
    let status: Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(status["conflicting_tags"]["such_as"], json!(["lib:1"]), "{status}");
    assert!(status["conflicting_tags"]["met"].as_u64() >= Some(1), "{status}");

    // A push takes the other copy away, a deletion both.
    let moved = pushed(to, "lib", "1", "a newer one").await;
    assert!(text(second, "GET", "/v2/lib/manifests/1").await.starts_with("404"));
    let got = alice(to, "GET", "/v2/lib/manifests/1", b"", "text/plain").await;
    assert_eq!(got.header("docker-content-digest"), Some(moved.as_str()));
    pushed(second, "lib", "1", "behind its back").await;
    assert!(text(to, "DELETE", "/v2/lib/manifests/1").await.starts_with("202"));
    assert!(text(to, "GET", "/v2/lib/manifests/1").await.starts_with("404"));
    assert!(text(to, "GET", "/v2/lib/tags/list").await.contains("[\"2\",\"3\"]"));
    for digest in [&others] {
        assert!(text(to, "DELETE", &format!("/v2/lib/manifests/{digest}")).await.starts_with("202"));
        assert!(text(to, "GET", &format!("/v2/lib/manifests/{digest}")).await.starts_with("404"));
    }
    assert!(text(to, "DELETE", "/v2/lib/manifests/2").await.starts_with("404"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_is_made_of_is_brought_from_other_nodes() {
    let (nodes, running) = fleet().await;
    let (to, first) = (running.addresses[0], owner("lib"));
    let second = nodes[(first + 1) % 3].address();
    pushed(nodes[first].address(), "lib", "1", "here").await;
    let child = pushed(second, "lib", "2", "there").await;
    // The layer is seen, so that no client uploads it again.
    let layer = digest(b"there");
    assert!(text(to, "HEAD", &format!("/v2/lib/blobs/{layer}")).await.starts_with("200"));
    let (manifest, _) = manifest("there");
    let mut other: Value = serde_json::from_slice(&manifest).unwrap();
    other["annotations"] = json!({"a": "b"});
    let other = other.to_string();
    let got = alice(to, "PUT", "/v2/lib/manifests/3", other.as_bytes(), MANIFEST).await;
    assert_eq!(got.status, 201, "{}", got.text());
    assert_eq!(got.header("location"), Some(format!("/v2/lib/manifests/{}", digest(other.as_bytes())).as_str()));
    assert!(text(nodes[first].address(), "GET", "/v2/lib/manifests/3").await.starts_with("200"));
    // An index goes to where its first manifest is, and gets the others.
    let here = alice(to, "GET", "/v2/lib/manifests/1", b"", "text/plain").await.body;
    let of = |bytes: &[u8]| json!({"mediaType": MANIFEST, "digest": digest(bytes), "size": bytes.len()});
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [of(&manifest), of(&here)]}).to_string();
    let got = alice(to, "PUT", "/v2/lib/manifests/all", index.as_bytes(), kind).await;
    assert_eq!(got.status, 201, "{}", got.text());
    let found = search(to, "{Image(image:\"lib:all\"){Manifests{Digest}}}").await;
    assert_eq!(found["data"]["Image"]["Manifests"], json!([{"Digest": child}, {"Digest": digest(&here)}]));
    // What nobody has is refused in a zot's words.
    let (missing, _) = super::scenarios::manifest("nowhere");
    let got = alice(to, "PUT", "/v2/lib/manifests/4", &missing, MANIFEST).await;
    assert!(got.status == 400 && got.text().contains("MANIFEST_INVALID"), "{}", got.text());
    let got = alice(to, "PUT", "/v2/lib/manifests/4", b"{", MANIFEST).await;
    assert_eq!(got.status, 400, "{}", got.text());
    // What refers to an image goes where that is, and is found with all others.
    let config = upload(to, "lib", b"{}").await;
    for (number, subject) in [&manifest, &here].into_iter().enumerate() {
        let referrer = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b", "config": config,
                              "layers": [], "subject": of(subject), "annotations": {"n": number.to_string()}})
        .to_string();
        let target = format!("/v2/lib/manifests/{}", digest(referrer.as_bytes()));
        let got = alice(to, "PUT", &target, referrer.as_bytes(), MANIFEST).await;
        assert_eq!(got.status, 201, "{}", got.text());
        let target = format!("/v2/lib/referrers/{}?artifactType=a%2Fb", digest(subject));
        let got = alice(to, "GET", &target, b"", "text/plain").await;
        assert_eq!(got.header("oci-filters-applied"), Some("artifactType"));
        let listed: Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(listed["manifests"].as_array().unwrap().len(), 1, "{listed}");
        let query = format!("{{Referrers(repo:\"lib\",digest:\"{}\",type:[]){{Digest}}}}", digest(subject));
        let found = search(to, &query).await;
        assert_eq!(found["data"]["Referrers"], json!([{"Digest": digest(referrer.as_bytes())}]), "{found}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_leaves_no_short_lists() {
    let (nodes, running) = fleet().await;
    let (to, first) = (running.addresses[0], owner("lib"));
    let second = (first + 1) % 3;
    pushed(nodes[first].address(), "lib", "1", "here").await;
    let there = pushed(nodes[second].address(), "lib", "2", "there").await;
    assert!(text(to, "GET", "/v2/lib/tags/list").await.contains("[\"1\",\"2\"]"));
    nodes[second].faults().set(Fault::Status(http::StatusCode::INTERNAL_SERVER_ERROR));
    for target in
        ["/v2/lib/tags/list".to_owned(), format!("/v2/lib/referrers/{there}"), "/v2/lib/manifests/2".to_owned()]
    {
        let got = text(to, "GET", &target).await;
        assert!(got.starts_with("502") && got.contains(&format!("zot-{second}")), "{target}: {got}");
    }
    for query in [
        "{ImageList(repo:\"lib\"){Results{Tag}}}",
        "{Image(image:\"lib:2\"){Tag}}",
        "{ExpandedRepoInfo(repo:\"lib\"){Images{Tag}}}",
    ] {
        let body = json!({"query": query}).to_string();
        let got = alice(to, "POST", "/v2/_zot/ext/search", body.as_bytes(), "application/json").await;
        assert!(got.status == 502 && got.text().contains(&format!("zot-{second}")), "{query}: {}", got.text());
    }
    nodes[second].faults().clear();
    assert!(text(to, "GET", "/v2/lib/tags/list").await.contains("[\"1\",\"2\"]"));
    running.stop().await;
}

/// A repository on one node costs what it cost before, once it is known where it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_on_one_node_is_asked_for_there_only() {
    let (nodes, running) = fleet().await;
    let to = running.addresses[0];
    pushed(to, "lib", "1", "here").await;
    let look = "/v2/lib/tags/list";
    text(to, "GET", look).await;
    let query = json!({"query": "{Image(image:\"lib:1\"){Digest} ImageList(repo:\"lib\"){Results{Tag}}}"}).to_string();
    let seen = || nodes.iter().flat_map(Node::take_seen).count();
    seen();
    text(to, "GET", look).await;
    assert_eq!(seen(), 1);
    alice(to, "POST", "/v2/_zot/ext/search", query.as_bytes(), "application/json").await;
    assert_eq!(seen(), 1);
    // The first look at a repository asks every node.
    text(to, "GET", "/v2/nobody/has/it/tags/list").await;
    assert_eq!(seen(), 3 + 1);
    running.stop().await;
}
