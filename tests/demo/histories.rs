//! An embedded node beside a real zot: random histories of pushes, pulls and deletes, and what is left after them.
//!
//! It runs when `ONEZOT_ZOT` names a zot; `ONEZOT_STEPS` says how many steps (600), `ONEZOT_SEED` which ones.

use super::author::{Author, SESSION, Step};
use super::beside_zot::{both, content, request};
use super::demo_compare::{Answer, Request};
use super::demo_replay::Tally;
use super::looks::Named;
use super::made;
use std::time::Duration;

#[tokio::test]
async fn histories_leave_what_they_leave_in_zot() {
    let Ok(binary) = std::env::var("ONEZOT_ZOT") else {
        println!("ONEZOT_ZOT names no zot: nothing compared");
        return;
    };
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (zot, zot_sender, node) = both(&binary, directory.path()).await;
    let node_sender = super::demo_replay::Sender::to(&node);
    let root = zot_sender.send(&request("GET", "/".to_owned(), "", "", b"")).await;
    let has_ui = root.headers.contains_key("content-security-policy");
    let seed = number("ONEZOT_SEED", 1);
    let mut authors = [Author::new(seed, &content()), Author::new(seed, &made::content(seed, 12))];
    let mut steps: Vec<Step> = Vec::new();
    let mut tally = Tally::default();
    let mut n = 0;
    for step in 0..number("ONEZOT_STEPS", 600) {
        let written = authors[usize::try_from(step % 2).unwrap()].step();
        let mut requests = written.requests.clone();
        steps.push(written);
        if step % 5 == 4 {
            let late = steps.len().saturating_sub(10);
            requests.extend(Named::of(&steps[late..]).looks(steps.len() / 5, false));
        }
        let mut sessions: Option<(String, String)> = None;
        for asked in requests {
            n += 1;
            let asked = Request { n, ..asked };
            let Some((one, other)) = at_sessions(&asked, sessions.as_ref()) else { continue };
            let (mut expected, actual) = (zot_sender.send(&one).await, node_sender.send(&other).await);
            // zot sends large answers in pieces.
            expected.headers.retain(|name, _| asked.method == "HEAD" || name != "content-length");
            let session = |answer: &Answer| answer.headers.get("location").map(|values| values[0].clone());
            if let (202, Some(one), Some(other)) = (expected.status, session(&expected), session(&actual)) {
                sessions = Some((one, other));
            }
            // A zot with a web UI takes what no other route takes; the embedded nodes have none.
            let is_nowhere = actual.headers.get("content-type").is_some_and(|kind| kind[0].starts_with("text/plain"));
            if has_ui && actual.status == 404 && is_nowhere {
                continue;
            }
            tally.note(&asked, &expected, &actual);
            if std::env::var_os("ONEZOT_SHOW").is_some() && !asked.path.contains("search") {
                println!("{n} {} {} {} {}", asked.method, asked.path, expected.status, actual.status);
            }
            if tally.last_failed(n) {
                println!("step {step}, {n}: {:?} {} {} {}", asked.user, asked.method, asked.path, expected.status);
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(zot);
    tally.settle("histories beside a zot", &[]);
}

/// A request to either side, where its upload goes on if it is part of one.
fn at_sessions(asked: &Request, sessions: Option<&(String, String)>) -> Option<(Request, Request)> {
    if !asked.path.starts_with(SESSION) {
        return Some((asked.clone(), asked.clone()));
    }
    let (one, other) = sessions?;
    let at = |session: &str| Request { path: asked.path.replace(SESSION, session), ..asked.clone() };
    Some((at(one), at(other)))
}
