//! Golden plans: what `onezot explain` prints for requests of each class, what is refused included.
//!
//! `tests/plans/*.txt` hold the requests (`$ METHOD TARGET`) and the plans. Run with `ONEZOT_ACCEPT=1` to accept what is
//! printed now, and read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onezot::config::{Config, Flags};
use onezot::explain::explain;

#[test]
fn plans_are_as_written() {
    let nodes = (0..3).map(|i| format!("zot-{i}=http://zot-{i}.zot:5000")).collect();
    let config = Config::load(None, [], &Flags { nodes, ..Flags::default() }).unwrap();
    let (mut requests, mut different) = (0, Vec::new());
    for entry in std::fs::read_dir("tests/plans").unwrap() {
        let file = entry.unwrap().path();
        let written = std::fs::read_to_string(&file).unwrap();
        let mut printed = String::new();
        for line in written.lines().filter(|line| line.starts_with('$')) {
            let (method, target) = line.trim_start_matches("$ ").split_once(' ').unwrap();
            // A body follows the target, behind two blanks.
            let (target, body) = target.split_once("  ").unwrap_or((target, ""));
            let explained = explain(&config, &method.parse().unwrap(), target, body.into());
            printed.push_str(&format!("{line}\n{explained}\n"));
            requests += 1;
        }
        if std::env::var_os("ONEZOT_ACCEPT").is_some() {
            std::fs::write(&file, &printed).unwrap();
        }
        let differing = printed.lines().zip(written.lines()).find(|(new, old)| new != old);
        if printed != written {
            different.push(format!("{}: {differing:?}", file.display()));
        }
    }
    assert!(different.is_empty(), "accept it with ONEZOT_ACCEPT=1: {different:#?}");
    assert!(requests > 20, "only {requests} requests");
}
