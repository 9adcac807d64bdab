//! Random sequences of registry requests to the gateway over 1, 2, 3 and 7 embedded nodes, and to one embedded node. Every
//! answer is compared, and every few steps all that can be seen.
//!
//! `ONEZOT_SEQUENCES` says how many for each fleet (default 25), `ONEZOT_SEED` which ones. The first that differs is shrunk
//! and kept in `tests/cases/sequences`, whose files are gone through again each time.

use super::FLEETS;
use super::author::{Author, NAMES, Step};
use super::beside::{Outcome, Pair};
use super::demo_compare::Request;
use super::demo_replay::Set;
use super::looks::Named;
use super::made;
use super::sides::{Sides, number};
use onezot::demo::Content;
use std::collections::BTreeSet;

/// Goes through a sequence over so many nodes that own some of the repositories.
async fn run(steps: &[Step], nodes: usize, placement: u64) -> Outcome {
    let names: BTreeSet<&str> = NAMES.into_iter().collect();
    let set = Set::of_servers("");
    let sides = Sides::placed(&set, &Content::default(), &names, nodes, placement, None).await;
    let outcome = Pair { one: &sides.one, fleet: &sides.gateway, with_newest: true }.run(steps).await;
    sides.running.stop().await;
    outcome
}

/// The sequence of a seed, about recorded content or made content.
fn sequence(seed: u64, recorded: &Content) -> Vec<Step> {
    let made;
    let content = if seed.is_multiple_of(2) {
        recorded
    } else {
        made = made::content(seed, 12);
        &made
    };
    let steps = 15 + usize::try_from(seed % 16).unwrap();
    Author::new(seed, content).sequence(steps)
}

/// What is left of a sequence in which the difference is still found: first without many steps, then without single ones
/// and single requests.
async fn shrunk(steps: &[Step], nodes: usize, placement: u64) -> Vec<Step> {
    let mut smallest = steps.to_vec();
    let differs = async |steps: &[Step]| !run(steps, nodes, placement).await.wrong.is_empty();
    let mut size = smallest.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < smallest.len() {
            let mut fewer = smallest.clone();
            fewer.drain(start..(start + size).min(smallest.len()));
            if differs(&fewer).await {
                smallest = fewer;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    for step in 0..smallest.len() {
        let mut request = smallest[step].requests.len();
        while request > 0 && smallest[step].requests.len() > 1 {
            request -= 1;
            let mut fewer = smallest.clone();
            fewer[step].requests.remove(request);
            if differs(&fewer).await {
                smallest = fewer;
            }
        }
    }
    smallest
}

/// Goes through so many sequences over so many nodes.
pub async fn compare(nodes: usize, first: u64, count: u64) -> Outcome {
    let recorded = Set::read("").content();
    let mut all = Outcome::default();
    for seed in first..first + count {
        let steps = sequence(seed, &recorded);
        let outcome = run(&steps, nodes, seed).await;
        if !outcome.wrong.is_empty() {
            println!("{nodes} nodes, sequence {seed}: {:#?}", outcome.wrong);
            if all.wrong.is_empty() {
                let small = serde_json::to_string_pretty(&shrunk(&steps, nodes, seed).await).unwrap();
                std::fs::create_dir_all("tests/cases/sequences").unwrap();
                let file = format!("tests/cases/sequences/seed-{seed}-{nodes}.json");
                std::fs::write(&file, &small).unwrap();
                println!("kept as {file}");
            }
        }
        all.add(outcome);
    }
    println!(
        "{nodes} nodes: {count} sequences from {first}, {} answers, {} differ; exceptions {:?}; steps {:?}; statuses {:?}",
        all.compared,
        all.wrong.len(),
        all.excepted,
        all.steps,
        all.statuses
    );
    all
}

/// Nothing differs, much happens, and few exceptions are met.
pub fn settle(nodes: usize, all: &Outcome) {
    assert!(
        all.wrong.is_empty(),
        "{nodes} nodes: {} differ: {:#?}",
        all.wrong.len(),
        &all.wrong[..all.wrong.len().min(5)]
    );
    let excepted: usize = all.excepted.values().sum();
    assert!(excepted * 50 <= all.compared, "{nodes} nodes: {:?} of {}", all.excepted, all.compared);
    assert!(nodes > 1 || excepted == 0, "one node: {:?}", all.excepted);
    let created = all.statuses.get(&201).copied().unwrap_or_default();
    assert!(created * 4 > all.statuses.values().sum(), "{:?}", all.statuses);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_sequences_are_answered_as_by_one_node() {
    let count = number("ONEZOT_SEQUENCES", 25);
    for nodes in FLEETS {
        let all = compare(nodes, number("ONEZOT_SEED", 1) * 1_000_000 + nodes as u64 * 100_000, count).await;
        settle(nodes, &all);
    }
}

/// What once differed.
#[tokio::test(flavor = "multi_thread")]
async fn kept_sequences_are_answered_as_by_one_node() {
    let mut wrong = Vec::new();
    // There may be none.
    for entry in std::fs::read_dir("tests/cases/sequences").into_iter().flatten() {
        let file = entry.unwrap().path();
        let steps: Vec<Step> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for nodes in FLEETS {
            for placement in 0..4 {
                let outcome = run(&steps, nodes, placement).await;
                wrong
                    .extend(outcome.wrong.into_iter().map(|what| format!("{}: {nodes} nodes: {what}", file.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A tag that only one side has, and a node that lost what it had, are noticed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_of_a_sequence_is_noticed() {
    let set = Set::of_servers("");
    let names: BTreeSet<&str> = NAMES.into_iter().collect();
    let mut noticed = (0, 0, 0);
    for seed in 0..10 {
        let steps = sequence(seed, &set.content());
        let steps = &steps[..8];
        let mut sides = Sides::placed(&set, &Content::default(), &names, 3, seed, None).await;
        let before = Pair { one: &sides.one, fleet: &sides.gateway, with_newest: true }.run(steps).await;
        assert!(before.wrong.is_empty(), "{before:?}");
        let looked = async |sides: &Sides| {
            let mut outcome = Outcome::default();
            Pair { one: &sides.one, fleet: &sides.gateway, with_newest: true }
                .look(&Named::of(steps), 0, &mut outcome)
                .await;
            usize::from(!outcome.wrong.is_empty())
        };
        let puts = steps.iter().flat_map(|step| &step.requests).filter(|asked| asked.method == "PUT");
        for put in puts.filter(|put| put.path.contains("/manifests/")) {
            let path = format!("{}/manifests/only-one", put.path.split("/manifests/").next().unwrap());
            let lone = Request { path, user: Some("alice".to_owned()), ..put.clone() };
            if sides.one.send(&lone).await.status == 201 {
                noticed.0 += 1;
                noticed.1 += looked(&sides).await;
                sides.one.send(&Request { method: "DELETE".to_owned(), ..lone }).await;
                break;
            }
        }
        sides.lose(&set, usize::try_from(seed % 3).unwrap()).await;
        noticed.2 += looked(&sides).await;
        sides.running.stop().await;
    }
    assert!(noticed.0 > 5 && noticed.0 == noticed.1 && noticed.2 > 5, "{noticed:?}");
}
