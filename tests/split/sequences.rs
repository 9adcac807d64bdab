//! Random sequences of registry requests about content of which repositories lie on several nodes.

use super::author::Author;
use super::beside::{Outcome, Pair};
use super::demo_compare::Request;
use super::demo_replay::Set;
use super::documents::sides;
use super::made;
use super::sides::number;
use futures::stream::{self, StreamExt};
use std::pin::pin;

/// A sequence over three to five nodes. Whether it has a signature that is pushed under a tag as images have.
async fn run(seed: u64) -> (Outcome, bool) {
    let set = Set::of_servers("");
    let content = made::content(seed, 24);
    let nodes = 3 + usize::try_from(seed % 3).unwrap();
    let (sides, _) = sides(&set, &content, nodes, seed).await;
    let mut author = Author::who_knows(seed, &content);
    let all = author.sequence(8 + usize::try_from(seed % 9).unwrap());
    // Which image is the newest of equal ones depends on the order of the pushes to one node.
    let outcome = Pair { one: &sides.one, fleet: &sides.gateway, with_newest: false }.run(&all).await;
    sides.running.stop().await;
    let is_signature = |asked: &&Request| {
        let is_tag = !asked.path.contains("/manifests/sha256");
        let body = String::from_utf8_lossy(&asked.body.bytes()).into_owned();
        let signs = ["notary.signature", "cosign.artifact.sig"].iter().any(|kind| body.contains(kind));
        asked.method == "PUT" && asked.path.contains("/manifests/") && is_tag && signs && body.contains("subject")
    };
    let signs_over = all.iter().flat_map(|step| &step.requests).any(|asked| is_signature(&asked));
    (outcome, signs_over)
}

/// The exception of the README that a difference is.
fn exception(what: &str) -> Option<&'static str> {
    let is_blob = what.contains("/blobs/sha256:") && (what.contains(" GET ") || what.contains(" HEAD "));
    if is_blob && what.contains(": header content-type Some([\"application/octet-stream\"]) instead of Some([") {
        return Some("the type of a blob");
    }
    // The first node has no tag of the repository any more.
    let is_mark = |part: &str| {
        let unmarked =
            [".StarCount: 0 instead of 1", ".IsStarred: false instead of true", ".IsBookmarked: false instead of true"];
        let counts = ["StarCount\"): Number(Number(0))", "StarCount\"): Number(Number(1))"];
        let is_whole = part.ends_with("in whatever order") && counts.iter().all(|count| part.contains(count));
        is_whole || unmarked.iter().any(|end| part.ends_with(end))
    };
    // Pulls were counted where the image was before it came here with an index.
    let is_count = |part: &str| part.contains("DownloadCount: ") && part.contains(" instead of ");
    // One zot remembers the newest image when its tag has moved.
    let (_, found) = what.split_once("}\"}: ")?;
    let is_newest = |part: &str| {
        part.contains(".LastUpdated: ")
            || part.contains(" sorted [\"20")
            || part.starts_with("StarredRepos.Results: sorted")
    };
    if found.split("; ").all(is_mark) {
        return Some("the marks of a repository without tags");
    }
    if found.split("; ").all(is_count) {
        return Some("pulls of an image that was brought");
    }
    found.split("; ").all(is_newest).then_some("the newest image whose tag has moved")
}

#[tokio::test(flavor = "multi_thread")]
async fn random_sequences_are_answered_as_by_one_node() {
    let (first, count) = (number("ONEZOT_SEED", 1) * 1_000_000, number("ONEZOT_SEQUENCES", 40));
    let mut all = Outcome::default();
    let outcomes = stream::iter(first..first + count).map(async |seed| (seed, run(seed).await));
    let mut outcomes = pin!(outcomes.buffer_unordered(4));
    while let Some((seed, (mut outcome, signs_over))) = outcomes.next().await {
        // One zot goes on showing an image under whose tag a signature was pushed.
        let is_signed_over = signs_over && outcome.wrong.iter().all(|what| what.starts_with("look"));
        let signed_over = is_signed_over.then_some("an image under whose tag a signature was pushed");
        for what in std::mem::take(&mut outcome.wrong) {
            match exception(&what).or(signed_over) {
                Some(why) => *outcome.excepted.entry(why).or_default() += 1,
                None => outcome.wrong.push(format!("seed {seed}: {what}")),
            }
        }
        all.add(outcome);
    }
    println!("{count} sequences, {} answers, {} differ; exceptions {:?}", all.compared, all.wrong.len(), all.excepted);
    assert!(all.wrong.is_empty(), "{}: {:#?}", all.wrong.len(), &all.wrong[..all.wrong.len().min(12)]);
    assert!(all.excepted.values().sum::<usize>() * 20 <= all.compared, "{:?} of {}", all.excepted, all.compared);
}
