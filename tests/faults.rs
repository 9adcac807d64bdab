//! The faults matrix: each row of both tables × each way in which a node fails × one node or all of them. What must come of
//! it follows from what the row needs, from the fault, and from which nodes fail; never from the row itself. `ONEZOT_FAULT` asks
//! for the faults with a name, such as `Hang`.
//!
//! Whatever happens: an answer comes, a node that is dead is never an absence, what lacks a node says so, and no write is sent
//! to a node twice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "faults/cells.rs"]
mod cells;
#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "faults/faulty.rs"]
mod faulty;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/whole.rs"]
mod whole;
#[path = "support/wire.rs"]
mod wire;

use cells::{Cell, Named, Node, Way};
use demo_replay::Set;
use faulty::{BAD_JSON, FAULTS, Fault, Faulty, PAGE, WORDS, Well};
use futures::StreamExt as _;
use onezot::fleet::Placement;
use onezot::rules::Act;
use onezot::rules::QUERIES;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use whole::{ENOUGH, Got, send};

/// Short deadlines; a stream waits for a second more than the longer of `headers` and `idle`.
const SHORT: &str = "timeouts: {connect: 2s, headers: 3s, write_answer: 3s, idle: 3s, total: 8s, drain: 100ms}\n";
/// Where nobody is late: a busy machine is no fault.
const LONG: &str = "timeouts: {connect: 20s, headers: 30s, write_answer: 30s, idle: 30s, total: 30s, drain: 100ms}\n";
const YAML: &str = "allow_partial: true\nlimits: {answer_bytes: 1MiB}\n";
const ASKS_FOR_PARTS: &str = "X-Onezot-Partial: warn\r\n";

/// What may come of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// What comes when nothing fails.
    Same,
    /// An error of onezot's own, which names a node that fails.
    Failure(u16),
    /// What the failing node says.
    Words,
    /// The beginning of what comes when nothing fails, and then an end that is none.
    Broken,
    /// The others' answer, which says what it lacks.
    Partial,
    /// The same, if only some of them fail.
    Lacking,
    /// That there is no seal key.
    Unsealed,
    /// That no node can be reached.
    NotReady,
}

/// The status of an error of onezot's own.
fn status_of(fault: Fault) -> u16 {
    match fault {
        Fault::BlackHole | Fault::Hang | Fault::SlowHeaders | Fault::SlowBody => 504,
        _ => 502,
    }
}

/// Whether the node says something, be it wrong, to its end.
fn has_words(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Status(_)
            | Fault::BadJson
            | Fault::TruncatedJson
            | Fault::WrongType
            | Fault::Huge
            | Fault::ClosedBetween
    )
}

/// What may come of a request when these nodes of three fail. The whole of what the matrix expects.
fn expected(cell: &Cell, fault: Fault, failing: &[usize], may_lack: bool) -> Vec<Outcome> {
    use Outcome::{Broken, Failure, Lacking, NotReady, Partial, Same, Unsealed, Words};
    let failure = Failure(status_of(fault));
    let (all, first) = (failing.len() == 3, failing.contains(&0));
    let refuses = matches!(fault, Fault::Status(401 | 404));
    let is_junk = matches!(fault, Fault::BadJson | Fault::TruncatedJson | Fault::WrongType);
    let part = if may_lack && !all { Partial } else { failure };
    match &cell.way {
        // It may be known by now that no node can be reached.
        Way::None if all && fault == Fault::Refused && cell.target == "/readyz" => vec![Same, NotReady],
        Way::None => vec![Same],
        Way::Stream(node) => {
            let asked = if *node == Node::Owner { 1 } else { 0 };
            let goes_on = *node == Node::Any && !all;
            match fault {
                _ if !failing.contains(&asked) => vec![Same],
                Fault::ClosedBetween if cell.is_safe() => vec![Same],
                Fault::ClosedBetween => vec![Same, failure],
                _ if has_words(fault) => vec![Words],
                Fault::SlowBody | Fault::Reset if cell.method == "HEAD" => vec![Same],
                // It may be known by now that the first node is late.
                Fault::SlowBody | Fault::Reset if goes_on => vec![Broken, Same],
                Fault::SlowBody | Fault::Reset => vec![Broken],
                _ if goes_on && cell.is_safe() => vec![Same],
                // It is sent once; but perhaps not to a node that is known to fail.
                _ if goes_on => vec![failure, Same],
                _ => vec![failure],
            }
        }
        Way::One(act) => match fault {
            _ if !first => vec![Same],
            Fault::ClosedBetween if cell.is_safe() => vec![Same],
            Fault::ClosedBetween => vec![Same, failure],
            _ if refuses => vec![Words],
            _ if is_junk => vec![Words, Unsealed],
            _ if !all && (cell.is_safe() || *act == Act::ApiKeys) => vec![Same],
            // It is sent once; but perhaps not to a node that is known to fail.
            _ if !all => vec![failure, Same],
            _ => vec![failure],
        },
        Way::Everywhere => match fault {
            // It is sent once, to each over a connection of its own.
            Fault::ClosedBetween => vec![Same, Lacking, failure],
            _ if is_junk => vec![if first { Words } else { Same }],
            Fault::Status(_) if all => vec![Words],
            _ if all => vec![failure],
            _ => vec![Partial],
        },
        Way::Whole(_) => match fault {
            _ if !failing.contains(&1) => vec![Same],
            Fault::ClosedBetween => vec![Same],
            _ if refuses || is_junk => vec![Words],
            _ => vec![failure],
        },
        Way::Catalog => match fault {
            Fault::ClosedBetween => vec![Same],
            Fault::Status(401) if first => vec![Words],
            // Of one whose credentials are not known to be good, the first node's refusal is the answer.
            Fault::Status(404) if first => vec![Words, part],
            _ => vec![part],
        },
        Way::Broadcast => match fault {
            Fault::ClosedBetween => vec![Same, failure],
            _ if is_junk => vec![if first { Words } else { Same }],
            _ if refuses && first => vec![Words],
            _ => vec![failure],
        },
        Way::Parts { of, needs } => {
            let [has_part, is_needed] = [of, needs].map(|nodes| nodes.iter().any(|node| failing.contains(node)));
            match fault {
                Fault::ClosedBetween => vec![Same],
                // The first node says whether a document is valid.
                _ if refuses && first => vec![Words],
                _ if is_junk && first => vec![failure],
                _ if !has_part => vec![Same],
                // An owner's refusal is the answer to what only it can know.
                _ if is_needed && refuses => vec![Words, failure],
                _ if is_needed => vec![failure],
                _ => vec![part],
            }
        }
    }
}

/// The same where repositories are looked for: any node may be asked whether it has one.
fn expected_of_a_search(cell: &Cell, fault: Fault, failing: &[usize], may_lack: bool) -> Vec<Outcome> {
    let mut outcomes = expected(cell, fault, failing, may_lack);
    // What is asked of all nodes anyway names none, or needs its owner all the same.
    let is_list =
        matches!(&cell.way, Way::Catalog) || matches!(&cell.way, Way::Parts { needs, .. } if needs.is_empty());
    if cell.way != Way::None && !is_list {
        outcomes.extend([502, 504].map(Outcome::Failure));
        if has_words(fault) {
            outcomes.push(Outcome::Words);
        }
    }
    outcomes
}

/// Whether an answer is of this kind; else why not.
fn is(outcome: Outcome, cell: &Cell, fault: Fault, failing: &[usize], got: &Got, well: &Got) -> Result<(), String> {
    let is_head = cell.method == "HEAD";
    let must = |is_true: bool, what: &str| if is_true { Ok(()) } else { Err(what.to_owned()) };
    let names: Vec<String> = failing.iter().map(|node| format!("zot-{node}")).collect();
    match outcome {
        Outcome::Same => {
            must(got.status == well.status && got.is_whole, "another status")?;
            must(!(cell.is_safe() || cell.is_document()) || alike(got, well), "another body")?;
            must(got.header("warning").is_none(), "a warning")
        }
        Outcome::Failure(status) => {
            must(got.status == status && got.is_whole, "another status")?;
            if is_head {
                return Ok(());
            }
            must(got.header("content-type") == Some("application/json"), "no JSON")?;
            let (answer, error) = (got.json(), got.json()["errors"][0].clone());
            let message = error["message"].as_str().unwrap_or_default();
            must(names.iter().any(|name| message.contains(&format!("node {name} "))), "no node is named")?;
            if cell.target.starts_with("/v2/_zot/ext/search") && !matches!(cell.way, Way::Stream(_)) {
                must(
                    error["extensions"]["code"] == "UNAVAILABLE" && answer.get("data") == Some(&Value::Null),
                    "no GraphQL",
                )
            } else {
                must(error["code"] == "UNAVAILABLE" || error["extensions"]["code"] == "UNAVAILABLE", "no OCI error")
            }
        }
        Outcome::Words => {
            let (status, words) = match fault {
                Fault::Status(status) => (status, Some(WORDS)),
                Fault::BadJson => (200, Some(BAD_JSON)),
                Fault::WrongType => (200, Some(PAGE)),
                Fault::Huge => (200, None),
                _ => (well.status, None),
            };
            must(got.status == status, "another status")?;
            must(is_head || words.is_none_or(|words| got.body == words.as_bytes()), "other words")?;
            must(is_head || fault != Fault::Huge || got.body.len() >= ENOUGH, "not all of it")?;
            let is_half = fault == Fault::TruncatedJson && cell.is_safe();
            must(!is_half || well.body.starts_with(&got.body), "no beginning of the right answer")
        }
        Outcome::Broken => {
            must(got.status == well.status, "another status")?;
            must(!got.is_whole, "it looks whole")?;
            must(!cell.is_safe() || well.body.starts_with(&got.body), "no beginning of the right answer")
        }
        Outcome::Lacking => {
            must(got.status == 200 && got.is_whole, "another status")?;
            let told = got.header("x-onezot-partial").and_then(|told| told.split('"').nth(1)).unwrap_or_default();
            must(!told.is_empty() && told.split(',').all(|name| names.contains(&name.to_owned())), "other nodes")
        }
        Outcome::NotReady => must(got.status == 503 && got.header("retry-after").is_some(), "another status"),
        Outcome::Unsealed => must(got.status == 501 && got.is_whole, "another status"),
        Outcome::Partial => {
            must(got.status == 200 && got.is_whole, "another status")?;
            let expected = format!("{}/3; nodes=\"{}\"", names.len(), names.join(","));
            must(got.header("x-onezot-partial") == Some(&expected), "other nodes in the header")?;
            let warning = got.header("warning").unwrap_or_default();
            must(names.iter().all(|name| warning.contains(name)), "no warning")?;
            let failed = &got.json()["extensions"]["onezot"]["nodes"]["failed"];
            must(!cell.is_document() || *failed == serde_json::json!(names), "other nodes in the extensions")
        }
    }
}

/// Whether two bodies say the same: a zot lists some things in any order.
fn alike(a: &Got, b: &Got) -> bool {
    fn sorted(value: Value) -> Value {
        match value {
            Value::Array(items) => {
                let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
                items.sort_by_cached_key(Value::to_string);
                Value::Array(items)
            }
            Value::Object(members) => members.into_iter().map(|(key, value)| (key, sorted(value))).collect(),
            value => value,
        }
    }
    a.body == b.body || (a.json() != Value::Null && sorted(a.json()) == sorted(b.json()))
}

/// Some cells that one gateway is asked, all at once: none of them knows what became of another.
struct Bout<'a> {
    locate: &'static str,
    fault: Fault,
    failing: Vec<usize>,
    cells: &'a [Cell],
    well: &'a BTreeMap<String, Got>,
}

impl Bout<'_> {
    /// How many cells there were, and what was wrong.
    async fn fight(&self, nodes: &[SocketAddr], behind: &[Well]) -> (usize, Vec<String>) {
        let Bout { locate, fault, failing, .. } = self;
        let (mut addresses, mut faulty) = (nodes.to_vec(), Vec::new());
        for &node in failing {
            faulty.push(Faulty::new(*fault, &behind[node]).await);
            addresses[node] = faulty[faulty.len() - 1].address;
        }
        let deadlines = if status_of(*fault) == 504 { SHORT } else { LONG };
        let running = wire::gateway(&addresses, &format!("locate: {locate}\n{YAML}{deadlines}")).await;
        let to = running.addresses[0];
        let (mut count, mut wrong) = (0, Vec::new());
        // A connection must have been used before it can be closed in between.
        for round in 0..if *fault == Fault::ClosedBetween { 2 } else { 1 } {
            let asks = self.cells.iter().enumerate().flat_map(|(index, cell)| {
                let may_lack = matches!(cell.way, Way::Catalog | Way::Broadcast | Way::Parts { .. });
                let wishes = if may_lack { vec!["", ASKS_FOR_PARTS] } else { vec![""] };
                wishes.into_iter().map(move |wish| (format!("{round}.{index}.{}", wish.len()), cell, wish))
            });
            let asked = asks.map(|(id, cell, wish)| async move {
                let got = send(to, cell.bytes(&id, wish)).await;
                (id, cell, wish, got)
            });
            for (id, cell, wish, got) in futures::future::join_all(asked).await {
                count += 1;
                let at = format!("{} {fault:?} of {failing:?}, locate: {locate} {}", cell.row, wish.trim());
                if let Err(problem) = got.and_then(|got| self.check(cell, !wish.is_empty(), &got)) {
                    wrong.push(format!("{at}: {problem}"));
                }
                for node in faulty.iter().filter(|_| !cell.is_safe() && !cell.is_document()) {
                    let sent = node.got(&id).into_iter().filter(|line| line.starts_with(cell.method)).count();
                    if sent > 1 && !matches!(cell.way, Way::Stream(Node::Owner) if cell.is_document()) {
                        wrong.push(format!("{at}: a write was sent {sent} times"));
                    }
                }
            }
        }
        if *fault == Fault::ClosedBetween && faulty.iter().any(|node| node.closed.load(Ordering::SeqCst) == 0) {
            wrong.push(format!("{fault:?} of {failing:?}: no connection was used again"));
        }
        running.stop().await;
        (count, wrong)
    }

    fn check(&self, cell: &Cell, may_lack: bool, got: &Got) -> Result<(), String> {
        let well = &self.well[&cell.row];
        let expect = if self.locate == "search" { expected_of_a_search } else { expected };
        let outcomes = expect(cell, self.fault, &self.failing, may_lack);
        let mut why = Vec::new();
        for outcome in &outcomes {
            match is(*outcome, cell, self.fault, &self.failing, got, well) {
                Ok(()) => return Ok(()),
                Err(problem) => why.push(format!("{outcome:?}: {problem}")),
            }
        }
        let text = String::from_utf8_lossy(&got.body[..got.body.len().min(300)]).into_owned();
        Err(format!("{} {} whole: {} {} bytes {text:?}", why.join(", "), got.status, got.is_whole, got.body.len()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_row_answers_for_every_fault() {
    let set = Set::read("cve/");
    let content = set.content();
    let owner = |name: &str| Placement::default().owner(name, 3).node;
    let mut nodes = Vec::new();
    for index in 0..3 {
        nodes.push(set.node_that_holds(&content, index as u64, |name| owner(name) == index).await);
    }
    let behind: Vec<Well> = nodes.iter().map(|node| Well::new(node.address())).collect();
    let mut fronts = Vec::new();
    for well in &behind {
        fronts.push(Faulty::new(Fault::Nothing, well).await);
    }
    let addresses: Vec<SocketAddr> = fronts.iter().map(|front| front.address).collect();
    let schema: Value = serde_json::from_slice(&demo_replay::read("introspection.json")).unwrap();
    let cells = cells::all(&Named::of(&content, owner), &schema);

    // What comes when nothing fails.
    let mut well = BTreeMap::new();
    for locate in ["owner", "search"] {
        let running = wire::gateway(&addresses, &format!("locate: {locate}\n{YAML}{LONG}")).await;
        let (mut found, mut with_data) = (BTreeMap::new(), 0);
        for cell in &cells {
            let got = send(running.addresses[0], cell.bytes("", "")).await.unwrap();
            let is_answered = got.is_whole && got.status < 500;
            let is_document = cell.target.starts_with("/v2/_zot/ext/search");
            assert!(is_answered && (!is_document || got.json().get("data").is_some()), "{cell:?} {got:?}");
            with_data += usize::from(got.json()["data"].is_object());
            found.insert(cell.row.clone(), got);
        }
        assert_eq!(found.len(), cells.len(), "each row once");
        // The others name what the nodes do not have.
        assert!(with_data * 5 > QUERIES.len() * 2 * 4, "{with_data}");
        running.stop().await;
        well.insert(locate, found);
    }

    let only = std::env::var("ONEZOT_FAULT").unwrap_or_default();
    let mut bouts = Vec::new();
    for locate in ["owner", "search"] {
        for fault in FAULTS.into_iter().filter(|fault| format!("{fault:?}").contains(&only)) {
            for failing in [vec![0], vec![1], vec![0, 1, 2]] {
                bouts.push(Bout { locate, fault, failing, cells: &cells, well: &well[locate] });
            }
        }
    }
    let fought = futures::stream::iter(&bouts).map(|bout| bout.fight(&addresses, &behind)).buffer_unordered(6);
    let (counts, wrong): (Vec<usize>, Vec<Vec<String>>) = fought.unzip().await;
    let (count, wrong) = (counts.iter().sum::<usize>(), wrong.concat());
    let (rows, bouts) = (cells.len(), bouts.len());
    let line = format!("faults: {count} cells ({rows} requests × {bouts} ways to fail), {} wrong", wrong.len());
    // Not `println!`, which the test harness swallows when a test passes.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
    assert!(wrong.is_empty() && count > 1000, "{line}:\n{}", wrong[..wrong.len().min(60)].join("\n"));
}
