//! How much is measured: a full run, a quick one, and one that only shows that everything works.

use std::time::Duration;

/// The size of a run.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Its name.
    pub name: &'static str,
    /// How often everything is measured.
    pub rounds: usize,
    /// How long wrk runs; without, `requests` are sent by a client of our own.
    pub wrk: Option<Duration>,
    /// Small requests of one sample.
    pub requests: usize,
    /// The bytes of a blob.
    pub blob: usize,
    /// Blobs of one sample.
    pub blobs: usize,
    /// Idle connections.
    pub idle: usize,
    /// Repositories of each of three nodes, for the catalog.
    pub catalog: usize,
    /// Images of each of three nodes.
    pub images: &'static [usize],
    /// Numbers of nodes, which share `shared` images.
    pub nodes: &'static [usize],
    /// The images that these nodes share.
    pub shared: usize,
    /// Offsets of pages.
    pub depths: &'static [usize],
    /// Fan-outs of one sample.
    pub asks: usize,
    /// What a list takes a node (ms).
    pub delay: u64,
    /// The same of a whole list of 10,000 images: a zot takes 1.1 s, of which this is what it computes.
    pub long_delay: u64,
}

/// Everything, several times: some twenty minutes.
pub const FULL: Scale = Scale {
    name: "full",
    rounds: 7,
    wrk: Some(Duration::from_secs(2)),
    requests: 4000,
    blob: 64 << 20,
    blobs: 8,
    idle: 10_000,
    catalog: 10_000,
    images: &[1000, 10_000, 50_000],
    nodes: &[1, 3, 10, 30],
    shared: 30_000,
    depths: &[0, 990, 9990, 29_990],
    asks: 3,
    delay: 100,
    long_delay: 1000,
};

/// Fewer rounds, fewer sizes: some four minutes.
pub const QUICK: Scale = Scale {
    name: "quick",
    rounds: 3,
    wrk: Some(Duration::from_secs(1)),
    requests: 1500,
    blobs: 4,
    idle: 2000,
    images: &[1000, 10_000],
    nodes: &[1, 3, 10],
    depths: &[0, 9990, 29_990],
    asks: 2,
    ..FULL
};

/// Nothing that could be called a measurement.
pub const SMOKE: Scale = Scale {
    name: "smoke",
    rounds: 1,
    wrk: None,
    requests: 40,
    blob: 1 << 20,
    blobs: 2,
    idle: 20,
    catalog: 40,
    images: &[20, 40],
    nodes: &[1, 3],
    shared: 60,
    depths: &[0, 40],
    asks: 1,
    delay: 5,
    long_delay: 5,
};
