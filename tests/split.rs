//! Repositories that lie on several nodes, in parts or as copies, are answered as by one node with everything.
//!
//! `ONEZOT_DOCUMENTS` and `ONEZOT_SEQUENCES` say how many (default 400 and 40), `ONEZOT_SEED` which ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/author.rs"]
mod author;
#[path = "support/beside.rs"]
mod beside;
#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/looks.rs"]
mod looks;
#[path = "support/made.rs"]
mod made;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/sides.rs"]
mod sides;
#[path = "support/spread.rs"]
mod spread;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/writer.rs"]
mod writer;

#[path = "split/documents.rs"]
mod documents;
#[path = "split/rehearsal.rs"]
mod rehearsal;
#[path = "split/scenarios.rs"]
mod scenarios;
#[path = "split/sequences.rs"]
mod sequences;
