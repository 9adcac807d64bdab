//! Random documents to the gateway over 1, 2, 3 and 7 embedded nodes, and to one embedded node with everything: about the
//! recorded content, and about made content, another one for each seed.
//!
//! `ONEZOT_DOCUMENTS` says how many for each fleet (default 400), `ONEZOT_SEED` which ones. The first that differs is
//! shrunk and kept in `tests/cases`, whose files are asked again each time.

use super::FLEETS;
use super::demo_replay::Set;
use super::made;
use super::sides::{Case, Sides, number};
use super::writer::Writer;
use onezot::demo::Content;
use serde_json::Map;

const USERS: [&str; 10] = ["alice", "alice", "alice", "alice", "alice", "bob", "bob", "", "badpass", "baduser"];

/// How many images are made.
const IMAGES: usize = 60;

/// What documents are about.
#[derive(Clone, Copy, Debug)]
pub enum About {
    Recorded,
    Made,
}

impl About {
    fn content(self, set: &Set, seed: u64) -> Content {
        match self {
            About::Recorded => set.content(),
            About::Made => made::content(seed, IMAGES),
        }
    }

    /// The seed by which content is made.
    fn seed(self, seed: u64) -> Option<u64> {
        matches!(self, About::Made).then_some(seed)
    }
}

/// The number of documents that were answered otherwise, and some of them. The first is shrunk and kept as a file.
pub async fn compare(
    about: About,
    nodes: usize,
    seed: u64,
    count: u64,
    left_out: Option<usize>,
) -> (usize, Vec<String>) {
    let set = Set::read("");
    let content = about.content(&set, seed);
    let sides = Sides::with(&set, &content, nodes, left_out).await;
    let mut writer = Writer::new(seed, &content);
    let (mut compared, mut with_items, mut excepted, mut wrong) = (0, 0, 0, Vec::new());
    while compared < count {
        let (query, variables) = writer.request();
        let user = Some(writer.one(&USERS).to_owned()).filter(|user| !user.is_empty());
        let case = Case { user, query, variables, made: about.seed(seed) };
        compared += 1;
        let (mut found, has_items) = sides.differences(&case).await;
        with_items += usize::from(has_items);
        if !found.is_empty() && sides.lacks_digest(&case).await {
            excepted += 1;
            found.clear();
        }
        if !found.is_empty() {
            if wrong.is_empty() && left_out.is_none() {
                let small = serde_json::to_string(&sides.shrunk(&case).await).unwrap();
                let file = format!("tests/cases/seed-{seed}-{nodes}-{compared}.json");
                std::fs::write(&file, &small).unwrap();
                println!("kept as {file}: {small}");
            }
            wrong.push(format!("{}: {}", serde_json::to_string(&case).unwrap(), found.join("; ")));
        }
    }
    sides.running.stop().await;
    assert!(with_items > compared as usize / 6, "{with_items} of {compared} answers have lists with something in them");
    assert!(excepted <= 5 + compared as usize / 50, "{excepted} digests that cannot be found");
    let alike = compared as usize - wrong.len() - excepted;
    println!(
        "{nodes} nodes, seed {seed}, {about:?}: {alike} of {compared} documents alike, {with_items} with items, \
         {excepted} digests cannot be found"
    );
    (wrong.len(), wrong.into_iter().take(10).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn random_documents_are_answered_as_by_one_node() {
    for nodes in FLEETS {
        let seed = number("ONEZOT_SEED", 1) * 1000 + nodes as u64;
        let (count, wrong) = compare(About::Recorded, nodes, seed, number("ONEZOT_DOCUMENTS", 400), None).await;
        assert_eq!(count, 0, "{nodes} nodes: {wrong:#?}");
    }
}

/// A few documents about much that was made.
#[tokio::test(flavor = "multi_thread")]
async fn random_documents_about_made_content_are_answered_as_by_one_node() {
    for nodes in FLEETS {
        for part in 0..4 {
            let seed = (number("ONEZOT_SEED", 1) * 1000 + nodes as u64) * 100 + part;
            let count = number("ONEZOT_DOCUMENTS", 400).div_ceil(4);
            let (count, wrong) = compare(About::Made, nodes, seed, count, None).await;
            assert_eq!(count, 0, "{nodes} nodes: {wrong:#?}");
        }
    }
}

/// The comparison notices a fleet that lacks a part.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_content_is_noticed() {
    for about in [About::Recorded, About::Made] {
        let (count, _) = compare(about, 3, 1003, 200, Some(1)).await;
        assert!(count > 10, "{about:?}: {count}");
    }
}

/// What once differed.
#[tokio::test(flavor = "multi_thread")]
async fn kept_cases_are_answered_as_by_one_node() {
    let set = Set::read("");
    let recorded = Sides::start(&set, 3, None).await;
    let mut wrong = Vec::new();
    let files: Vec<_> = std::fs::read_dir("tests/cases")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let case: Case = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let mut found = Vec::new();
        match case.made {
            None => found.extend(recorded.differences(&case).await.0),
            Some(seed) => {
                for nodes in FLEETS {
                    let sides = Sides::with(&set, &made::content(seed, IMAGES), nodes, None).await;
                    found.extend(sides.differences(&case).await.0);
                    sides.running.stop().await;
                }
            }
        }
        if !found.is_empty() {
            wrong.push(format!("{}: {}", file.display(), found.join("; ")));
        }
    }
    recorded.running.stop().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A document that fails is shrunk to what makes it fail.
#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_shrunk() {
    let sides = Sides::start(&Set::read(""), 3, Some(0)).await;
    let query = "{RepoListWithNewestImage(requestedPage:{limit:9}){Page{TotalCount ItemCount} Results{Name Size}} \
                 q:ImageList(repo:\"solo\"){Results{Tag Size}}}";
    let case = Case { user: Some("alice".to_owned()), query: query.to_owned(), variables: Map::new(), made: None };
    let small = sides.shrunk(&case).await.query;
    sides.running.stop().await;
    assert!(small.len() < query.len() && !small.contains("ImageList(") && small.contains("RepoList"), "{small}");
}
