//! The programs that are measured: started on loopback, stopped by dropping them.
//!
//! Each proxy is configured as its own documentation says for this job: connections to the node are kept, blobs are not
//! buffered, as many threads as there are cores, no log of requests. With a [`Certificate`], the last address of each is
//! one for TLS.

use crate::account::Processes;
use crate::load::{Call, Connection};
use crate::node::Fleet;
use anyhow::{Context, Result, bail, ensure};
use http::Method;
use nix::sys::signal::{Signal, kill};
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};

/// How long a program may take to start.
const START: Duration = Duration::from_secs(30);
/// Idle connections to a node that a proxy keeps.
const KEPT: usize = 64;

/// Something that answers at an address.
pub struct Peer {
    /// What it is called in the tables.
    pub name: String,
    /// Where it answers; a fleet of nodes has several.
    pub addresses: Vec<SocketAddr>,
    child: Child,
    root: u32,
    // Held so that they live as long as the process.
    _files: Option<TempDir>,
    _printed: Option<Lines<BufReader<ChildStdout>>>,
}

impl Peer {
    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The id of its first process.
    pub fn id(&self) -> u32 {
        self.root
    }

    /// Its processes.
    pub fn processes(&self) -> Result<Processes> {
        Processes::below(self.root)
    }
}

/// Its workers, too: they would outlive a master that is killed.
impl Drop for Peer {
    fn drop(&mut self) {
        if self.child.id().is_none() {
            return;
        }
        for pid in self.processes().iter().flat_map(Processes::pids) {
            // One that has ended in between needs no signal.
            let _ = kill(pid, Signal::SIGTERM);
        }
    }
}

/// The programs that are there to be measured.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The binary of onezot.
    pub onezot: PathBuf,
    /// nginx, if there is one.
    pub nginx: Option<PathBuf>,
    /// haproxy, if there is one.
    pub haproxy: Option<PathBuf>,
    /// Whether there is wrk.
    pub wrk: bool,
    /// How many threads each proxy has.
    pub threads: usize,
}

/// A certificate for loopback, made for the run.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes one; `None` if there is no openssl to make it.
    pub async fn made() -> Result<Option<Certificate>> {
        let Some(openssl) = find("openssl") else { return Ok(None) };
        let certificate = Certificate { folder: tempfile::tempdir()? };
        let mut command = Command::new(openssl);
        command.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '));
        command.args("-subj /CN=localhost -addext subjectAltName=DNS:localhost -out".split(' '));
        command.arg(certificate.file()).arg("-keyout").arg(certificate.key());
        let output = command.output().await?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        let both = std::fs::read_to_string(certificate.file())? + &std::fs::read_to_string(certificate.key())?;
        std::fs::write(certificate.both(), both)?;
        Ok(Some(certificate))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    /// Both in one file, as haproxy reads them.
    fn both(&self) -> PathBuf {
        self.folder.path().join("tls.pem")
    }
}

/// Finds a program in `PATH`, or where a system keeps its servers.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Starts a program that prints its addresses, one a line: `… http://ADDRESS`.
async fn start(
    name: &str,
    program: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    lines: usize,
) -> Result<Peer> {
    let mut command = Command::new(program);
    // onezot says on its standard error when it stops.
    command
        .env("ONEZOT_LOG_LEVEL", "warn")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let mut printed = BufReader::new(child.stdout.take().context("no output")?).lines();
    let root = child.id().context("it has ended")?;
    let mut peer = Peer { name: name.to_owned(), addresses: Vec::new(), child, root, _files: None, _printed: None };
    while peer.addresses.len() < lines {
        let line = timeout(START, printed.next_line()).await??;
        let line = line.with_context(|| format!("{name} ended before it listened"))?;
        if let Some((_, address)) = line.split_once("://") {
            peer.addresses.push(address.parse()?);
        }
    }
    peer._printed = Some(printed);
    Ok(peer)
}

/// Static nodes, each at an address of its own.
pub async fn nodes(fleet: &Fleet) -> Result<Peer> {
    let Fleet { nodes, repositories, tags, blob, delay, slow } = fleet;
    let mut arguments = vec!["node".to_owned()];
    for (name, value) in [("nodes", *nodes), ("repositories", *repositories), ("tags", *tags), ("blob", *blob)] {
        arguments.extend([format!("--{name}"), value.to_string()]);
    }
    arguments.extend(["--delay".to_owned(), delay.to_string()]);
    arguments.extend(slow.iter().flat_map(|slow| ["--slow".to_owned(), slow.to_string()]));
    start("nodes", &std::env::current_exe()?, arguments, fleet.nodes).await
}

/// onezot with its defaults.
pub async fn onezot(program: &Path, nodes: &[SocketAddr]) -> Result<Peer> {
    let mut arguments = ["serve", "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
    for (index, node) in nodes.iter().enumerate() {
        arguments.extend(["--node".to_owned(), format!("zot-{index}=http://{node}")]);
    }
    start("onezot", program, arguments, 1).await
}

/// The same behind TLS.
pub async fn onezot_with(program: &Path, node: SocketAddr, certificate: &Certificate) -> Result<Peer> {
    let files = tempfile::tempdir()?;
    let file = files.path().join("onezot.yaml");
    let (chain, key) = (certificate.file(), certificate.key());
    let (chain, key) = (chain.display(), key.display());
    let config = format!(
        "listen: [{{address: \"127.0.0.1:0\", tls: {{certificate: \"{chain}\", key: \"{key}\"}}}}]\n\
         nodes: [{{name: zot-0, url: \"http://{node}\"}}]\n"
    );
    std::fs::write(&file, config)?;
    let arguments = [OsStr::new("serve"), OsStr::new("--config"), file.as_os_str()];
    let mut peer = start("onezot", program, arguments, 1).await?;
    peer._files = Some(files);
    Ok(peer)
}

/// The gateway of an afternoon.
pub async fn naive(nodes: &[SocketAddr]) -> Result<Peer> {
    let addresses = nodes.iter().map(ToString::to_string);
    start("naive gateway", &std::env::current_exe()?, ["naive".to_owned()].into_iter().chain(addresses), 1).await
}

/// nginx in front of one node. Its second address is the same with blobs buffered in memory, which its documentation
/// does not advise for uploads but which costs it less.
pub async fn nginx(programs: &Programs, node: SocketAddr, certificate: Option<&Certificate>) -> Result<Option<Peer>> {
    let Some(program) = &programs.nginx else { return Ok(None) };
    let files = tempfile::tempdir()?;
    let [plain, buffered, secure] = [free_port()?, free_port()?, free_port()?];
    let threads = programs.threads;
    let here = files.path().display();
    let forwarded = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_pass http://node;";
    let server = |address: SocketAddr, tls: &str, blobs: &str| {
        format!(
            "    server {{
        listen {address} backlog=4096 {tls};
        location / {{ {forwarded} }}
        location ~ ^/v2/.+/blobs/ {{ {blobs}
            {forwarded} }}
    }}
"
        )
    };
    let unbuffered = "proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;";
    let in_memory = "proxy_request_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;
            proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;";
    let config = format!(
        "daemon off;
worker_processes {threads};
worker_rlimit_nofile 65536;
pid {here}/pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    keepalive_requests 1000000000;
    upstream node {{ server {node}; keepalive {KEPT}; keepalive_requests 1000000000; }}
{}{}{}}}
",
        server(plain, "", unbuffered),
        server(buffered, "", in_memory),
        certificate.map_or_else(String::new, |certificate| {
            let (chain, key) = (certificate.file(), certificate.key());
            let files = format!("ssl_certificate {}; ssl_certificate_key {}", chain.display(), key.display());
            server(secure, &format!("ssl; {files}; ssl_protocols TLSv1.2 TLSv1.3"), unbuffered)
        }),
    );
    let file = files.path().join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(files.path()).arg("-e").arg("stderr").arg("-c").arg(&file);
    let addresses = [plain, buffered].into_iter().chain(certificate.map(|_| secure)).collect();
    listening("nginx", command, addresses, files).await.map(Some)
}

/// haproxy in front of one node.
pub async fn haproxy(programs: &Programs, node: SocketAddr, certificate: Option<&Certificate>) -> Result<Option<Peer>> {
    let Some(program) = &programs.haproxy else { return Ok(None) };
    let files = tempfile::tempdir()?;
    let [plain, secure] = [free_port()?, free_port()?];
    let with_tls = certificate.map_or_else(String::new, |certificate| {
        format!("    bind {secure} backlog 4096 ssl crt {}\n", certificate.both().display())
    });
    let threads = programs.threads;
    let most = most_connections();
    let config = format!(
        "global
    nbthread {threads}
    maxconn {most}
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    option forwardfor
    http-reuse safe
frontend clients
    bind {plain} backlog 4096
{with_tls}    default_backend nodes
backend nodes
    server zot-0 {node} pool-max-conn {KEPT}
"
    );
    let file = files.path().join("haproxy.cfg");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&file);
    let addresses = [plain].into_iter().chain(certificate.map(|_| secure)).collect();
    listening("haproxy", command, addresses, files).await.map(Some)
}

/// The connections that a proxy can have open, a descriptor for each side.
pub fn most_connections() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    (descriptors.saturating_sub(500) / 2).min(16_000)
}

/// Starts a program that does not say when it listens: its port is tried until it answers.
async fn listening(name: &str, mut command: Command, addresses: Vec<SocketAddr>, files: TempDir) -> Result<Peer> {
    let errors = std::fs::File::create(files.path().join("errors"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let root = child.id().context("it has ended")?;
    let mut peer = Peer { name: name.to_owned(), addresses, child, root, _files: None, _printed: None };
    let until = Instant::now() + START;
    let ask = Call::bare(Method::GET, "/v2/");
    loop {
        if let Some(status) = peer.child.try_wait()? {
            let errors = std::fs::read_to_string(files.path().join("errors")).unwrap_or_default();
            bail!("{name} ended with {status}: {errors}");
        }
        if let Ok(mut connection) = Connection::open(peer.address()).await
            && connection.fetch(&ask).await.is_ok()
        {
            break;
        }
        if Instant::now() > until {
            bail!("{name} does not answer");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    peer._files = Some(files);
    Ok(peer)
}

/// A port that nobody has at the moment; some programs cannot take one by themselves.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
