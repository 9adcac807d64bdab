//! `onezot demo`: every command that it prints is run.

#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The last line of the introduction.
const LAST: &str = "Ctrl-C ends it all.";
/// A command that takes longer than this hangs.
const SECONDS: &str = "120";

/// A demo that ends with the test.
struct Demo {
    child: Child,
    lines: Vec<String>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onezot"));
        command.arg("demo").args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut demo = Demo { child, lines: Vec::new() };
        for line in out.lines() {
            demo.lines.push(line.unwrap());
            if demo.lines.last().unwrap() == LAST {
                return demo;
            }
        }
        panic!("it ended: {:?}", demo.lines);
    }

    fn commands(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.strip_prefix("  $ ")).collect()
    }

    fn nodes(&self) -> usize {
        self.lines.iter().filter(|line| line.starts_with("  zot-")).count()
    }

    fn signal(mut self, name: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where programs are looked for: this onezot first, crane also where `tests/run` builds it.
fn search_path() -> OsString {
    let mut folders = vec![Path::new(env!("CARGO_BIN_EXE_onezot")).parent().unwrap().to_owned()];
    let crane = std::env::var_os("ONEZOT_CRANE").map(PathBuf::from);
    folders.extend(crane.and_then(|crane| crane.parent().map(Path::to_owned)));
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin"));
    std::env::join_paths(folders).unwrap()
}

/// Whether the program of a command is installed. Where nothing may be skipped, it has to be.
fn is_there(command: &str, path: &OsString) -> bool {
    let program = command.split_whitespace().next().unwrap();
    if std::env::split_paths(path).any(|folder| folder.join(program).is_file()) {
        return true;
    }
    let line = format!("skipped: demo: {program} is not installed");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{line}, and nothing may be skipped here");
    // The macros would print it only if the test fails.
    let _ = writeln!(std::io::stderr(), "{line}");
    false
}

fn total(answer: &str) -> u64 {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    assert!(answer.get("errors").is_none(), "{answer}");
    let query = answer["data"].as_object().unwrap().values().next().unwrap();
    query["Page"]["TotalCount"].as_u64().unwrap()
}

type Check = fn(&str, &Path) -> bool;

/// Words of a command, and whether what it prints and leaves behind makes sense.
const CHECKS: &[(&str, Check)] = &[
    ("curl -sSi 'http://", |out, _| {
        out.starts_with("HTTP/1.1 200")
            && out.to_lowercase().contains("\nlink: </v2/_catalog?n=5&last=charts/checkout>")
    }),
    ("{GlobalSearch(", |out, _| total(out) > 3 && out.contains("\"team-a/app\"")),
    ("{ImageListForCVE(", |out, _| total(out) > 10),
    ("/platform/base/debian", |out, _| out.contains("\"latest\"") && out.matches("\",").count() > 2),
    (" oci:onezot-demo:latest", |_, folder| folder.join("onezot-demo/index.json").is_file()),
    ("crane manifest ", |out, _| out.contains("application/vnd.oci.image.index.v1+json") && out.contains("arm64")),
    ("crane pull ", |_, folder| folder.join("onezot-demo.tar").is_file()),
    ("/my-team/my-app:1.0", |_, _| true),
    ("/my-team/my-app", |out, _| out.contains("\"1.0\"")),
    ("onezot explain ", |out, _| out.starts_with("class: fan-out\n") && out.contains("zot-2 (http://127.0.0.1:")),
];

#[test]
fn every_printed_command_works() {
    let demo = Demo::start(&["--listen", "127.0.0.1:0"]);
    assert!(demo.lines[0].starts_with("onezot: listening on http://127.0.0.1:"), "{:?}", demo.lines);
    assert_eq!(demo.nodes(), 3);
    let commands = demo.commands();
    assert_eq!(commands.len(), CHECKS.len(), "each has its check: {commands:#?}");
    let (folder, path) = (tempfile::tempdir().unwrap(), search_path());
    for (command, (words, makes_sense)) in commands.into_iter().zip(CHECKS) {
        assert!(command.contains(words), "{words}: {command}");
        if !is_there(command, &path) {
            continue;
        }
        // Nothing of this machine's own registries, passwords and proxies.
        let mut bash = Command::new("timeout");
        bash.args(["--kill-after=5", SECONDS, "bash", "-c", command]).current_dir(&folder).env_clear();
        for variable in ["HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "TMPDIR"] {
            bash.env(variable, folder.path());
        }
        let Output { status, stdout, stderr } = bash.env("PATH", &path).stdin(Stdio::null()).output().unwrap();
        let (out, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{command}: {status}\n{out}\n{errors}");
        assert!(makes_sense(&out, folder.path()), "{command}\n{out}\n{errors}");
    }
    assert_eq!(demo.signal("TERM"), Some(0));
}

#[test]
fn an_interrupt_ends_it_and_a_taken_address_is_named() {
    let demo = Demo::start(&["--listen", "127.0.0.1:0", "--nodes", "1"]);
    assert_eq!(demo.nodes(), 1);
    let address = demo.lines[0].split_once("http://").unwrap().1.to_owned();
    let second = Command::new(env!("CARGO_BIN_EXE_onezot")).args(["demo", "--listen", &address]).output().unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!((second.status.code(), second.stdout.as_slice()), (Some(1), &b""[..]), "{error}");
    assert!(error.contains(&format!("cannot listen on {address}: ")), "{error}");
    assert!(error.contains("--listen 127.0.0.1:0 takes a free port"), "{error}");
    assert_eq!(demo.signal("INT"), Some(0));
}

/// Runs `deploy/demo` where there are only some stand-ins of programs; returns its exit code and what it prints.
fn deploy(programs: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    for (program, script) in programs {
        let file = folder.path().join(program);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/demo");
    let mut bash = Command::new("/bin/bash");
    bash.arg(script).args(["--nodes", "2"]).env_clear().env("PATH", folder.path()).current_dir(&folder);
    let Output { status, stdout, stderr } = bash.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn deploy_demo_gets_what_is_missing_or_names_it() {
    const CARGO: (&str, &str) = ("cargo", "echo \"in $PWD: cargo $*\"");
    const CC: (&str, &str) = ("cc", "");
    const MAKE: (&str, &str) = ("make", "");
    // It installs by making copies of itself.
    const APT: (&str, &str) =
        ("apt-get", "echo apt-get $* >&2; for i in cc make cmake; do /bin/cp $0 ${0%/*}/$i; done");
    let runs = format!("in {}: cargo run --release --locked -- demo --nodes 2\n", env!("CARGO_MANIFEST_DIR"));

    assert_eq!(deploy(&[CARGO, CC, MAKE, ("cmake", "")]), (Some(0), runs.clone()));
    let (code, printed) = deploy(&[CARGO, CC, MAKE, APT, ("id", "echo 0")]);
    assert!(code == Some(0) && printed.contains(&runs), "{printed}");
    assert!(printed.contains("apt-get -q=2 install --no-install-recommends cmake\n"), "{printed}");
    for others in [&[("id", "echo 1000"), APT][..], &[("id", "echo 0")]] {
        let (code, printed) = deploy(&[&[CARGO], others].concat());
        assert!(code == Some(1) && !printed.contains(&runs), "{printed}");
        assert!(
            printed.contains("missing: cmake\n") && printed.contains("install gcc libc6-dev make cmake\n"),
            "{printed}"
        );
    }
    let (code, printed) = deploy(&[CC, MAKE]);
    assert!(code == Some(1) && printed.contains("https://rustup.rs"), "{printed}");
}
