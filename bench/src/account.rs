//! What a peer's processes take: CPU time and memory, as the kernel accounts for them.

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::time::Duration;

/// A process and all that descend from it.
#[derive(Debug, Clone)]
pub struct Processes(Vec<i32>);

impl Processes {
    /// The processes there are now below `root`, and itself.
    pub fn below(root: u32) -> Result<Processes> {
        let mut found = vec![i32::try_from(root)?];
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            next += 1;
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                found.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
            }
        }
        Ok(Processes(found))
    }

    /// Their ids.
    pub fn pids(&self) -> impl Iterator<Item = Pid> {
        self.0.iter().copied().map(Pid::from_raw)
    }

    /// The CPU time that they have taken, all threads, user and system, also of threads that have ended.
    pub fn cpu(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for pid in self.pids() {
            let clock = ClockId::pid_cpu_clock_id(pid)?;
            sum += Duration::from(clock_gettime(clock).with_context(|| format!("process {pid} has ended"))?);
        }
        Ok(sum)
    }

    /// The memory that they hold, what they share counted once (MiB).
    pub fn memory(&self) -> Result<f64> {
        let mut kib = 0;
        for pid in &self.0 {
            kib += member(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?, "Pss:")?;
        }
        Ok(kib as f64 / 1024.0)
    }

    /// The most memory that they ever held, added up (MiB).
    pub fn peak_memory(&self) -> Result<f64> {
        let mut kib = 0;
        for pid in &self.0 {
            kib += member(&std::fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")?;
        }
        Ok(kib as f64 / 1024.0)
    }
}

fn member(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_account_and_children_count() {
        let own = Processes(vec![std::process::id() as i32]);
        let before = own.cpu().unwrap();
        let mut sum = 0_u64;
        while own.cpu().unwrap() < before + Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(own.memory().unwrap() > 0.5 && own.peak_memory().unwrap() > 0.5);

        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let with_child = Processes::below(std::process::id()).unwrap();
        assert!(with_child.0.contains(&(child.id() as i32)), "{with_child:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(with_child.cpu().is_err(), "what has ended has no account");
    }
}
