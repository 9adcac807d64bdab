//! The gateway over three embedded nodes answers the recorded GraphQL requests as the one recorded zot did.

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

use demo_compare::{Request, differences, queries};
use demo_replay::{Sender, Set};
use std::collections::BTreeMap;

/// Kinds of requests that are answered otherwise, each with its number of cases: the reason, and whether a request is
/// one of them.
type Exception = (&'static str, fn(&Request) -> bool);

const EXCEPTIONS: &[Exception] = &[
    ("an index is listed for a CVE only by what its own node knows of its manifests", |request| {
        queries(request).contains("ImageListForCVE")
    }),
    ("a page beyond 64 bits, or a null in a filter, makes a zot panic; onezot pages", |request| {
        let text = text_of(request);
        text.contains("9223372036854775807") || text.contains("[null]")
    }),
    ("a digest under the name of a repository on another node", |request| {
        queries(request).contains("CVEListForImage") && text_of(request).contains("@sha256:")
    }),
    ("zot itself answers either way, as it meets tags in the order of a map", |request| {
        queries(request).contains("ImageListWithCVEFixed") && request.n == 63
    }),
    ("the handshake of a WebSocket is not passed on", |request| {
        request.headers.keys().any(|name| name.eq_ignore_ascii_case("upgrade"))
    }),
];

fn text_of(request: &Request) -> String {
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
    path + &String::from_utf8_lossy(&request.body.bytes())
}

/// Replays a set; `expected` is the number of cases of each exception, in their order.
async fn replay(set: &Set, expected: [usize; EXCEPTIONS.len()]) {
    set.teach();
    let answers = set.answers("one");
    let mut nodes = Vec::new();
    for index in 0..3 {
        nodes.push(set.node(Some(index), 42).await);
    }
    let addresses: Vec<_> = nodes.iter().map(|node| node.address()).collect();
    let running = wire::gateway(&addresses, "").await;
    let sender = Sender::new(format!("http://{}", running.addresses[0]));
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut excepted = [0; EXCEPTIONS.len()];
    let mut wrong = Vec::new();
    for request in set.requests.iter().filter(|r| r.kind == "sent" && r.path.starts_with("/v2/_zot/ext/search")) {
        let Some(recorded) = answers.get(&request.n) else { continue };
        let found = differences(request, recorded, &sender.send(request).await);
        for name in queries(request) {
            let count = counts.entry(name).or_default();
            count.0 += usize::from(found.is_empty());
            count.1 += 1;
        }
        if !found.is_empty() {
            match EXCEPTIONS.iter().position(|(_, is_one)| is_one(request)) {
                Some(index) => excepted[index] += 1,
                None => wrong.push(format!("{}: {}", request.n, found.join("; "))),
            }
        }
    }
    running.stop().await;
    for (name, (passed, recorded)) in counts {
        println!("{}{name}: {passed} of {recorded}", set.prefix);
    }
    for ((reason, _), count) in EXCEPTIONS.iter().zip(excepted) {
        println!("{}exception, {count} cases: {reason}", set.prefix);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(excepted, expected, "fewer exceptions are progress, more are not");
}

#[tokio::test]
async fn the_gateway_answers_as_the_one() {
    replay(&Set::read(""), [0, 6, 0, 0, 1]).await;
}

#[tokio::test]
async fn the_gateway_answers_as_the_one_with_scans() {
    replay(&Set::read("cve/"), [19, 0, 1, 1, 0]).await;
}
