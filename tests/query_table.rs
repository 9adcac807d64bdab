//! The query table against zot's schema, as its introspection was recorded: nothing is missing, nothing is made up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onezot::rules::{Items, LIST_ORDERS, Names, QUERIES, Sort};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn types() -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string("tests/golden/introspection.json").unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let schema = recorded.get("data").unwrap_or(&recorded)["__schema"].clone();
    let types = schema["types"].as_array().unwrap().iter();
    types.map(|found| (found["name"].as_str().unwrap().to_owned(), found.clone())).collect()
}

fn named(list: &Value) -> BTreeMap<&str, &Value> {
    list.as_array().into_iter().flatten().map(|item| (item["name"].as_str().unwrap(), item)).collect()
}

/// A type as the schema language writes it.
fn written(found: &Value) -> String {
    match found["kind"].as_str().unwrap() {
        "NON_NULL" => format!("{}!", written(&found["ofType"])),
        "LIST" => format!("[{}]", written(&found["ofType"])),
        _ => found["name"].as_str().unwrap().to_owned(),
    }
}

#[test]
fn every_query_is_a_row_and_every_row_a_query() {
    let types = types();
    let fields = named(&types["Query"]["fields"]);
    let rows: BTreeSet<&str> = QUERIES.iter().map(|row| row.name).collect();
    let recorded: BTreeSet<&str> = fields.keys().copied().collect();
    assert_eq!(rows.len(), QUERIES.len(), "a row twice");
    assert_eq!(recorded.difference(&rows).collect::<Vec<_>>(), Vec::<&&str>::new(), "queries without a row");
    assert_eq!(rows.difference(&recorded).collect::<Vec<_>>(), Vec::<&&str>::new(), "rows without a query");
}

#[test]
fn rows_name_arguments_that_there_are() {
    let types = types();
    let fields = named(&types["Query"]["fields"]);
    for row in QUERIES {
        let arguments = named(&fields[row.name]["args"]);
        // Arguments that name a repository: a row that overlooks one would ask the wrong node.
        let naming: Vec<&str> =
            arguments.keys().copied().filter(|name| matches!(*name, "repo" | "image" | "minuend" | "query")).collect();
        assert_eq!(row.names.argument().into_iter().collect::<Vec<_>>(), naming, "{}", row.name);
        let kind = row.names.argument().map(|name| written(&arguments[name]["type"]));
        let expected = match row.names {
            Names::Nothing => None,
            Names::ImageInput(_) => Some("ImageInput!".to_owned()),
            _ => Some("String!".to_owned()),
        };
        assert_eq!(kind, expected, "{}", row.name);
        assert_eq!(arguments.contains_key("requestedPage"), row.paged, "{}", row.name);
        let Some(merged) = row.merged else { continue };
        let result = written(&fields[row.name]["type"]);
        let members = named(&types[result.trim_end_matches('!')]["fields"]);
        assert!(members.contains_key("Page"), "{}", row.name);
        for (list, items) in merged.lists {
            let item = match items {
                Items::Images => "ImageSummary",
                Items::Repositories => "RepoSummary",
            };
            let holds = written(&members[list]["type"]);
            assert_eq!(holds.trim_matches(['[', ']', '!']), item, "{}.{list}", row.name);
        }
        assert!(LIST_ORDERS.contains(&merged.order), "{}", row.name);
    }
}

#[test]
fn orders_are_those_of_the_schema() {
    let types = types();
    let recorded: BTreeSet<String> =
        named(&types["SortCriteria"]["enumValues"]).keys().map(|name| (*name).to_owned()).collect();
    let known: BTreeSet<String> = Sort::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known, recorded);
    let page: Vec<String> = named(&types["PageInput"]["inputFields"]).keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(page, ["limit", "offset", "sortBy"]);
}

/// The hidden fields that are added to lists have to be there.
#[test]
fn sort_keys_are_fields_of_the_items() {
    let types = types();
    let images = named(&types["ImageSummary"]["fields"]);
    for name in ["RepoName", "Tag", "LastUpdated", "DownloadCount", "Manifests"] {
        assert!(images.contains_key(name), "{name}");
    }
    let repositories = named(&types["RepoSummary"]["fields"]);
    for name in ["Name", "LastUpdated", "DownloadCount", "Rank"] {
        assert!(repositories.contains_key(name), "{name}");
    }
}
