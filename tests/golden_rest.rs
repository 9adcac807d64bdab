//! The gateway over three nodes that replay what was recorded of three zots answers each recorded request as the one
//! zot that holds everything did; and what it passes on for pushes, mounts and deletes is what the client sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use onezot::fleet::{HashKey, Placement};
use onezot::plan::{self, Plan, Refusal};
use onezot::rules::{Class, NOWHERE, ROUTES};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use support::client::Client;
use support::compare::{Rules, compare};
use support::golden::{self, Answer, Request};
use support::replay::{Node, STANDS_FOR_NOWHERE, WHOLE_CATALOG};
use support::{gateway, say};

/// Requests that the gateway answers otherwise than the one, on purpose.
struct Exception {
    /// How to speak of it.
    name: &'static str,
    /// Why it is not imitated.
    reason: &'static str,
    /// What the client gets instead.
    instead: (u16, &'static str),
    /// The test cases.
    cases: &'static [&'static str],
}

/// All of them. A case that is answered as the one answers it must be taken out.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        name: "catalog after a repository that the user may not read",
        reason: "the one walks on from there; when the owner of the name has nothing behind it that the user may read, \
                 no node's answer tells such a name from an unknown one, after which the one's page is empty",
        instead: (200, r#"{"repositories":[]}"#),
        cases: &["rest/catalog/last-n/get/anon", "rest/catalog/last-nneg/get/anon", "rest/catalog/last-twice/get/anon"],
    },
    Exception {
        name: "referrers of a directory that is no repository",
        reason: "the one stumbles over a directory of that name in its storage (500, empty); the owner of the name has \
                 no such directory and says that nothing refers to the digest",
        instead: (200, r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#),
        cases: &[
            "rest/directory/infra-referrers-5/get/alice",
            "rest/directory/infra-referrers-q/get/alice",
            "rest/directory/infra_base-referrers-q/get/alice",
            "rest/directory/public_docs-referrers-q/get/alice",
        ],
    },
];

const NODES: usize = 3;

/// The three nodes, and a gateway over them with this placement.
struct Fleet {
    nodes: Vec<Node>,
    running: onezot::server::Running,
    client: Client,
}

impl Fleet {
    async fn start(requests: &[Request], placement: Placement) -> Fleet {
        let mut nodes = Vec::new();
        for index in 0..NODES {
            let answers = golden::answers(&format!("node-{index}"));
            let pairs = requests.iter().filter_map(|request| Some((request.clone(), answers.get(&request.n)?.clone())));
            nodes.push(Node::recorded(pairs).await);
        }
        let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
        let (running, client) = gateway::start(&addresses, placement).await;
        Fleet { nodes, running, client }
    }

    /// Sends a request; the answer, and what the nodes did not know.
    async fn ask(&mut self, request: &Request) -> (Result<Answer, String>, Vec<String>) {
        let answer = self.client.send(&request.method, &request.path, &request.lines(), request.body.as_deref()).await;
        let told = |(index, node): (usize, &Node)| {
            node.failures().into_iter().map(move |failure| format!("node-{index}: {failure}")).collect::<Vec<_>>()
        };
        (answer, self.nodes.iter().enumerate().flat_map(told).collect())
    }

    /// What is wrong with the answer to a request; nothing, if it is the one's.
    async fn differences(&mut self, request: &Request, expected: &Answer) -> Vec<String> {
        let (answer, mut wrong) = self.ask(request).await;
        match answer {
            Ok(answer) => {
                let found = compare(request, expected, &answer, Rules::RECORDED);
                wrong.extend(found.iter().map(ToString::to_string));
            }
            Err(error) => wrong.push(error),
        }
        wrong
    }
}

/// The row of the table that a request falls under, or why it falls under none.
fn row_of(request: &Request) -> &'static str {
    let nodes: Vec<_> = (0..NODES).map(|index| format!("127.0.0.1:{}", 5001 + index).parse().unwrap()).collect();
    let fleet = gateway::config(&nodes).fleet();
    let method = request.method.parse().unwrap();
    match plan::plan(&fleet, &method, request.path.as_bytes()) {
        Plan::Forward(route, _) | Plan::Mount(route, _) | Plan::Catalog(route, _) => route.path,
        Plan::Broadcast(route) | Plan::Probe(route) | Plan::Documents(route) | Plan::Identity(route, _) => route.path,
        Plan::Refuse(Refusal::Redirect(_)) => "(redirected to the clean path)",
        Plan::Unrouted => {
            // The plan does not say which row it was.
            let unrouted = ROUTES.iter().filter(|route| route.class == Class::Unrouted).map(|route| route.path);
            unrouted
                .into_iter()
                .find(|path| request.path.starts_with(path.trim_end_matches('*')))
                .unwrap_or("(no public route)")
        }
        Plan::Refuse(_) => "(refused)",
    }
}

fn sent(requests: &[Request]) -> impl Iterator<Item = &Request> {
    requests.iter().filter(|request| request.kind == "sent" && !request.is_graphql())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_request_is_answered_as_the_one_answers_it() {
    let requests = golden::requests();
    let one = golden::answers("one");
    let mut fleet = Fleet::start(&requests, Placement::default()).await;
    let mut wrong = String::new();
    let mut counts: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut met: BTreeSet<&str> = BTreeSet::new();
    for request in sent(&requests) {
        let count = counts.entry(row_of(request)).or_default();
        count.1 += 1;
        let differences = fleet.differences(request, &one[&request.n]).await;
        let exception = EXCEPTIONS.iter().find(|exception| exception.cases.contains(&request.name()));
        match exception {
            None if differences.is_empty() => count.0 += 1,
            Some(exception) if !differences.is_empty() => {
                count.2 += 1;
                met.insert(request.name());
                // It is pinned what comes instead.
                let (answer, unknown) = fleet.ask(request).await;
                let answer = answer.unwrap();
                let got = (answer.status, String::from_utf8_lossy(&answer.body).into_owned());
                if got != (exception.instead.0, exception.instead.1.to_owned()) || !unknown.is_empty() {
                    writeln!(wrong, "{}: {:?}, {got:?} {unknown:?}", request.name(), exception.name).unwrap();
                }
            }
            None => {
                let user = request.user.as_deref().unwrap_or("nobody");
                let (n, name, method, path) = (request.n, request.name(), &request.method, &request.path);
                writeln!(wrong, "{n} {name}, {user}: {method} {path}\n    {}", differences.join("\n    ")).unwrap();
            }
            Some(_) => {}
        }
    }
    fleet.running.stop().await;

    let mut table = "  passed exceptions recorded  route\n".to_owned();
    let mut total = (0, 0, 0);
    let rows: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    let others = counts.keys().filter(|path| !rows.contains(path));
    for path in rows.iter().chain(others) {
        let (passed, recorded, excepted) = counts.get(path).copied().unwrap_or_default();
        writeln!(table, "{passed:8} {excepted:10} {recorded:8}  {path}").unwrap();
        total = (total.0 + passed, total.1 + recorded, total.2 + excepted);
    }
    writeln!(table, "{:8} {:10} {:8}  all", total.0, total.2, total.1).unwrap();
    for exception in EXCEPTIONS {
        writeln!(table, "exception: {} ({} cases): {}", exception.name, exception.cases.len(), exception.reason)
            .unwrap();
    }
    let later = requests.iter().filter(|request| request.kind == "after-flows" && !request.is_graphql()).count();
    writeln!(
        table,
        "not replayed: {later} requests that were asked of the one alone, after the flows; the nodes have no answers"
    )
    .unwrap();
    say(&table);

    for exception in EXCEPTIONS {
        for case in exception.cases.iter().filter(|case| !met.contains(*case)) {
            writeln!(wrong, "{case}: {:?} does not occur (any more); take it out", exception.name).unwrap();
        }
    }
    assert_eq!(total.1, 376, "all recorded requests");
    assert!(wrong.is_empty(), "{wrong}");
}

/// A replaying node may give one recorded answer for another request only where both were recorded to be the same.
#[test]
fn queries_that_mean_the_whole_catalog_were_answered_alike() {
    let requests = golden::requests();
    let mut compared = 0;
    for server in ["one", "node-0", "node-1", "node-2"] {
        let answers = golden::answers(server);
        let mut whole: BTreeMap<&Option<String>, Vec<(&Request, &Answer)>> = BTreeMap::new();
        for request in sent(&requests).filter(|request| request.method == "GET" && request.headers.is_empty()) {
            let Some(query) = request.path.strip_prefix("/v2/_catalog") else { continue };
            if WHOLE_CATALOG.contains(&query.trim_start_matches('?')) {
                whole.entry(&request.user).or_default().push((request, &answers[&request.n]));
            }
        }
        for (user, answered) in whole.into_iter().filter(|(_, answered)| answered[0].1.status == 200) {
            assert!(answered.len() > 1, "{user:?}: one query proves nothing");
            for (request, answer) in &answered[1..] {
                assert_eq!(*answer, answered[0].1, "{server}, {user:?}: {}", request.path);
                compared += 1;
            }
        }
        // For bob, only such a query was recorded; for the others, the plain catalog too.
        for (user, plain) in [(Some("alice"), true), (Some("bob"), false), (None, true)] {
            let recorded = sent(&requests).any(|r| r.user.as_deref() == user && r.path == "/v2/_catalog");
            assert_eq!(recorded, plain, "{user:?}");
        }
    }
    assert!(compared >= 40, "{compared}");
}

/// And what was recorded of one path without a route may stand for any other.
#[test]
fn paths_without_a_route_were_answered_alike() {
    let requests = golden::requests();
    let mut compared = 0;
    for server in ["one", "node-0", "node-1", "node-2"] {
        let answers = golden::answers(server);
        let unrouted = |request: &&Request| {
            request.method == "GET" && row_of(request).starts_with("/v2*") && request.path != NOWHERE
        };
        for request in sent(&requests).filter(unrouted) {
            let stands = sent(&requests).find(|r| r.path == STANDS_FOR_NOWHERE && r.user == request.user).unwrap();
            assert_eq!(answers[&request.n], answers[&stands.n], "{server}: {}", request.path);
            compared += 1;
        }
    }
    assert!(compared >= 40, "{compared}");
}

#[test]
fn the_recorded_placement_is_the_gateways() {
    let placement = Placement::default();
    let recorded = golden::placement();
    assert_eq!(recorded.len(), 26);
    for (repository, node, hash) in recorded {
        let owner = placement.owner(&repository, NODES);
        assert_eq!((owner.node, owner.why), (node, onezot::fleet::Why::Hash(hash)), "{repository}");
    }
}

/// Shows that the recordings notice a gateway that asks the wrong nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_placement_is_noticed() {
    let requests = golden::requests();
    let one = golden::answers("one");
    let hash_key = HashKey::try_from("another-hash-key".to_owned()).unwrap();
    let mut fleet = Fleet::start(&requests, Placement { hash_key, ..Placement::default() }).await;
    let mut routes = BTreeSet::new();
    for request in sent(&requests) {
        if !fleet.differences(request, &one[&request.n]).await.is_empty() {
            routes.insert(row_of(request));
        }
    }
    fleet.running.stop().await;
    for route in [
        "/v2/<name>/tags/list",
        "/v2/<name>/manifests/<reference>",
        "/v2/<name>/blobs/<digest>",
        "/v2/<name>/referrers/<digest>",
    ] {
        assert!(routes.contains(route), "{route} looks right wherever it is sent: {routes:?}");
    }
}

/// Each step reaches the node as the client sent it, and its answer reaches the client as the node gave it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_pass_unchanged_in_both_directions() {
    let (mut wrong, mut played, mut catalogs, mut graphql) = (String::new(), 0, 0, 0);
    let flows = golden::flows();
    for flow in &flows {
        let (steps, skipped): (Vec<_>, Vec<_>) = flow.steps.iter().partition(|(request, _)| !request.is_graphql());
        graphql += skipped.len();
        let node = Node::script(steps.iter().map(|(request, answer)| (request.clone(), answer.clone()))).await;
        let (running, mut client) = gateway::start(&[node.address], Placement::default()).await;
        for (request, expected) in &steps {
            let (method, path) = (&request.method, &request.path);
            let mut differences = match client.send(method, path, &request.lines(), request.body.as_deref()).await {
                Ok(answer) => {
                    compare(request, expected, &answer, Rules::REPLAY).iter().map(ToString::to_string).collect()
                }
                Err(error) => vec![error],
            };
            differences.extend(node.failures());
            if differences.is_empty() {
                played += 1;
                catalogs += usize::from(path.starts_with("/v2/_catalog"));
            } else {
                writeln!(wrong, "{}: {method} {path}\n    {}", request.name(), differences.join("\n    ")).unwrap();
            }
        }
        if node.steps_left() > 0 {
            writeln!(wrong, "{}: {} steps reached no node", flow.id, node.steps_left()).unwrap();
        }
        running.stop().await;
    }
    say(&format!(
        "flows: {} with {played} steps played ({catalogs} of them the catalog); not played: {graphql} GraphQL steps",
        flows.len()
    ));
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!((flows.len(), played, catalogs, graphql), (23, 189, 5, 38));
}
