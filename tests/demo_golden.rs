//! The embedded nodes against recorded answers of real zots.

#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/oracle.rs"]
mod oracle;

use demo_replay::{Flow, Sender, Set, Tally, lines, run_flow};

/// Requests whose answers differ, and why that is so.
const EXCEPTIONS: &[(usize, &str)] = &[];

fn rest_only() -> bool {
    std::env::var_os("DEMO_REST_ONLY").is_some()
}

async fn replay(set: &Set, server: &str, index: Option<usize>) {
    set.teach();
    let answers = set.answers(server);
    let node = set.node(index, 42).await;
    let sender = Sender::to(&node);
    let mut tally = Tally::default();
    for request in set.requests.iter().filter(|request| request.kind != "after-flows") {
        if rest_only() && request.path.starts_with("/v2/_zot/ext/search") {
            continue;
        }
        if let Some(expected) = answers.get(&request.n) {
            let actual = sender.send(request).await;
            tally.note(request, expected, &actual);
        }
    }
    tally.settle(server, EXCEPTIONS);
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
        if rest_only() && request.path.starts_with("/v2/_zot/ext/search") {
            continue;
        }
        tally.note(request, &answers[&request.n], &sender.send(request).await);
    }
    for line in &found {
        println!("{}", line.chars().take(900).collect::<String>());
    }
    tally.settle("after the flows", &[]);
    assert!(found.is_empty(), "{} steps differ", found.len());
}
