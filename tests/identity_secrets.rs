//! Two processes that share nothing but the seal key, from login to logout with faults on the way, at the most talkative
//! level: nothing of what anybody proves himself with is in a log, in an error, or at the admin listener.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/people.rs"]
mod people;
#[path = "support/wire.rs"]
mod wire;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use onezot::demo::Fault;
use people::{Browser, Fleet, basic, key_file};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::NamedTempFile;
use wire::Got;

/// A gateway process; it ends with the test.
struct Process {
    address: SocketAddr,
    admin: SocketAddr,
    said: String,
    log: NamedTempFile,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(nodes: &[SocketAddr], key: &str, format: &str) -> Process {
        let log = NamedTempFile::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_onezot"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--seal-key-file", key]);
        for (number, node) in nodes.iter().enumerate() {
            command.args(["--node".to_owned(), format!("zot-{number}=http://{node}")]);
        }
        command.env_remove("ONEZOT_CONFIG").env("ONEZOT_LOG_FORMAT", format);
        command.env("ONEZOT_LOG_LEVEL", "trace,hyper=trace,pingora_proxy=trace,onezot=trace");
        let mut child = command.stdout(Stdio::piped()).stderr(log.reopen().unwrap()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        for _ in 0..2 {
            out.read_line(&mut said).unwrap();
        }
        let at = |line: usize| said.lines().nth(line).unwrap().split_once("http://").unwrap().1.parse().unwrap();
        Process { address: at(0), admin: at(1), log, child, said: said.clone() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_a_log_an_error_or_at_the_admin_listener() {
    let key = key_file("a seal key of this test");
    let mut fleet = Fleet::start(3, people::MIXED).await;
    let addresses: Vec<SocketAddr> = (0..3).map(|node| fleet.node(node).address()).collect();
    fleet.forget_requests();
    let processes = [Process::start(&addresses, &key, "text"), Process::start(&addresses, &key, "json")];
    let [one, other] = processes.each_ref().map(|process| process.address);
    let mut secrets = BTreeSet::from(["alice-pw".to_owned(), "wr0ng-pw".to_owned(), "c0de-of-a-sign-in".to_owned()]);
    secrets.insert(std::fs::read_to_string(&key).unwrap().trim().to_owned());
    let mut errors: Vec<String> = Vec::new();
    let mut note = |got: Got| {
        if got.status >= 400 {
            let lines = got.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
            // The browser's cookies are its own.
            errors.extend(lines.filter(|line| !line.to_ascii_lowercase().starts_with("set-cookie")));
            errors.push(got.text().to_owned());
        }
        got.status
    };
    let mut browser = Browser::default();
    assert_eq!(note(browser.log_in(&one, "alice", "wr0ng-pw").await), 401);
    assert_eq!(note(browser.log_in(&one, "alice", "alice-pw").await), 200);
    secrets.insert(browser.cookies["session"].clone());
    let search = "/v2/_zot/ext/search?query={GlobalSearch(query:%22%22){Repos{Name}}}";
    let everything = fleet.repositories();
    let mut targets: Vec<String> = everything.iter().map(|name| format!("/v2/{name}/tags/list")).collect();
    targets.extend([search.to_owned(), "/v2/_catalog".to_owned(), "/v2/".to_owned()]);
    for target in &targets {
        assert_eq!(note(browser.get(&other, target).await), 200, "{target}");
    }
    let made = people::create_key(&one, "alice", "alice-pw", "ci").await;
    secrets.insert(made["apiKey"].as_str().unwrap().to_owned());
    for target in &targets {
        assert_eq!(note(people::with_key(&other, target, "alice", &made).await), 200, "{target}");
    }
    note(browser.get(&other, "/zot/auth/callback/oidc?code=c0de-of-a-sign-in&state=1").await);
    note(browser.get(&other, "/zot/auth/login?provider=oidc").await);
    // What is changed, what is foreign, and nodes that fail in every way.
    let mut thief = browser.clone();
    thief.cookies.insert("session".to_owned(), format!("{}A", browser.cookies["session"]));
    secrets.insert(thief.cookies["session"].clone());
    for target in &targets {
        note(thief.get(&one, target).await);
    }
    let changed = serde_json::json!({"apiKey": format!("{}A", made["apiKey"].as_str().unwrap())});
    assert_eq!(note(people::with_key(&one, "/v2/_catalog", "alice", &changed).await), 401);
    let faults = [Fault::Unauthorized, Fault::BadJson, Fault::Reset, Fault::Status(http::StatusCode::BAD_GATEWAY)];
    for fault in faults {
        fleet.node(1).faults().set(fault);
        for target in &targets {
            note(browser.get(&one, target).await);
            note(people::with_key(&other, target, "alice", &made).await);
        }
        note(browser.clone().log_in(&one, "alice", "alice-pw").await);
        note(wire::send(one, people::posted("alice", "alice-pw", "{}")).await);
    }
    fleet.take_down(1).await;
    for target in &targets {
        note(browser.get(&one, target).await);
    }
    note(wire::send(one, people::posted("alice", "alice-pw", "{}")).await);
    fleet.put_right(1).await;
    for node in 0..3 {
        for seen in fleet.seen(node) {
            // What the nodes got, they alone have got.
            if let Some(line) = seen.headers.get(AUTHORIZATION) {
                let encoded = line.to_str().unwrap().split_once(' ').unwrap().1.to_owned();
                let decoded = String::from_utf8(BASE64_STANDARD.decode(&encoded).unwrap()).unwrap();
                secrets.extend([encoded, decoded.split_once(':').unwrap().1.to_owned()]);
            }
            for line in seen.headers.get_all(COOKIE) {
                let pairs = line.to_str().unwrap().split("; ").map(|pair| pair.split_once('=').unwrap());
                secrets.extend(pairs.filter(|(name, _)| *name != "user").map(|(_, value)| value.to_owned()));
            }
        }
    }
    fleet.restart(1).await;
    for target in &targets {
        note(browser.get(&one, target).await);
    }
    let target = format!("/zot/auth/apikey?id={}", made["uuid"].as_str().unwrap());
    note(wire::send(one, basic("DELETE", &target, "alice", "alice-pw", "")).await);
    assert_eq!(note(browser.send(&other, "POST", "/zot/auth/logout", "").await), 200);
    let mut public = errors;
    for process in &processes {
        for target in ["/status", "/explain?path=/v2/_catalog", "/explain?path=/zot/auth/apikey", "/metrics", "/livez"]
        {
            public.push(wire::get(process.admin, target).await.text().to_owned());
        }
        public.push(process.said.clone());
        public.push(std::fs::read_to_string(process.log.path()).unwrap());
    }
    let whole = public.join("\n");
    for expected in ["/zot/auth/callback/oidc", "/zot/auth/apikey", "does not know the session", "\"version\""] {
        assert!(whole.contains(expected), "{expected} is nowhere: {whole}");
    }
    // Those of the nodes are among them: three sessions, three keys.
    assert!(secrets.len() > 12, "{}", secrets.len());
    for secret in &secrets {
        assert!(secret.len() >= 8, "{secret:?} may be anywhere");
        // Neither as it is, nor a good part of it.
        let part = &secret[..secret.len().min(40)];
        let lines: Vec<&str> = whole.lines().filter(|line| line.contains(part)).collect();
        assert!(lines.is_empty(), "{part} is in: {lines:#?}");
    }
    println!("{} secrets, {} lines, none in any", secrets.len(), whole.lines().count());
    fleet.stop().await;
}
