//! The embedded nodes against recorded answers of real zots.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/author.rs"]
mod author;
#[path = "demo/beside_zot.rs"]
mod beside_zot;
#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "demo/histories.rs"]
mod histories;
#[path = "support/looks.rs"]
mod looks;
#[path = "support/made.rs"]
mod made;
#[path = "demo/nodes.rs"]
mod nodes;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/writer.rs"]
mod writer;

use demo_replay::{Flow, Sender, Set, Tally, lines, run_flow};

/// Recorded answers that the embedded nodes do not give: set, server, number of the request, and why that is so.
const EXCEPTIONS: &[(&str, &str, usize, &str)] = &[(
    "cve/",
    "one",
    63,
    "arbitrary: whether team-a/app:1.0.1 counts as fixed depends on the order in which zot meets the tags in a map \
     (GetFixedTags); to the same question it answered otherwise in request 61, and so did node-1 in this one",
)];

/// The requests go to a node in the recorded order: some of them leave traces.
async fn replay(set: &Set, server: &str, index: Option<usize>) {
    set.teach();
    let answers = set.answers(server);
    let node = set.node(index, 42).await;
    let sender = Sender::to(&node);
    let mut tally = Tally::default();
    for request in set.requests.iter().filter(|request| request.kind != "after-flows") {
        if let Some(expected) = answers.get(&request.n) {
            let actual = sender.send(request).await;
            tally.note(request, expected, &actual);
        }
    }
    let here = EXCEPTIONS.iter().filter(|(of, by, ..)| (*of, *by) == (set.prefix, server));
    let exceptions: Vec<(usize, &str)> = here.map(|(_, _, n, reason)| (*n, *reason)).collect();
    tally.settle(&format!("{}{server}", set.prefix), &exceptions);
}

#[tokio::test]
async fn one_node_with_everything_answers_as_the_one() {
    replay(&Set::read(""), "one", None).await;
}

#[tokio::test]
async fn three_nodes_answer_as_the_three() {
    let set = Set::read("");
    for index in 0..3 {
        replay(&set, &format!("node-{index}"), Some(index)).await;
    }
}

#[tokio::test]
async fn scanned_images_are_answered_as_by_the_one() {
    replay(&Set::read("cve/"), "one", None).await;
}

#[tokio::test]
async fn scanned_images_are_answered_as_by_the_three() {
    let set = Set::read("cve/");
    for index in 0..3 {
        replay(&set, &format!("node-{index}"), Some(index)).await;
    }
}

#[tokio::test]
async fn flows_go_as_recorded() {
    let set = Set::read("");
    let node = set.node(None, 42).await;
    let sender = Sender::to(&node);
    // The recorded requests before the flows left their traces: pulls.
    for request in set.requests.iter().filter(|request| request.kind == "sent" && request.path.contains("/manifests/"))
    {
        sender.send(request).await;
    }
    let mut found = Vec::new();
    let flows: Vec<Flow> = lines("flows.jsonl");
    for flow in &flows {
        found.extend(run_flow(&sender, flow).await);
    }
    let answers = set.answers("one");
    let mut tally = Tally::default();
    for request in set.requests.iter().filter(|request| request.kind == "after-flows") {
        tally.note(request, &answers[&request.n], &sender.send(request).await);
    }
    for line in &found {
        println!("{}", line.chars().take(900).collect::<String>());
    }
    tally.settle("after the flows", &[]);
    assert!(found.is_empty(), "{} steps differ", found.len());
}
