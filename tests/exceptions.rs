//! Every exception of the README has a test, and those that nothing else tests are tested here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use http::Method;
use onezot::demo::{Node, Setup};
use onezot::fleet::Placement;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use stub::{Stub, reply};

/// How each row of the README begins, and the test that shows what onezot does: its file and its name.
const ROWS: &[(&str, &str, &str)] = &[
    ("`_catalog?last=X` where", "golden_rest.rs", "every_recorded_request_is_answered_as_the_one_answers_it"),
    ("HEAD of a blob", "exceptions.rs", "a_read_of_a_blob_links_nothing"),
    ("mounting a blob", "mount.rs", "mounts_are_answered_as_one_zot_answers_them"),
    ("`/readyz`, `/startupz` of one", "discovery.rs", "before_the_first_membership_it_is_alive_and_not_ready"),
    ("SIGHUP", "cli.rs", "a_configuration_is_read_again_on_sighup_and_when_its_file_changes"),
    ("escaped slashes", "gateway.rs", "odd_paths_never_reach_a_node"),
    ("referrers of a name", "golden_rest.rs", "every_recorded_request_is_answered_as_the_one_answers_it"),
    ("`/metrics`, `/swagger/`", "gateway.rs", "odd_paths_never_reach_a_node"),
    (
        "`digest` in `DerivedImageList`",
        "composed_faults.rs",
        "a_digest_that_the_client_cannot_see_is_an_error_and_not_a_part",
    ),
    (
        "fields of an index",
        "../src/compose/lineage/update_time.rs",
        "what_is_not_known_of_the_first_is_taken_from_its_siblings",
    ),
    (
        "an index with a manifest that",
        "differential/sequences.rs",
        "an_image_that_is_only_a_signature_is_not_seen_from_another_node",
    ),
    ("an index in `ImageListForCVE`", "golden_graphql.rs", "the_gateway_answers_as_the_one_with_scans"),
    ("`CVEListForImage` of a digest", "golden_graphql.rs", "the_gateway_answers_as_the_one_with_scans"),
    ("a page beyond 64 bits", "golden_graphql.rs", "the_gateway_answers_as_the_one"),
    ("a GraphQL form of odd make", "odd_requests.rs", "what_only_go_would_read_is_refused_and_no_part"),
    ("the handshake of a WebSocket", "gateway.rs", "a_web_socket_is_not_opened_to_one_node"),
    ("a session whose node", "identity.rs", "a_node_that_was_down_at_login_or_forgets_is_missing_and_logs_nobody_out"),
    (
        "API keys while no seal key",
        "identity.rs",
        "without_a_seal_key_sessions_are_those_of_the_process_and_api_keys_are_refused",
    ),
    (
        "a sign-in at a provider",
        "identity.rs",
        "a_sign_in_at_a_provider_stays_at_its_node_and_is_refused_where_it_would_reach_one_only",
    ),
    ("keys that begin with `_oz_`", "gateway.rs", "documents_are_bounded_before_any_node_is_asked"),
    ("a header that is malformed", "exceptions.rs", "what_cannot_be_read_is_400_and_reaches_no_node"),
    ("a bare `#` in the target", "exceptions.rs", "a_target_ends_with_a_fragment"),
    ("`Expect: 100-continue` in HTTP/2", "http2.rs", "nobody_is_told_to_go_on_and_whoever_goes_on_is_answered"),
    ("a chunk of a body", "hygiene.rs", "nothing_odd_reaches_a_node_and_nothing_that_nginx_refuses"),
    ("a body whose end", "hygiene.rs", "nothing_odd_reaches_a_node_and_nothing_that_nginx_refuses"),
    ("`CONNECT`", "exceptions.rs", "connect_is_405_and_reaches_no_node"),
];

#[test]
fn every_exception_of_the_readme_has_a_test() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, section) = readme.split_once("## Where onezot is not like one zot").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    for row in &rows {
        assert_eq!(row.matches(" | ").count(), 3, "what, one zot, onezot, why: {row}");
        let known = ROWS.iter().filter(|(begin, ..)| row[2..].starts_with(begin)).count();
        assert_eq!(known, 1, "a test for: {row}");
    }
    assert_eq!(rows.len(), ROWS.len(), "rows that the README does not have");
    for (_, file, name) in ROWS {
        let text = std::fs::read_to_string(format!("tests/{file}")).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{file} has no {name}");
    }
}

/// A repository on a node of two.
fn on(node: usize) -> String {
    let owner = |name: &String| Placement::default().owner(name, 2).node;
    (0..).map(|number| format!("r{number}")).find(|name| owner(name) == node).unwrap()
}

async fn request(to: SocketAddr, head: &str, body: &str) -> wire::Got {
    let text = format!("{head}\r\nHost: r\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    wire::send(to, text.into_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_blob_links_nothing() {
    let nodes = [Node::start(Setup::default()).await.unwrap(), Node::start(Setup::default()).await.unwrap()];
    let running = wire::gateway(&nodes.each_ref().map(Node::address), "").await;
    let to = running.addresses[0];
    let digest: String = Sha256::digest("blob").iter().map(|byte| format!("{byte:02x}")).collect();
    let push = format!(
        "POST /v2/{}/blobs/uploads/?digest=sha256:{digest} HTTP/1.1\r\nContent-Type: application/octet-stream",
        on(0)
    );
    assert_eq!(request(to, &push, "blob").await.status, 201);
    for (method, range) in [("HEAD", ""), ("GET", "\r\nRange: bytes=0-0")] {
        let head = format!("{method} /v2/{}/blobs/sha256:{digest} HTTP/1.1{range}", on(1));
        assert_eq!(request(to, &head, "").await.status, 404, "{method}");
    }
    let catalog = wire::get(to, "/v2/_catalog").await;
    assert_eq!(catalog.text().trim(), format!(r#"{{"repositories":["{}"]}}"#, on(0)));
    // On one zot, the HEAD links it.
    let head = format!("HEAD /v2/other/blobs/sha256:{digest} HTTP/1.1");
    assert_eq!(request(nodes[0].address(), &head, "").await.status, 200);
    running.stop().await;
}

/// What a gateway in front of one node answers to these bytes, and whether the node got anything.
async fn answered(bytes: &[u8]) -> (u16, String, usize) {
    let node = Stub::new(|_| reply(200, "from the node")).await;
    let running = wire::gateway(&[node.address], "").await;
    let got = wire::send(running.addresses[0], bytes.to_vec()).await;
    running.stop().await;
    (got.status, got.text().to_owned(), node.seen().iter().filter(|seen| seen.method != Method::HEAD).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_400_and_reaches_no_node() {
    let many: String = (0..300).map(|number| format!("X-{number}: 1\r\n")).collect();
    let large = format!("X: {}\r\n", "x".repeat(2 << 20));
    for (what, lines) in [
        ("a name with a blank", "Host: r\r\nX y: 1\r\n".to_owned()),
        ("no colon", "Host: r\r\nnonsense\r\n".to_owned()),
        ("a control character", "Host: r\r\nX: a\u{1}b\r\n".to_owned()),
        ("too many", format!("Host: r\r\n{many}")),
        ("too large", format!("Host: r\r\n{large}")),
    ] {
        let (status, body, reached) = answered(format!("GET /v2/ HTTP/1.1\r\n{lines}\r\n").as_bytes()).await;
        assert_eq!((status, body.as_str(), reached), (400, "", 0), "{what}");
    }
    let (status, _, reached) =
        answered(b"GET http://elsewhere/v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await;
    assert_eq!((status, reached), (400, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_is_405_and_reaches_no_node() {
    for target in ["r:443", "/v2/", "http://r/v2/"] {
        let text = format!("CONNECT {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
        let (status, body, reached) = answered(text.as_bytes()).await;
        assert_eq!((status, body.as_str(), reached), (405, "", 0), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_ends_with_a_fragment() {
    let node = Stub::new(|_| reply(200, r#"{"repositories":["lib","lib.x"]}"#)).await;
    let running = wire::gateway(&[node.address], "").await;
    let got = request(running.addresses[0], "GET /v2/_catalog?last=lib#x HTTP/1.1", "").await;
    assert_eq!((got.status, got.text()), (200, r#"{"repositories":["lib.x"]}"#));
    assert!(node.seen().iter().all(|seen| !seen.target.contains("x")), "{:?}", node.seen());
    running.stop().await;
}
