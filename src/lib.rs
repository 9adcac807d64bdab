//! onezot makes N independent zot registries answer as one.
//!
//! It keeps no data of its own. Each request is planned, and the plan carried out:
//!
//! ```text
//!             ┌ rules   the tables: what is done with each route
//!  request ─▶ plan ─────┤ path    the path as a zot's router reads it
//!             │         └ fleet   the nodes, and which of them owns a repository
//!             ▼
//!  proxy ──┬─ streams through one node (pingora)
//!          ├─ mount: from one node to another (hyper)
//!          └─ scatter: asks every node (hyper) ─▶ merge ─▶ page ─▶ answer
//! ```
//!
//! [`rules`], [`path`], [`plan`], [`merge`] and [`page`] are pure: no I/O, no clock. [`answer`] makes every status and
//! error body of onezot's own, [`onward`] every change to a request's header, [`config`] reads all configuration. [`health`]
//! asks nodes whether they answer, [`room`] bounds what is under way.
//! [`identity`] opens what clients prove themselves with, each node's part for the node.
//! [`server`] starts and stops a gateway, behind the [`door`] that bounds what clients may take their time for. A gateway never
//! changes: when its configuration ([`reload`]) or its nodes ([`discovery`]) do, [`succession`] puts another one in its place,
//! behind the same [`front`].

pub mod answer;
pub mod budget;
pub mod clients;
pub mod compose;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod digest;
pub mod discovery;
pub mod document;
pub mod door;
pub mod explain;
pub mod fleet;
pub mod front;
pub mod graphql;
pub mod health;
pub mod identity;
pub mod items;
pub mod locate;
pub mod merge;
pub mod mount;
pub mod onward;
pub mod page;
pub mod path;
pub mod pieces;
pub mod plan;
pub mod proxy;
pub mod query;
pub mod readiness;
pub mod reload;
pub mod room;
pub mod rules;
pub mod scan;
pub mod scatter;
pub mod server;
pub mod session;
pub mod succession;
pub mod telemetry;
pub mod tls;
pub mod watch;
