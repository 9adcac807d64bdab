//! What the pure core costs: classifying requests, planning documents, merging, paging. No I/O.
//!
//! `cargo bench --bench core` prints times, throughput, and how much memory each takes at the most beyond its input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

// The same content, documents and answers as those of the nodes of `bench/run`.
#[path = "../bench/src/content.rs"]
#[allow(dead_code, reason = "the nodes need more of it")]
mod content;
#[path = "../bench/src/document.rs"]
#[allow(dead_code, reason = "its tests run there")]
mod document;
#[path = "../bench/src/texts.rs"]
mod texts;

use content::Content;
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use document::Share;
use http::Method;
use onezot::config::{Config, Flags};
use onezot::fleet::Fleet;
use onezot::query::{Choices, DocumentPlan, FanOut, Request, Step};
use onezot::{items, merge, page, plan, query};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::HashMap;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const NODES: usize = 3;
const TAGS: usize = 10;

fn main() {
    divan::main();
}

fn fleet() -> Fleet {
    let nodes = (0..NODES).map(|node| format!("zot-{node}=http://127.0.0.1:{}", 5001 + node)).collect();
    Config::load(None, [], &Flags { nodes, ..Flags::default() }).unwrap().fleet()
}

#[divan::bench(args = [
    "/v2/team-a/app/manifests/1.0",
    "/v2/team-a/app/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "/v2/_catalog?n=100&last=team-a/app",
    "/v2/_zot/ext/search",
])]
fn classify(bencher: Bencher, target: &str) {
    let fleet = fleet();
    bencher.bench(|| plan::plan(&fleet, &Method::GET, black_box(target).as_bytes()));
}

fn names_of_texts() -> impl Iterator<Item = &'static str> {
    texts::of_the_web_page().into_iter().map(|(name, _)| name)
}

#[divan::bench(args = names_of_texts())]
fn plan_document(bencher: Bencher, name: &str) {
    let fleet = fleet();
    let (_, text) = texts::of_the_web_page().into_iter().find(|(known, _)| *known == name).unwrap();
    let request = Request { text, variables_text: "{}".to_owned(), ..Request::default() };
    bencher.bench(|| query::plan(&fleet, black_box(&request), Choices::default()));
}

/// What three nodes answer to the document that onezot sends for a page of all images.
struct Answers {
    fan_out: FanOut,
    bodies: Vec<String>,
}

impl Answers {
    fn to(text: String, images: usize) -> Answers {
        let request = Request { text, variables_text: "{}".to_owned(), ..Request::default() };
        let DocumentPlan::Fields { fields, .. } = query::plan(&fleet(), &request, Choices::default()) else {
            panic!("{} is no fan-out", request.text)
        };
        let Step::FanOut(fan_out) = fields.into_iter().next().unwrap().step else { panic!("{}", request.text) };
        let content = Content { repositories: NODES * images / TAGS, tags: TAGS, nodes: NODES };
        let asked = json!({"query": fan_out.upstream.text});
        let bodies = (0..NODES).map(|node| document::answer(&Share { content, node }, &asked).1).collect();
        Answers { fan_out: *fan_out, bodies }
    }

    fn bytes(&self) -> BytesCount {
        BytesCount::new(self.bodies.iter().map(String::len).sum::<usize>())
    }

    /// From the bytes of the nodes to the bytes of the field.
    fn merged(&self) -> items::Merged {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            data: HashMap<&'a str, &'a RawValue>,
        }
        let read = self.bodies.iter().enumerate().map(|(node, body)| {
            let body: Body = serde_json::from_str(black_box(body)).unwrap();
            (node, *body.data.values().next().unwrap())
        });
        items::merge(&self.fan_out, |_| 0, &read.collect::<Vec<_>>()).unwrap()
    }
}

/// Images of each of three nodes.
const SIZES: [usize; 2] = [1000, 10_000];

#[divan::bench(args = SIZES)]
fn merge_images_page_1(bencher: Bencher, images: usize) {
    let answers = Answers::to(texts::images(10, 0, "RELEVANCE"), images);
    bencher.counter(answers.bytes()).bench_local(|| answers.merged());
}

#[divan::bench(args = SIZES)]
fn merge_images_by_time_page_1(bencher: Bencher, images: usize) {
    let answers = Answers::to(texts::images(10, 0, "UPDATE_TIME"), images);
    bencher.counter(answers.bytes()).bench_local(|| answers.merged());
}

#[divan::bench(args = SIZES)]
fn merge_images_without_a_page(bencher: Bencher, images: usize) {
    let answers = Answers::to(texts::images(0, 0, "RELEVANCE"), images);
    bencher.counter(answers.bytes()).bench_local(|| answers.merged());
}

/// What merging is set beside: the answers copied, and decoded into values as the gateway of an afternoon does.
#[divan::bench(args = SIZES)]
fn compare_copying(bencher: Bencher, images: usize) {
    let answers = Answers::to(texts::images(0, 0, "RELEVANCE"), images);
    bencher.counter(answers.bytes()).bench_local(|| black_box(&answers.bodies).clone());
}

#[divan::bench(args = SIZES)]
fn compare_decoding_into_values(bencher: Bencher, images: usize) {
    let answers = Answers::to(texts::images(0, 0, "RELEVANCE"), images);
    bencher.counter(answers.bytes()).bench_local(|| {
        let decoded = black_box(&answers.bodies).iter().map(|body| serde_json::from_str(body).unwrap());
        decoded.collect::<Vec<serde_json::Value>>()
    });
}

#[divan::bench]
fn merge_catalogs_of_10_000(bencher: Bencher) {
    let content = Content { repositories: 30_000, tags: 1, nodes: NODES };
    let names = |node| content.of_node(node).map(|repository| content.name(repository)).collect::<Vec<_>>();
    bencher
        .counter(ItemsCount::new(30_000_usize))
        .with_inputs(|| [0, 1, 2].map(names))
        .bench_local_values(merge::catalogs);
}

#[divan::bench]
fn page_of_a_catalog_of_30_000(bencher: Bencher) {
    let content = Content { repositories: 30_000, tags: 1, nodes: 1 };
    let whole: Vec<String> = content.of_node(0).map(|repository| content.name(repository)).collect();
    let asked = page::CatalogPage { n: Some(100), last: whole[15_000].clone() };
    bencher.bench_local(|| asked.cut(black_box(&whole), false).entries.len());
}
