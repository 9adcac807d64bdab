//! The same content on 1 to 7 nodes, each time placed otherwise: the gateways answer the same documents and reads alike. Where
//! a gateway merges, ties are in its own order, and the answers are the same bytes.
//!
//! `ONEZOT_DOCUMENTS` says how many documents and reads (default 400), `ONEZOT_SEED` which ones.

use super::author::Author;
use super::beside::{EMPTY_CATALOG, is_after_what_is_unreadable, is_of_a_directory};
use super::demo_compare::{Answer, differences};
use super::demo_replay::Set;
use super::made;
use super::sides::{Case, Fleet, cannot_be_found, is_merged, number};
use super::writer::Writer;
use futures::future::join_all;
use onezot::demo::Content;

/// What gateways over fleets answered otherwise than the first of them.
#[derive(Debug, Default)]
pub struct Tally {
    compared: usize,
    /// How many answers were compared byte by byte.
    exact: usize,
    /// How many name a digest that some gateway cannot find, a `last` that the user may not read, or a mere directory:
    /// exceptions of the README.
    excepted: usize,
    pub wrong: Vec<String>,
}

/// Without what differs from connection to connection. A length is told beforehand or is not.
fn comparable(mut answer: Answer) -> Answer {
    answer
        .headers
        .retain(|name, _| !["date", "content-length", "transfer-encoding", "connection"].contains(&name.as_str()));
    answer
}

/// Asks fleets of so many nodes each; of the last, `left_out` may lose repositories.
pub async fn compare(content: &Content, fleets: &[usize], seed: u64, count: u64, left_out: &[&str]) -> Tally {
    let set = Set::of_servers("");
    let mut gateways = Vec::new();
    for (index, &nodes) in fleets.iter().enumerate() {
        let key = seed.wrapping_mul(7919) % 1_000_000_000 + 20_000 * index as u64;
        let mut content = content.clone();
        if index + 1 == fleets.len() && !left_out.is_empty() {
            content.pushes.retain(|push| !left_out.contains(&push.repository.as_str()));
            content.pulls.retain(|pull| !left_out.contains(&pull.repository.as_str()));
            content.stars.retain(|mark| !left_out.contains(&mark.repository.as_str()));
            content.bookmarks.retain(|mark| !left_out.contains(&mark.repository.as_str()));
        }
        gateways.push(Fleet::start(&set, &content, nodes, key).await);
    }
    let mut writer = Writer::new(seed, content);
    let mut author = Author::who_knows(seed, content);
    let mut tally = Tally::default();
    for number in 0..count {
        let mut case = None;
        let asked = if number % 4 == 3 {
            author.read().requests[0].clone()
        } else {
            let (query, variables) = writer.request();
            let user = Some(writer.one(&["alice", "alice", "alice", "bob", "", "badpass"]).to_owned());
            case.insert(Case { user: user.filter(|user| !user.is_empty()), query, variables, made: None }).request()
        };
        let answers = join_all(gateways.iter().map(|fleet| fleet.gateway.send(&asked))).await;
        let answers: Vec<Answer> = answers.into_iter().map(comparable).collect();
        let is_document = asked.path.contains("/ext/search");
        for (index, answer) in answers.iter().enumerate().skip(1) {
            tally.compared += 1;
            let mut found = differences(&asked, &answers[0], answer);
            // Over one node a document goes there as it came, and the ties are the node's.
            let is_exact = !is_document || (is_merged(&asked) && fleets[0] > 1 && fleets[index] > 1);
            tally.exact += usize::from(is_exact);
            if is_exact && found.is_empty() && answer.body != answers[0].body {
                found.push("other bytes".to_owned());
            }
            if let (Some(case), false) = (&case, found.is_empty()) {
                let mut excepted = false;
                for answer in [&answers[0], answer] {
                    excepted |= cannot_be_found(case, &answer.body, &gateways[0].gateway).await;
                }
                if excepted {
                    tally.excepted += 1;
                    continue;
                }
            }
            // One of them knows that there is such a repository, if it has something behind it.
            let is_empty = [&answers[0], answer].iter().any(|answer| answer.body == EMPTY_CATALOG);
            let first = &answers[0];
            let is_directory = is_of_a_directory(&asked, first, answer) || is_of_a_directory(&asked, answer, first);
            tally.excepted += usize::from(is_directory);
            if is_directory {
                continue;
            }
            if !found.is_empty() && is_empty && is_after_what_is_unreadable(&asked, &gateways[0].gateway).await {
                tally.excepted += 1;
                continue;
            }
            if !found.is_empty() {
                let body = String::from_utf8_lossy(&asked.body.bytes()).into_owned();
                let (one, other) = (fleets[0], fleets[index]);
                tally.wrong.push(format!(
                    "seed {seed}: {one} and {other} nodes: {:?} {} {} {body}: {}",
                    asked.user,
                    asked.method,
                    asked.path,
                    found.join("; ")
                ));
            }
        }
    }
    for fleet in gateways {
        fleet.stop().await;
    }
    println!(
        "placements of seed {seed}: {count} requests, {} answers, {} byte by byte, {} differ, {} exceptions",
        tally.compared,
        tally.exact,
        tally.wrong.len(),
        tally.excepted
    );
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn any_placement_gives_the_same_answers() {
    let (seed, count) = (number("ONEZOT_SEED", 1), number("ONEZOT_DOCUMENTS", 400).div_ceil(2));
    for content in [Set::of_servers("").content(), made::content(seed, 60)] {
        let tally = compare(&content, &[3, 2, 4, 5, 6, 7, 3, 1], seed, count, &[]).await;
        assert!(tally.wrong.is_empty(), "{}: {:#?}", tally.wrong.len(), &tally.wrong[..tally.wrong.len().min(5)]);
        assert!(tally.excepted <= 8 + tally.compared / 40, "{} exceptions", tally.excepted);
        assert!(tally.exact > tally.compared / 4, "{} of {}", tally.exact, tally.compared);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_that_lacks_repositories_is_noticed() {
    let content = Set::of_servers("").content();
    let tally = compare(&content, &[3, 2], 5, 200, &["lib", "infra/base/alpine"]).await;
    assert!(tally.wrong.len() > 10, "{}", tally.wrong.len());
}
