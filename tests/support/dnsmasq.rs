//! A name server of Debian on the loopback, whose records a test changes.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A record: the first label of the target, and the address and port that it leads to.
pub type Record<'a> = (&'a str, SocketAddr);

/// The name of the records.
pub const NAME: &str = "_http._tcp.zot.test";

pub struct Dnsmasq {
    program: PathBuf,
    /// What it says about itself.
    directory: tempfile::TempDir,
    pub address: SocketAddr,
    running: Option<Child>,
}

/// The server's program, if it is there.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join("dnsmasq")).find(|program| program.is_file())
}

/// A port that is free for both.
fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Dnsmasq {
    /// A server that does not run yet; `None` if there is no such program.
    pub fn new() -> Option<Dnsmasq> {
        let directory = tempfile::tempdir().unwrap();
        Some(Dnsmasq { program: program()?, directory, address: free(), running: None })
    }

    /// Has these records from now on. Their order is that of the answer.
    pub fn serve(&mut self, records: &[Record]) {
        self.stop();
        let mut config = String::from("no-resolv\nno-hosts\nlocal=/test/\nlocal-ttl=1\nbind-interfaces\nuser=root\n");
        let port = self.address.port();
        writeln!(config, "listen-address=127.0.0.1\nport={port}\nlog-facility=-\npid-file=").unwrap();
        for (label, address) in records {
            writeln!(config, "srv-host={NAME},{label}.zot.test,{}", address.port()).unwrap();
            writeln!(config, "host-record={label}.zot.test,{}", address.ip()).unwrap();
        }
        let file = self.directory.path().join("dnsmasq.conf");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("--keep-in-foreground").arg(format!("--conf-file={}", file.display()));
        self.running = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Nobody answers from now on.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.stop();
    }
}
