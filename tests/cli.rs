//! The binary as a person uses it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn onezot(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onezot"));
    command.args(arguments).env_remove("ONEZOT_CONFIG");
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = onezot(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The URL of a node that is ready and has nothing. It ends with the process.
fn node() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let read = request.read_line(&mut line);
            let mut rest = String::new();
            while request.read_line(&mut rest).is_ok_and(|length| length > 2) {}
            let status = if line.starts_with("GET /readyz ") { "200 OK" } else { "404 Not Found" };
            if read.is_ok() {
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    url
}

/// A gateway process that ends with the test.
struct Serving {
    child: Child,
    lines: Vec<String>,
}

impl Serving {
    fn start(arguments: &[&str], lines: usize) -> Serving {
        Serving::run(onezot(arguments).stderr(Stdio::null()), lines)
    }

    fn run(command: &mut Command, lines: usize) -> Serving {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut read = || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let lines = (0..lines).map(|_| read()).collect();
        Serving { child, lines }
    }

    fn get(&self, line: usize, target: &str) -> String {
        let address = self.lines[line].split_once("http://").unwrap().1;
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn kill(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
    }

    fn signal(&mut self, name: &str) -> i32 {
        self.kill(name);
        self.child.wait().unwrap().code().expect("ended by the signal itself")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_works_without_a_file_and_says_where() {
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--node",
        "a=http://127.0.0.1:9",
        "--node",
        "http://127.0.0.1:10",
    ];
    let mut serving = Serving::start(&arguments, 3);
    assert!(serving.lines[0].starts_with("onezot: listening on http://127.0.0.1:"), "{:?}", serving.lines);
    assert!(serving.lines[1].starts_with("onezot: listening on http://127.0.0.1:"), "{:?}", serving.lines);
    assert!(serving.lines[2].starts_with("onezot: admin on http://127.0.0.1:"), "{:?}", serving.lines);
    for line in 0..3 {
        let answer = serving.get(line, "/livez");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    let plan = serving.get(2, "/explain?path=/v2/_catalog%3Fn=2");
    assert!(plan.contains("class: fan-out") && plan.contains("at most 2"), "{plan}");
    let status = serving.get(2, "/status");
    assert!(status.contains(r#""name":"127.0.0.1:10""#), "{status}");
    assert!(serving.get(2, "/v2/").starts_with("HTTP/1.1 404 "), "the admin listener is no registry");
    assert_eq!(serving.signal("TERM"), 0);
}

#[test]
fn an_interrupt_ends_it_too() {
    let mut serving = Serving::start(&["serve", "--listen", "127.0.0.1:0", "--node", "http://127.0.0.1:9"], 1);
    assert_eq!(serving.signal("INT"), 0);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, out, error) = run(&["serve", "--listen", &address, "--node", "http://127.0.0.1:9"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains(&format!("cannot listen on {address}: ")), "{error}");
}

#[test]
fn verify_accepts_what_is_right_and_names_what_is_wrong() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, "nodes: [{name: a, url: 'http://a:5000'}]\n").unwrap();
    assert_eq!(run(&["verify", path]), (0, format!("{path}: ok, 1 nodes\n"), String::new()));
    std::fs::write(path, "nodes:\n- {name: a, url: 'http://a:5000'}\npagination: auto\n").unwrap();
    let (code, out, error) = run(&["verify", path]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(error.starts_with(&format!("onezot: {path}:3:1: pagination: unknown field `pagination`")), "{error}");
    let (code, _, error) = run(&["serve", "--config", path]);
    assert_eq!(code, 78, "{error}");
    std::fs::write(path, "nodes: [{url: 'http://a:5000'}]\nunknown_queries: pass\n").unwrap();
    let (code, _, error) = run(&["verify", path]);
    assert_eq!(code, 78);
    assert!(error.contains(":2:18: unknown_queries: ") && error.contains("refuse, any-node"), "{error}");
}

#[test]
fn a_query_of_a_newer_zot_is_explained_as_configured() {
    let request = ["explain", "GET", "/v2/_zot/ext/search?query={BrandNew}", "--node", "http://a:1"];
    let (_, out, _) = run(&request);
    assert!(out.contains("unknown: BrandNew") && out.contains("refused: "), "{out}");
    let output = onezot(&request).env("ONEZOT_UNKNOWN_QUERIES", "any-node").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("unknown: BrandNew") && out.contains("whole: any"), "{out}");
}

#[test]
fn explain_and_where_name_the_owner() {
    let nodes = ["--node", "a=http://a:1", "--node", "b=http://b:1"];
    let (code, out, _) = run(&[&["where", "zot-test"][..], &nodes].concat());
    assert_eq!((code, out.as_str()), (0, "b (http://b:1), owner by hash: 7f5537bdf3ddf6a1 mod 2 is 1\n"));
    let (code, _, error) = run(&[&["where", "Zot-Test"][..], &nodes].concat());
    assert!(code == 1 && error.contains("not the name of a repository"), "{error}");
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), "12345").unwrap();
    let request = ["explain", "PUT", "/v2/zot-test/manifests/1", "--body", body.path().to_str().unwrap()];
    let (code, out, _) = run(&[&request[..], &nodes].concat());
    assert_eq!(code, 0);
    for line in ["class: route-once", "repo:  zot-test", "node:  b (http://b:1), ", "body:  5 bytes"] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let (code, _, error) = run(&["explain", "GET", "/v2/"]);
    assert!(code == 78 && error.contains("there are no nodes"), "{error}");
}

#[test]
fn probe_says_by_its_exit_code_whether_a_gateway_is_ready() {
    let ephemeral = "127.0.0.1:0";
    let node = node();
    let arguments = ["serve", "--listen", ephemeral, "--admin", ephemeral, "--node", &node];
    let serving = Serving::start(&arguments, 2);
    // The gateway asks its node; the admin listener has no such page.
    let status = "404 Not Found";
    for line in &serving.lines {
        let base = line.split_once(" on ").unwrap().1;
        assert_eq!(run(&["probe", &format!("{base}/readyz")]), (0, String::new(), String::new()));
        let (code, out, error) = run(&["probe", &format!("{base}/nowhere?s3cr3t")]);
        assert!(code == 1 && out.is_empty() && error.contains(&format!("/nowhere: {status}")), "{error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }

    // Somebody who takes connections and says nothing, and then nobody.
    let silent = std::net::TcpListener::bind(ephemeral).unwrap();
    let url = format!("http://{}/readyz", silent.local_addr().unwrap());
    let (code, _, error) = run(&["probe", "--timeout", "1", &url]);
    assert_eq!((code, error), (1, format!("onezot: probe: {url}: no answer within 1 s\n")));
    drop(silent);
    let (code, _, error) = run(&["probe", &url]);
    assert!(code == 1 && error.contains("refused"), "{error}");

    for url in ["https://127.0.0.1:9/readyz", "127.0.0.1:9", "/readyz", "http://me:s3cr3t@127.0.0.1:9/readyz"] {
        let (code, _, error) = run(&["probe", url]);
        assert!(code == 1 && error.contains("write http://HOST:PORT/PATH") && !error.contains("s3cr3t"), "{error}");
    }
}

#[test]
fn no_secret_is_logged_whatever_the_level() {
    let node = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", node.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in node.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let answer =
                "HTTP/1.1 200 OK\r\nSet-Cookie: session=s3cr3t\r\nContent-Length: 19\r\nConnection: close\r\n\r\n";
            stream.write_all(format!("{answer}{{\"repositories\":[]}}").as_bytes()).unwrap();
        }
    });
    for (level, format) in [("trace", "text"), ("trace", "json"), ("trace,pingora_proxy=trace,hyper=trace", "text")] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = onezot(&["serve", "--listen", "127.0.0.1:0", "--node", &url]);
        command.env("ONEZOT_LOG_LEVEL", level).env("ONEZOT_LOG_FORMAT", format).stderr(log.reopen().unwrap());
        let mut serving = Serving::run(&mut command, 1);
        for target in [
            "/zot/auth/callback/oidc?code=s3cr3t",
            "/zot//auth/callback/oidc?code=s3cr3t",
            "/v2/a/tags/list?token=s3cr3t",
            "/v2/_catalog",
        ] {
            let secrets = "Authorization: Basic s3cr3t\r\nCookie: session=s3cr3t";
            let answer = serving.get(0, &format!("{target} HTTP/1.1\r\n{secrets}\r\nX-Rest: 1"));
            assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 301 "), "{answer}");
        }
        // A client that leaves in the middle of its header.
        let address = serving.lines[0].split_once("http://").unwrap().1.to_owned();
        TcpStream::connect(address).unwrap().write_all(b"GET /?code=s3cr3t HTTP/1.1\r\n").unwrap();
        serving.signal("TERM");
        let log = std::fs::read_to_string(log.path()).unwrap();
        assert!(log.contains("/zot/auth/callback/oidc") && log.contains("/v2/_catalog"), "{log}");
        for unwanted in ["s3cr3t", "ERROR", "\u{1b}"] {
            assert!(!log.contains(unwanted), "{unwanted}: {log}");
        }
    }
}

/// Waits until something is said; only a hang takes so long.
fn until(what: &str, is_so: impl Fn() -> bool, now: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come; it is: {}", now());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_configuration_is_read_again_on_sighup_and_when_its_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let (file, log) = (directory.path().join("onezot.yaml"), directory.path().join("log"));
    let write = |yaml: &str| std::fs::write(&file, yaml).unwrap();
    write("nodes: [{name: a, url: 'http://127.0.0.1:9'}]\n");
    let path = file.to_str().unwrap();
    let arguments = ["serve", "--config", path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut command = onezot(&arguments);
    command.stderr(std::fs::File::create(&log).unwrap());
    let mut serving = Serving::run(&mut command, 2);
    let said = || std::fs::read_to_string(&log).unwrap();
    let says = |text: &str| until(text, || said().contains(text), said);
    let has = |name: &str| {
        let status = || serving.get(1, "/status");
        until(name, || status().contains(&format!("\"name\":\"{name}\"")), status);
    };
    has("a");
    // By the file.
    write("nodes: [{name: b, url: 'http://127.0.0.1:9'}]\nplacement: {hash_key: a-secret-of-mine}\n");
    has("b");
    says("changed=\"nodes, placement.hash_key\"");
    // What is wrong changes nothing.
    write("nodes: [{name: c, url: 'http://127.0.0.1:9'}]\ntimeouts: {conect: 1s}\n");
    says("onezot.yaml:2:12: timeouts.conect: unknown field `conect`");
    has("b");
    // By the signal alone from now on; what is bound stays.
    write("nodes: [{name: d, url: 'http://127.0.0.1:9'}]\nreload: signal\nlog: {format: json, level: debug}\n");
    has("d");
    says("ignored=\"log.format\"");
    write("nodes: [{name: e, url: 'http://127.0.0.1:9'}]\nreload: signal\nlog: {level: error}\n");
    serving.kill("HUP");
    has("e");
    serving.kill("HUP");
    assert_eq!(serving.signal("TERM"), 0);
    assert!(!said().contains("a-secret-of-mine"), "{}", said());
}

#[test]
fn it_is_not_ready_at_once_and_serves_until_a_second_signal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("onezot.yaml");
    std::fs::write(&file, format!("timeouts: {{linger: 1h, drain: 1h}}\nnodes: [{{url: '{}'}}]\n", node())).unwrap();
    let path = file.to_str().unwrap();
    let mut serving = Serving::start(&["serve", "--config", path, "--listen", "127.0.0.1:0"], 1);
    assert!(serving.get(0, "/readyz").starts_with("HTTP/1.1 200 "));
    serving.kill("TERM");
    let ready = || serving.get(0, "/readyz");
    until("not ready", || ready().starts_with("HTTP/1.1 503 "), ready);
    assert!(ready().ends_with("\r\n\r\nnot ready: this gateway is about to stop\n"), "{}", ready());
    // It takes requests all the same, and sends those away who would come again on the same connection.
    let mut stream = TcpStream::connect(serving.lines[0].split_once("http://").unwrap().1).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("Connection: close"), "{answer}");
    assert_eq!(serving.signal("TERM"), 0);
}

#[test]
fn commands_look_for_the_nodes() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, file) = (directory.path().join("nodes.yaml"), directory.path().join("onezot.yaml"));
    std::fs::write(&nodes, "[{\"name\": \"zot-0\", \"url\": \"http://127.0.0.1:9\"}]").unwrap();
    std::fs::write(&file, format!("discovery: {{file: '{}'}}\n", nodes.display())).unwrap();
    let path = file.to_str().unwrap();
    let (code, out, error) = run(&["where", "team-a/app", "--config", path]);
    assert_eq!((code, out.starts_with("zot-0 (http://127.0.0.1:9)")), (0, true), "{out}{error}");
    let (code, out, _) = run(&["explain", "GET", "/v2/_catalog", "--config", path]);
    assert!(code == 0 && out.contains("zot-0"), "{out}");
    assert_eq!(run(&["verify", path]), (0, format!("{path}: ok, 1 nodes found at the moment\n"), String::new()));
    std::fs::write(&nodes, "[]").unwrap();
    let (code, _, error) = run(&["where", "team-a/app", "--config", path]);
    assert!(code == 1 && error.contains("nodes.yaml: there are no nodes in it"), "{error}");
    for (yaml, expected) in [
        ("discovery: {dns: zot.registry.svc}\n", "discovery.dns: \"zot.registry.svc\" has addresses only"),
        ("discovery: {dns: _a.b, file: c}\n", "discovery.dns: discovery.file says where the nodes are already"),
        ("discovery: {file: c}\nnodes: [{url: 'http://a'}]\n", "discovery.file: there are nodes already"),
        ("discovery: {kubernetes: a/b/c}\n", "discovery.kubernetes: \"a/b/c\" is no service"),
        ("discovery: {dns: _a.b, at_least: 0}\n", "discovery.at_least: 0 is too little"),
    ] {
        std::fs::write(&file, yaml).unwrap();
        let (code, _, error) = run(&["verify", path]);
        assert!(code == 78 && error.contains(expected), "{yaml}{error}");
    }
}
