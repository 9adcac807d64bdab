//! What the integration tests share: the recorded data, the comparer, nodes that replay, and a client that sends bytes.

// Each test uses its own part of this.
#![allow(dead_code)]

pub mod client;
pub mod compare;
pub mod document;
pub mod gateway;
pub mod golden;
pub mod json;
pub mod replay;

use std::io::Write as _;

/// Prints a table of results. Not `println!`, which the test harness swallows when a test passes.
pub fn say(text: &str) {
    // A closed standard output is no reason to fail a test.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
