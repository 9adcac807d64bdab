//! Tier 2: gateways over embedded nodes beside one embedded node with everything, with random documents and sequences of
//! requests, and gateways over other placements of the same beside each other.
//!
//! `ONEZOT_DOCUMENTS` and `ONEZOT_SEQUENCES` say how many, `ONEZOT_SEED` which ones, and `ONEZOT_MINUTES` that it goes on with
//! other seeds for so long.

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
#[path = "differential/documents.rs"]
mod documents;
#[path = "differential/long.rs"]
mod long;
#[path = "support/looks.rs"]
mod looks;
#[path = "support/made.rs"]
mod made;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "differential/placements.rs"]
mod placements;
#[path = "differential/sequences.rs"]
mod sequences;
#[path = "support/sides.rs"]
mod sides;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/writer.rs"]
mod writer;

/// The numbers of nodes. One of seven owns nothing.
const FLEETS: [usize; 4] = [1, 2, 3, 7];
