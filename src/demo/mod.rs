//! Zot-like nodes in this process: what `onezot demo` starts, and what tests put behind a gateway.
//!
//! A stand-in proves something only if it is true. These nodes answer as real zots did when they were recorded
//! (`tests/golden`), and share no code with the gateway: a mistake made on both sides would hide itself. Where zot has a
//! quirk, the quirk is here, with the place in zot's sources that it comes from.
//!
//! ```text
//!  node      a socket, and the faults that can be switched on
//!   └ registry   the way of a request: router ─▶ signin ─▶ access ─▶ …
//!      ├ api        the registry API: manifests, blobs, uploads, lists, extensions
//!      │  └ store      repositories as zot has them on a disk
//!      └ graphql    search
//!         └ meta       what is known of the images: zot's database
//! ```
//!
//! Everything is in memory and under one lock. That is slow compared with a zot only where nobody measures.

pub mod access;
mod api;
pub mod content;
mod cve;
mod digest;
mod exchange;
pub mod faults;
mod glob;
mod go_json;
mod graphql;
mod keys;
mod meta;
mod node;
mod oci;
mod refusal;
mod registry;
mod router;
pub mod sample;
mod search;
mod signin;
mod store;
mod ties;
mod time;

pub use access::Settings;
pub use content::{Content, ContentError, Event, Pull, Push};
pub use cve::Reports;
pub use faults::Fault;
pub use node::{Node, Seen, Setup};
pub use sample::Sample;
