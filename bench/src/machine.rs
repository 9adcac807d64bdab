//! What the numbers were measured on, and with what.

use crate::peer::Programs;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A machine during a run.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor, as it names itself.
    pub processor: String,
    /// How many cores the run may use.
    pub cores: usize,
    /// The memory (GiB).
    pub memory: u64,
    /// The kernel.
    pub kernel: String,
    /// Versions of what was measured.
    pub versions: BTreeMap<String, String>,
    /// Load averages over one minute: before the run, and after each part.
    pub load: Vec<f64>,
}

impl Machine {
    /// This machine, now.
    pub fn now(programs: &Programs) -> Result<Machine> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let of = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches([':', '\t', ' ']).to_owned()
        };
        let kib: u64 = of(&memory, "MemTotal").split(' ').next().unwrap_or_default().parse()?;
        let mut versions = BTreeMap::new();
        let mut note = |name: &str, program: &Path, argument: &str| {
            versions.extend(version(program, argument).map(|version| (name.to_owned(), version)));
        };
        note("onezot", &programs.onezot, "--version");
        note("rustc", Path::new("rustc"), "--version");
        if let Some(nginx) = &programs.nginx {
            note("nginx", nginx, "-v");
        }
        if let Some(haproxy) = &programs.haproxy {
            note("haproxy", haproxy, "-v");
        }
        if programs.wrk {
            note("wrk", Path::new("wrk"), "-v");
        }
        let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
        let commit = commit.ok().filter(|output| output.status.success());
        versions.extend(commit.map(|output| ("commit".to_owned(), first_line(&output.stdout))));
        Ok(Machine {
            processor: of(&cpus, "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory: kib.div_ceil(1 << 20),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            versions,
            load: vec![load()?],
        })
    }

    /// Notes the load of the machine.
    pub fn note_load(&mut self) -> Result<()> {
        self.load.push(load()?);
        Ok(())
    }
}

fn load() -> Result<f64> {
    Ok(std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().parse()?)
}

/// What a program says of itself, on whichever of its outputs.
fn version(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let line = first_line(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
    Some(line.trim_start_matches("nginx version: ").to_owned())
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned()
}
