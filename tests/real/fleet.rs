//! Three real registries and the gateway in front of them.

use super::programs::{CRANE, Client, Program, REGISTRY, SKOPEO, are_there};
use super::wire::{Answer, Body, Wire};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a process may take to start.
const START: Duration = Duration::from_secs(30);
/// The names of the nodes.
pub const NODES: [&str; 3] = ["a", "b", "c"];

/// A process that is killed when it is dropped.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(command: &mut Command, log: &Path) -> Process {
        let stderr = File::create(log).unwrap();
        let child = command.env_clear().stdin(Stdio::null()).stderr(stderr).spawn().unwrap();
        Process { child, log: log.to_owned() }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; its pid is ours until it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(30)..];
            println!("--- {}\n{}", self.log.display(), last.join("\n"));
        }
    }
}

/// How a registry writes a `Location`. Debian's registry can do all three, and each has to survive the gateway.
#[derive(Clone, Copy, PartialEq)]
enum Locations {
    /// Made of what the gateway says of the client: the gateway's own address.
    Forwarded,
    /// A configured URL: the node's address.
    OwnAddress,
    /// A path.
    Relative,
}

/// A real registry with a disk of its own.
pub struct Registry {
    pub name: &'static str,
    pub address: SocketAddr,
    folder: PathBuf,
    locations: Locations,
    process: Option<Process>,
}

impl Registry {
    fn start(name: &'static str, folder: &Path, locations: Locations) -> Registry {
        std::fs::create_dir_all(folder).unwrap();
        let until = Instant::now() + START;
        loop {
            // The registry does not say which port it took, so it gets one that was free a moment ago.
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut registry = Registry { name, address, folder: folder.to_owned(), locations, process: None };
            if registry.try_start() {
                return registry;
            }
            assert!(Instant::now() < until, "the registry does not start: {}", registry.last_words());
        }
    }

    /// Starts it again at the address it had.
    pub fn restart(&mut self) {
        let until = Instant::now() + START;
        // Somebody else may have taken the port for a connection of a moment.
        while !self.try_start() {
            assert!(Instant::now() < until, "the registry does not start again: {}", self.last_words());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Stops it as a crash does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().child.id()
    }

    pub fn wire(&self) -> Wire {
        Wire::new(self.address)
    }

    /// `false` if the process ended, as it does when somebody else has the port.
    fn try_start(&mut self) -> bool {
        let (address, name) = (self.address, self.name);
        let locations = match self.locations {
            Locations::Forwarded => String::new(),
            Locations::OwnAddress => format!("  host: http://{address}\n"),
            Locations::Relative => "  relativeurls: true\n".to_owned(),
        };
        let config = format!(
            "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: \
             {{rootdirectory: {folder}/data}}\n  delete: {{enabled: true}}\n  maintenance: {{uploadpurging: \
             {{enabled: false}}}}\nhttp:\n  addr: {address}\n  secret: onezot\n  headers: {{X-Node: \
             [{name}]}}\n{locations}",
            folder = self.folder.display(),
        );
        let file = self.folder.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(REGISTRY.path().unwrap());
        command.arg("serve").arg(&file).stdout(Stdio::null());
        let mut process = Process::start(&mut command, &self.folder.join("log"));
        let until = Instant::now() + START;
        let answers = loop {
            if process.has_ended() {
                break false;
            }
            let answer = self.wire().try_call("GET", "/v2/", &[], Body::None);
            // Another test's registry could be there, and ours about to find the port taken.
            if answer.is_ok_and(|answer| answer.status() == 200) && self.is_own_port(&process) {
                break true;
            }
            assert!(Instant::now() < until, "the registry does not answer: {}", process.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        self.process = Some(process);
        answers
    }

    /// Whether the process listens at the address (`/proc/PID/net/tcp` names the socket, `/proc/PID/fd` who has it).
    fn is_own_port(&self, process: &Process) -> bool {
        let own = Path::new("/proc").join(process.child.id().to_string());
        let table = std::fs::read_to_string(own.join("net/tcp")).unwrap_or_default();
        let local = format!("0100007F:{:04X}", self.address.port());
        let listening = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let sockets: Vec<String> = listening
            .filter(|fields| fields.len() > 9 && fields[1] == local && fields[3] == "0A")
            .map(|fields| format!("socket:[{}]", fields[9]))
            .collect();
        let Ok(descriptors) = std::fs::read_dir(own.join("fd")) else { return false };
        descriptors
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    }

    fn last_words(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

/// The gateway, three registries behind it, and a folder for what the test makes.
pub struct Fleet {
    pub address: SocketAddr,
    pub registries: [Registry; 3],
    pub skopeo: Client,
    pub crane: Client,
    gateway: Process,
    // Last, so that the processes have ended when their files go.
    folder: TempDir,
}

impl Fleet {
    /// Starts everything; `None`, and a line that says so, when a program is missing.
    pub fn start(clients: &[Program]) -> Option<Fleet> {
        if !are_there(&[&[REGISTRY], clients].concat()) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let locations = [Locations::Forwarded, Locations::OwnAddress, Locations::Relative];
        let registries = [0, 1, 2].map(|i| Registry::start(NODES[i], &folder.path().join(NODES[i]), locations[i]));
        let mut command = Command::new(env!("CARGO_BIN_EXE_onezot"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(node_flags(&registries)).stdout(Stdio::piped());
        let mut gateway = Process::start(&mut command, &folder.path().join("onezot.log"));
        let mut line = String::new();
        BufReader::new(gateway.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("onezot: listening on http://");
        let address = address.unwrap_or_else(|| panic!("onezot says {line:?}: {}", gateway.log())).parse().unwrap();
        let (skopeo, crane) = (Client::new(SKOPEO, &home), Client::new(CRANE, &home));
        Some(Fleet { address, registries, skopeo, crane, gateway, folder })
    }

    /// A connection to the gateway.
    pub fn wire(&self) -> Wire {
        Wire::new(self.address)
    }

    /// A path for a file or a folder of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `HOST:PORT/repository`, as crane takes it.
    pub fn image(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }

    /// The index of the node that `onezot where` names.
    pub fn owner(&self, repository: &str) -> usize {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onezot"));
        command.args(["where", repository]).args(node_flags(&self.registries)).env_clear();
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let is_named =
            |registry: &&Registry| text.starts_with(&format!("{} (http://{})", registry.name, registry.address));
        let named = self.registries.iter().find(is_named);
        let named = named.unwrap_or_else(|| panic!("onezot where {repository} says {text:?}")).name;
        NODES.iter().position(|name| *name == named).unwrap()
    }

    /// A repository that the node owns: the first of `stem`, `stem-1`, `stem-2` …
    pub fn repository_on(&self, node: usize, stem: &str) -> String {
        let mut names = std::iter::once(stem.to_owned()).chain((1..).map(|i| format!("{stem}-{i}")));
        names.find(|name| self.owner(name) == node).unwrap()
    }

    /// Checks by asking the registries themselves that a repository is where `onezot where` says, and nowhere else.
    pub fn check_place(&self, repository: &str) {
        let owner = self.owner(repository);
        for (index, registry) in self.registries.iter().enumerate() {
            let status = registry.wire().get(&format!("/v2/{repository}/tags/list")).status();
            let expected = if index == owner { 200 } else { 404 };
            assert_eq!(status, expected, "{repository} belongs to {}, asked {}", NODES[owner], registry.name);
        }
    }

    /// What no answer may do: name the address of a node.
    pub fn check_no_node_is_named(&self, answer: &Answer) {
        for registry in &self.registries {
            let address = registry.address.to_string();
            let names_it = answer.head.headers.iter().any(|(_, value)| value.contains(&address));
            assert!(!names_it, "a client learns of node {}: {:?}", registry.name, answer.head);
        }
    }

    /// The largest resident memory that the gateway's process ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

fn node_flags(registries: &[Registry]) -> impl Iterator<Item = String> {
    registries
        .iter()
        .flat_map(|registry| ["--node".to_owned(), format!("{}=http://{}", registry.name, registry.address)])
}
