//! Odd requests to the gateway over three embedded nodes, and to one embedded node with everything: the tables of
//! `tests/real_http.rs`, which compares real zots with them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/bad_histories.rs"]
mod bad_histories;
#[path = "support/alike.rs"]
mod beside;
#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/odd_documents.rs"]
mod odd_documents;
#[path = "support/odd_routes.rs"]
mod odd_routes;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/zots.rs"]
mod zots;

use beside::Case;
use demo_replay::Set;
use onezot::demo::Node;
use onezot::server::Running;
use std::net::SocketAddr;
use zots::{Call, Content};

/// What the embedded nodes answer otherwise than a zot, since their validation and their places are async-graphql's: a line
/// does not end with a carriage return there, a field that is selected twice is where it is last, and `null` for a variable
/// with a default is no text.
fn is_of_the_library(name: &str) -> bool {
    let places = ["carriage return", ": twice", ": fragments"];
    let is_place = name.starts_with("place") && places.iter().any(|place| name.contains(place));
    is_place || name.starts_with("nullable") && name.ends_with(r#"{"r":null}"#) || name == "variable default: null"
}

/// One node with everything, and a gateway over three that share it.
struct Sides {
    one: Node,
    _nodes: Vec<Node>,
    running: Running,
}

impl Sides {
    async fn start() -> Sides {
        let set = Set::read("");
        let one = set.node(None, 1).await;
        let mut nodes = Vec::new();
        for index in 0..3 {
            nodes.push(set.node(Some(index), 2 + index as u64).await);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
        Sides { one, _nodes: nodes, running: wire::gateway(&addresses, "").await }
    }

    /// What differs, of at least so many cases.
    async fn compare(&self, cases: Vec<Case>, least: usize) {
        assert!(cases.len() >= least, "{}", cases.len());
        let found = beside::compare(&cases, self.one.address(), self.running.addresses[0]).await;
        let lines: Vec<String> = found.iter().map(|(name, differing)| format!("{name}: {differing}")).collect();
        assert!(lines.is_empty(), "{} of {} differ:\n{}", lines.len(), cases.len(), lines.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_documents_are_answered_as_by_one_node() {
    let sides = Sides::start().await;
    let cases = odd_documents::cases().into_iter().filter(|case| !is_of_the_library(&case.name));
    sides.compare(cases.collect(), 2000).await;
    sides.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_to_other_routes_are_answered_as_by_one_node() {
    let sides = Sides::start().await;
    sides.compare(odd_routes::cases(&Content::recorded()), 6000).await;
    sides.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_what_is_not_on_the_page_are_told() {
    let sides = Sides::start().await;
    for to in [sides.one.address(), sides.running.addresses[0]] {
        bad_histories::push(to).await;
    }
    sides.compare(bad_histories::cases(), 700).await;
    sides.running.stop().await;
}

/// Forms and variables that only Go's readers would take apart: an exception of the README.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_go_would_read_is_refused_and_no_part() {
    let sides = Sides::start().await;
    let search = |content_type: &str, body: String| Call::by(0, "POST", "/v2/_zot/ext/search").with(content_type, body);
    let document = "{RepoListWithNewestImage{Results{Name}}}";
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let part = |name: &str, content: &str| {
        let head =
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Transfer-Encoding: 8bit\r\n");
        format!("{head}\r\n{content}\r\n")
    };
    let form = part("operations", &format!(r#"{{"query":"{document}"}}"#)) + &part("map", "{}") + "--B--\r\n";
    for call in [
        search("application/json", format!(r#"{{"query":"{document}","variables":{{"x":{deep}}}}}"#)),
        search("multipart/form-data; boundary=B", form),
    ] {
        assert_eq!(call.send(sides.one.address()).await.status, 200, "{call:?}");
        let got = call.send(sides.running.addresses[0]).await;
        assert_eq!(got.status, 422, "{}", got.text());
        assert!(got.text().contains("this gateway"), "{}", got.text());
    }
    sides.running.stop().await;
}

/// The comparison notices a fleet that answers otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_noticed() {
    let sides = Sides::start().await;
    bad_histories::push(sides.one.address()).await;
    let found = beside::compare(&bad_histories::cases(), sides.one.address(), sides.running.addresses[0]).await;
    assert!(found.len() > 300, "{}", found.len());
    sides.running.stop().await;
}
