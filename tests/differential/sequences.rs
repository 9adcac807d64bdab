//! Random sequences of registry requests to the gateway over 1, 2, 3 and 7 embedded nodes, and to one embedded node. Every
//! answer is compared, and every few steps all that can be seen.
//!
//! `ONEZOT_SEQUENCES` says how many for each fleet (default 40), `ONEZOT_SEED` which ones. The first that differs is shrunk
//! and kept in `tests/cases/sequences`, whose files are gone through again each time.

use super::FLEETS;
use super::author::{Author, NAMES, Step, request};
use super::beside::{Outcome, Pair};
use super::demo_compare::{Answer, Request, differences};
use super::demo_replay::Set;
use super::looks::Named;
use super::made;
use super::sides::{Sides, number};
use futures::stream::{self, StreamExt};
use onezot::demo::Content;
use std::collections::BTreeSet;
use std::pin::pin;

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

/// How many sequences are gone through at the same time.
const AT_A_TIME: usize = 4;

/// Goes through so many sequences over so many nodes.
pub async fn compare(nodes: usize, first: u64, count: u64) -> Outcome {
    let recorded = &Set::of_servers("").content();
    let mut all = Outcome::default();
    let outcomes = stream::iter(first..first + count).map(async |seed| {
        let steps = sequence(seed, recorded);
        let outcome = run(&steps, nodes, seed).await;
        (seed, steps, outcome)
    });
    let mut outcomes = pin!(outcomes.buffer_unordered(AT_A_TIME));
    while let Some((seed, steps, outcome)) = outcomes.next().await {
        if !outcome.wrong.is_empty() {
            println!("{nodes} nodes, sequence {seed}: {:#?}", outcome.wrong);
            if all.wrong.is_empty() {
                let small = serde_json::to_string_pretty(&shrunk(&steps, nodes, seed).await).unwrap();
                let file = format!("tests/cases/sequences/seed-{seed}-{nodes}.json");
                std::fs::write(&file, &small).unwrap();
                println!("kept as {file}");
            }
        }
        all.add(outcome);
    }
    println!(
        "{nodes} nodes: {count} sequences from {first}, {} answers, {} differ; exceptions {:?}",
        all.compared,
        all.wrong.len(),
        all.excepted
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
    let count = number("ONEZOT_SEQUENCES", 40);
    for nodes in FLEETS {
        let all = compare(nodes, number("ONEZOT_SEED", 1) * 1_000_000 + nodes as u64 * 100_000, count).await;
        settle(nodes, &all);
    }
}

/// What once differed, and every exception of the README.
#[tokio::test(flavor = "multi_thread")]
async fn kept_sequences_are_answered_as_by_one_node() {
    let (mut wrong, mut excepted) = (Vec::new(), BTreeSet::<&str>::new());
    for entry in std::fs::read_dir("tests/cases/sequences").unwrap() {
        let file = entry.unwrap().path();
        let steps: Vec<Step> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for nodes in FLEETS {
            for placement in 0..4 {
                let outcome = run(&steps, nodes, placement).await;
                excepted.extend(outcome.excepted.into_keys());
                let shown = |what: String| format!("{}: {nodes} nodes: {what}", file.display());
                wrong.extend(outcome.wrong.into_iter().map(shown));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(excepted.len() >= 5, "{excepted:?}");
}

/// Steps on top of all the recorded content.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_recorded_content_is_as_on_one_node() {
    let set = Set::read("");
    let (seed, content) = (number("ONEZOT_SEED", 1), set.content());
    let sides = Sides::start(&set, 3, None).await;
    let pair = Pair { one: &sides.one, fleet: &sides.gateway, with_newest: true };
    let mut author = Author::who_knows(seed, &content);
    let mut all = Outcome::default();
    for case in 0..number("ONEZOT_CASES", 1000) {
        let mut outcome = pair.run(&[author.step()]).await;
        outcome.wrong.iter_mut().for_each(|what| *what = format!("seed {seed} case {case}: {what}"));
        all.add(outcome);
    }
    sides.running.stop().await;
    println!("{} answers, {} differ; exceptions {:?}", all.compared, all.wrong.len(), all.excepted);
    assert!(all.excepted.values().sum::<usize>() * 50 <= all.compared, "{:?}", all.excepted);
    assert!(all.wrong.is_empty(), "{:#?}", &all.wrong[..all.wrong.len().min(5)]);
}

/// An exception of the README: the manifest is missing where its repository and the one that has it as an image are on two
/// nodes, and nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_only_a_signature_is_not_seen_from_another_node() {
    let text = std::fs::read("tests/cases/exceptions/an-image-as-a-signature.json").unwrap();
    let steps: Vec<Step> = serde_json::from_slice(&text).unwrap();
    let together = run(&steps, 1, 0).await;
    assert!(together.wrong.is_empty(), "{:?}", together.wrong);
    let mut differ = 0;
    for placement in 0..8 {
        for what in run(&steps, 7, placement).await.wrong {
            differ += 1;
            let is_lists = what.contains("Manifests: 4 items instead of 5") || what.contains("ageList(image:");
            assert!(what.starts_with("look") && is_lists, "{what}");
        }
    }
    assert!(differ > 0);
}

/// Each part of an answer counts.
#[test]
fn a_changed_answer_is_noticed() {
    let asked = request("GET", "/v2/lib/blobs/uploads/x".to_owned(), "alice", "", b"");
    let text = |value: &str| vec![value.to_owned()];
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let headers = [("content-type", "text/plain"), ("location", uuid), ("range", "0-3")];
    let headers = headers.map(|(name, value)| (name.to_owned(), text(value))).into();
    let answer = Answer { status: 200, headers, body: b"abc".to_vec() };
    let differs = |change: fn(&mut Answer)| {
        let mut other = answer.clone();
        change(&mut other);
        !differences(&asked, &answer, &other).is_empty()
    };
    assert!(!differs(|_| {}));
    assert!(differs(|answer| answer.status = 202));
    assert!(differs(|answer| answer.body.push(b' ')));
    assert!(differs(|answer| drop(answer.headers.remove("content-type"))));
    assert!(differs(|answer| drop(answer.headers.insert("range".to_owned(), vec!["0-4".to_owned()]))));
    assert!(differs(|answer| drop(answer.headers.insert("warning".to_owned(), vec!["x".to_owned()]))));
    // Only which session it is does not.
    let other = |answer: &mut Answer| answer.headers.get_mut("location").unwrap()[0].replace_range(..2, "ff");
    assert!(!differs(other));
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
