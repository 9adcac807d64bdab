//! What goes to every node: onezot beside the slowest node alone, beside one node with everything, and beside the gateway
//! of an afternoon.

use crate::growth::Point;
use crate::load::{self, Call, Connection};
use crate::node::Fleet;
use crate::peer::{self, Programs};
use crate::scale::Scale;
use crate::table::{Sample, Table};
use crate::texts;
use anyhow::{Result, ensure};
use http::Method;

/// Images of each repository.
const TAGS: usize = 10;
/// Items of a page, as zot's web page asks for.
const PAGE: usize = 10;

const SLOWEST: &str = "slowest node, its whole list";
const SLOWEST_PAGE: &str = "slowest node, its page";
const ONE: &str = "one node with everything";
const ONEZOT: &str = "onezot";
const NAIVE: &str = "naive gateway";

/// A question, and the fleet that it is put to.
struct Case {
    title: String,
    fleet: Fleet,
    /// What is asked.
    asked: Call,
    /// What that comes to without a page.
    whole: Call,
    /// Items on all nodes together.
    items: usize,
    /// Where the page begins.
    offset: usize,
}

impl Case {
    fn new(title: String, fleet: &Fleet, items: usize, asked: Call, whole: Call) -> Case {
        Case { title, fleet: fleet.clone(), asked, whole, items, offset: 0 }
    }

    fn images(title: String, fleet: &Fleet, offset: usize) -> Case {
        let asked = Call::document(&texts::images(PAGE, offset, "RELEVANCE"));
        let whole = Call::document(&texts::images(0, 0, "RELEVANCE"));
        Case { offset, ..Case::new(title, fleet, fleet.repositories * fleet.tags, asked, whole) }
    }

    fn repositories(title: String, fleet: &Fleet, offset: usize) -> Case {
        let asked = Call::document(&texts::repositories(PAGE, offset, "RELEVANCE"));
        let whole = Call::document(&texts::repositories(0, 0, "RELEVANCE"));
        Case { offset, ..Case::new(title, fleet, fleet.repositories, asked, whole) }
    }
}

/// What was measured, and the points that growth is drawn from.
pub struct Measured {
    /// A table for each case.
    pub tables: Vec<Table>,
    /// Of onezot and of the naive gateway.
    pub points: Vec<Point>,
}

fn cases(scale: &Scale) -> Vec<Case> {
    let fleet = |nodes: usize, images: usize| Fleet {
        nodes,
        repositories: images / TAGS,
        tags: TAGS,
        blob: 0,
        delay: scale.delay,
        slow: None,
    };
    let mut cases = Vec::new();
    let names = scale.catalog;
    let catalog = Fleet { repositories: 3 * names, tags: 1, ..fleet(3, 0) };
    let bare = |target: &str| Call::bare(Method::GET, target);
    cases.push(Case::new(
        format!("Catalog, page of 100, 3 × {names} repositories"),
        &catalog,
        3 * names,
        bare("/v2/_catalog?n=100"),
        bare("/v2/_catalog"),
    ));
    cases.push(Case::new(
        format!("Catalog, whole, 3 × {names} repositories"),
        &catalog,
        3 * names,
        bare("/v2/_catalog"),
        bare("/v2/_catalog"),
    ));
    let images = scale.images.get(1).or(scale.images.first()).copied().unwrap_or(1000);
    let middle = fleet(3, 3 * images);
    for (page, offset) in [(1, 0), (100, 99 * PAGE)] {
        let title = format!("GlobalSearch, page {page}, 3 × {} repositories of {TAGS} images", images / TAGS);
        cases.push(Case::repositories(title, &middle, offset));
    }
    for &images in scale.images {
        let title = format!("ImageList(\"\"), page 1, 3 × {images} images");
        cases.push(Case::images(title, &fleet(3, 3 * images), 0));
    }
    for &offset in scale.depths.iter().filter(|offset| **offset > 0) {
        let title = format!("ImageList(\"\"), {PAGE} images from {offset} on, 3 × {images} images");
        cases.push(Case::images(title, &middle, offset));
    }
    let long = Fleet { delay: scale.long_delay, ..middle.clone() };
    let title =
        format!("ImageList(\"\"), page 1, 3 × {images} images, nodes as slow as a zot ({} ms)", scale.long_delay);
    cases.push(Case::images(title, &long, 0));
    let whole = Case::images(format!("ImageList(\"\") without a page, 3 × {images} images"), &middle, 0);
    cases.push(Case { asked: whole.whole.clone(), ..whole });
    for &nodes in scale.nodes {
        let title = format!("ImageList(\"\"), page 1, {} images on {nodes} nodes", scale.shared);
        cases.push(Case::images(title, &fleet(nodes, scale.shared), 0));
    }
    let slow = Fleet { slow: Some(3 * scale.delay), ..middle };
    let title = format!("ImageList(\"\"), page 1, 3 × {images} images, one node three times as slow");
    cases.push(Case::images(title, &slow, 0));
    cases
}

/// Everything that goes to every node.
pub async fn measure(programs: &Programs, scale: &Scale) -> Result<Measured> {
    let mut measured = Measured { tables: Vec::new(), points: Vec::new() };
    for case in cases(scale) {
        eprintln!("  {}", case.title);
        measure_case(programs, scale, case, &mut measured).await?;
    }
    Ok(measured)
}

async fn measure_case(programs: &Programs, scale: &Scale, case: Case, measured: &mut Measured) -> Result<()> {
    let Case { title, fleet, asked, whole, items, offset } = case;
    let nodes = peer::nodes(&fleet).await?;
    let one = peer::nodes(&Fleet { nodes: 1, slow: None, ..fleet.clone() }).await?;
    let onezot = peer::onezot(&programs.onezot, &nodes.addresses).await?;
    let naive = peer::naive(&nodes.addresses).await?;
    let slowest = *nodes.addresses.last().unwrap_or(&nodes.address());
    let subjects = [
        (SLOWEST, slowest, &whole, None),
        (SLOWEST_PAGE, slowest, &asked, None),
        (ONE, one.address(), &asked, None),
        (ONEZOT, onezot.address(), &asked, Some(&onezot)),
        (NAIVE, naive.address(), &asked, Some(&naive)),
    ];
    // The first time a node makes an answer. What is measured is right: it is what one node with everything says.
    let mut answers = Vec::new();
    for (_, address, call, _) in &subjects {
        answers.push(Connection::open(*address).await?.fetch(call).await?);
    }
    ensure!(answers[2] == answers[3], "{title}: onezot answers other than one node does");

    let names = subjects.map(|(name, ..)| name.to_owned());
    let columns = ["p50 ms", "beyond ms", "beyond µs/item", "CPU ms/request", "peak memory MiB", "answer kB"];
    let about = "*beyond* is the time beyond the slowest node alone, asked for its whole list, in the same round.";
    let mut table = Table::new(&title, about, &columns, &names)
        .comparing(ONEZOT, &[SLOWEST, ONE, NAIVE].map(str::to_owned), &["p50 ms"])
        .comparing(ONEZOT, &[NAIVE.to_owned()], &["CPU ms/request", "peak memory MiB"]);
    table
        .fill(scale.rounds, async |index| {
            let (_, address, call, peer) = &subjects[index];
            let processes = peer.map(|peer| peer.processes()).transpose()?;
            let before = processes.as_ref().map(|processes| processes.cpu()).transpose()?;
            let load = load::run(*address, call, 1, scale.asks).await?;
            let mut sample =
                Sample::from([("p50 ms", load.p50.as_secs_f64() * 1e3), ("answer kB", load.bytes as f64 / 1e3)]);
            if let (Some(processes), Some(before)) = (processes, before) {
                let cpu = processes.cpu()?.saturating_sub(before).as_secs_f64();
                sample.insert("CPU ms/request", cpu * 1e3 / load.requests as f64);
                sample.insert("peak memory MiB", processes.peak_memory()?);
            }
            Ok(sample)
        })
        .await?;
    table.add_beyond(SLOWEST, "p50 ms", "beyond ms");
    for subject in &mut table.subjects {
        for sample in &mut subject.samples {
            if let Some(beyond) = sample.get("beyond ms").filter(|_| [ONEZOT, NAIVE].contains(&&*subject.name)) {
                let per_item = beyond * 1e3 / items as f64;
                sample.insert("beyond µs/item", per_item);
            } else {
                sample.remove("beyond ms");
            }
        }
    }
    if title.starts_with("ImageList") && fleet.slow.is_none() && fleet.delay == scale.delay {
        for name in [ONEZOT, NAIVE] {
            let Some(subject) = table.subject(name) else { continue };
            if let (Some(beyond), Some(cpu)) = (subject.spread("beyond ms"), subject.spread("CPU ms/request")) {
                let is_whole = asked.body == whole.body;
                let (gateway, nodes) = (name, fleet.nodes);
                measured.points.push(Point { gateway, nodes, items, offset, is_whole, beyond, cpu });
            }
        }
    }
    measured.tables.push(table);
    Ok(())
}
