//! Much at the same time, and much at once.

use super::catalog::repositories;
use super::clients::{crane_pull, text};
use super::fleet::Fleet;
use super::image::{Image, named, random_bytes};
use super::programs::{CRANE, is_long, say};
use super::wire::{Body, with_digest};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
/// The peak that the process of the gateway must stay under, whatever streams through it.
const MEMORY: u64 = 64 << 20;

#[test]
fn many_cranes_push_and_pull_at_the_same_time() {
    let Some(fleet) = Fleet::start(&[CRANE]) else { return };
    let (jobs, at_once) = (if is_long() { 200 } else { 40 }, 16);
    // Some layers in common, so that pushes of the same blob meet.
    let images: Vec<Image> = (0..8).map(|i| Image::new(60 + i, &[20_000, 400_000], "amd64")).collect();
    for (number, image) in images.iter().enumerate() {
        image.write(&fleet.path(&format!("layout-{number}")));
    }
    let began = Instant::now();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        return;
                    }
                    let image = &images[job % images.len()];
                    let repository = format!("many/{}/image-{job}", job % 13);
                    let (layout, pulled) =
                        (fleet.path(&format!("layout-{}", job % images.len())), fleet.path(&format!("pulled-{job}")));
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        fleet.crane.run(&["push", text(&layout), &fleet.image(&format!("{repository}:latest"))]);
                        crane_pull(&fleet, &repository, &pulled);
                        image.check(&pulled);
                        fleet.check_place(&repository);
                    }));
                    if outcome.is_err() {
                        failures.lock().unwrap().push(repository);
                    }
                    let _ = std::fs::remove_dir_all(&pulled);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {jobs} failed: {failures:?}", failures.len());
    let took = began.elapsed().as_secs_f64();
    let catalog = repositories(&fleet.wire().get("/v2/_catalog"));
    assert_eq!(catalog.len(), jobs);
    let peak = fleet.peak_memory();
    assert!(peak < MEMORY, "onezot took {peak} bytes of memory");
    say(&format!(
        "real registries: {jobs} pushes and {jobs} pulls by crane, {at_once} at a time, in {took:.1} s; onezot's peak \
         memory {:.1} MiB",
        peak as f64 / MIB as f64
    ));
}

/// The pieces of a big blob: random bytes, each piece another.
struct Pieces {
    block: Vec<u8>,
    number: u64,
    count: u64,
}

impl Pieces {
    fn new(count: u64) -> Pieces {
        Pieces { block: random_bytes(77, MIB), number: 0, count }
    }

    /// Appends the next piece; nothing at the end.
    fn next(&mut self, piece: &mut Vec<u8>) {
        if self.number < self.count {
            piece.extend_from_slice(&self.block);
            piece[..8].copy_from_slice(&self.number.to_le_bytes());
            self.number += 1;
        }
    }
}

fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(status.success(), "kill -{name}: {status}");
}

#[test]
fn a_big_blob_streams_both_ways_in_little_memory() {
    let Some(fleet) = Fleet::start(&[]) else { return };
    /// How long one side lets the other wait: enough to read the whole blob into a gateway that buffers.
    const STALL: Duration = Duration::from_secs(2);
    let size = std::env::var("ONEZOT_BLOB_MIB").map_or(256, |mib| mib.parse::<u64>().unwrap());
    let repository = fleet.repository_on(1, "big");
    let pid = fleet.registries[1].pid();
    let mut wire = fleet.wire();

    // The registry stalls on the way.
    let session = wire.start_upload(&repository);
    let (mut pieces, mut hash) = (Pieces::new(size), Sha256::new());
    let mut next = |piece: &mut Vec<u8>| {
        pieces.next(piece);
        hash.update(&piece);
        if pieces.number == size / 4 && !piece.is_empty() {
            signal(pid, "STOP");
            std::thread::spawn(move || {
                std::thread::sleep(STALL);
                signal(pid, "CONT");
            });
        }
    };
    let began = Instant::now();
    let patched = wire.call("PATCH", &session, &[], Body::Chunks(&mut next));
    let pushed = began.elapsed() - STALL;
    assert_eq!(patched.status(), 202, "{}", patched.text());
    assert_eq!(patched.header("Range"), Some(format!("0-{}", size * MIB as u64 - 1).as_str()));
    let expected = named(&hash.finalize());
    let began = Instant::now();
    let stored = wire.call("PUT", &with_digest(&wire.target(&patched), &expected), &[], Body::None);
    let committed = began.elapsed();
    assert_eq!(stored.status(), 201, "{}", stored.text());
    let after_push = fleet.peak_memory();

    // The client stalls on the way.
    let began = Instant::now();
    let mut reading = wire.start("GET", &format!("/v2/{repository}/blobs/{expected}"), &[], Body::None).unwrap();
    assert_eq!(reading.head.status, 200, "{:?}", reading.head);
    let (mut buffer, mut read, mut hash) = (vec![0; 256 * 1024], 0, Sha256::new());
    let mut has_stalled = false;
    loop {
        let some = reading.read(&mut buffer).unwrap();
        if some == 0 {
            break;
        }
        read += some as u64;
        hash.update(&buffer[..some]);
        if !has_stalled && read > size * MIB as u64 / 4 {
            has_stalled = true;
            std::thread::sleep(STALL);
        }
    }
    let pulled = began.elapsed() - STALL;
    assert_eq!((read, named(&hash.finalize())), (size * MIB as u64, expected), "what came back");
    let peak = fleet.peak_memory();

    let rate = |took: Duration| size as f64 * MIB as f64 / 1e6 / took.as_secs_f64();
    say(&format!(
        "real registries: a blob of {size} MiB pushed at {:.0} MB/s (and {:.1} s to commit), pulled at {:.0} MB/s; \
         onezot's peak memory {:.1} MiB after the push, {:.1} MiB in all",
        rate(pushed),
        committed.as_secs_f64(),
        rate(pulled),
        after_push as f64 / MIB as f64,
        peak as f64 / MIB as f64,
    ));
    assert!(peak < MEMORY, "onezot took {peak} bytes of memory");
}
