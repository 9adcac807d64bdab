//! The programs of others that the tests run: where they are, and what becomes of a test when one is missing.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A client that takes longer than this hangs.
const CLIENT_SECONDS: &str = "300";

/// A program, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program(&'static str);

pub const REGISTRY: Program = Program("docker-registry");
pub const SKOPEO: Program = Program("skopeo");
pub const CRANE: Program = Program("crane");

impl Program {
    /// Where the program is, if it is installed. crane is no Debian package: `tests/run` builds one.
    pub fn path(self) -> Option<PathBuf> {
        let mut places = Vec::new();
        if self == CRANE {
            places.extend(std::env::var_os("ONEZOT_CRANE").map(PathBuf::from));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        places.extend(std::env::split_paths(&path).map(|folder| folder.join(self.0)));
        if self == CRANE {
            places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/crane"));
        }
        places.into_iter().find(|place| place.is_file())
    }
}

/// Whether all of `programs` are installed. Says so when one is not; where nothing may be skipped, that is a failure.
pub fn are_there(programs: &[Program]) -> bool {
    static SAID: Mutex<BTreeSet<Program>> = Mutex::new(BTreeSet::new());
    let Some(missing) = programs.iter().find(|program| program.path().is_none()) else { return true };
    let line = format!("skipped: real registries: {} is not installed", missing.0);
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{line}, and nothing may be skipped here");
    if SAID.lock().unwrap().insert(*missing) {
        say(&line);
    }
    false
}

/// Prints a line also when the test passes, which the macros do not.
pub fn say(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether the long run was asked for.
pub fn is_long() -> bool {
    std::env::var_os("ONEZOT_LONG").is_some_and(|long| !long.is_empty() && long != "0")
}

/// skopeo or crane, knowing nothing of the machine's own registries, passwords and proxies; at work in `home`.
#[derive(Clone)]
pub struct Client {
    program: Program,
    home: PathBuf,
}

impl Client {
    pub fn new(program: Program, home: &Path) -> Client {
        Client { program, home: home.to_owned() }
    }

    fn output(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", CLIENT_SECONDS]).arg(self.program.path().unwrap());
        if self.program == SKOPEO {
            command.arg("--insecure-policy");
        }
        command.args(arguments).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for variable in ["HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "TMPDIR"] {
            command.env(variable, &self.home);
        }
        command.output().unwrap()
    }

    /// Runs it; it must succeed. Returns what it prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {}: {}\n{errors}", self.program.0, arguments.join(" "), output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it; it must fail. Returns what it complains about.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let command = format!("{} {}", self.program.0, arguments.join(" "));
        assert!(!output.status.success(), "{command} did not fail: {}", String::from_utf8_lossy(&output.stdout));
        // 124 and 137: it did not end.
        assert!(!matches!(output.status.code(), Some(124 | 137) | None), "{command}: {}", output.status);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}
