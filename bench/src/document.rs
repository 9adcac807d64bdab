//! What a node answers to a document: exactly the selections, aliases and page that were asked for.
//!
//! A node of the benchmarks makes each answer once and then serves it from memory, so this has to be right rather than
//! fast. It knows the lists that onezot merges, and gqlgen's answer to an operation that a document does not have, with
//! which onezot has documents validated.

use crate::content::Content;
use graphql_parser::query::{
    Definition, Directive, Document, Field, OperationDefinition, Selection, SelectionSet, Value as Written,
};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;

/// What one node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The content of the fleet.
    pub content: Content,
    /// Which node this is.
    pub node: usize,
}

/// The fields that a selection comes to: key, name, and what is selected below.
struct Shape(Vec<(String, String, Shape)>);

/// A root field: its shape and its arguments.
struct Root {
    key: String,
    name: String,
    arguments: Map<String, Value>,
    below: Shape,
}

/// What is selected of a document, with what conditions and values depend on.
struct Reading<'a> {
    fragments: HashMap<String, SelectionSet<'a, String>>,
    variables: Map<String, Value>,
}

/// The answer to a request: its status and its body.
pub fn answer(share: &Share, request: &Value) -> (u16, String) {
    let text = request["query"].as_str().unwrap_or_default();
    let document = match graphql_parser::parse_query::<String>(text) {
        Ok(document) => document,
        Err(error) => return refused(&error.to_string()),
    };
    let name = request["operationName"].as_str().filter(|name| !name.is_empty());
    let Some(operation) = operation(&document, name) else {
        return refused(&format!("operation {} not found", name.unwrap_or_default()));
    };
    let fragments = document.definitions.iter().filter_map(|definition| match definition {
        Definition::Fragment(fragment) => Some((fragment.name.clone(), fragment.selection_set.clone())),
        Definition::Operation(_) => None,
    });
    let variables = request["variables"].as_object().cloned().unwrap_or_default();
    let mut reading = Reading { fragments: fragments.collect(), variables };
    let selections = match operation {
        OperationDefinition::Query(query) => {
            for definition in &query.variable_definitions {
                if let Some(default) = &definition.default_value {
                    let default = reading.value(default);
                    reading.variables.entry(definition.name.clone()).or_insert(default);
                }
            }
            &query.selection_set
        }
        OperationDefinition::SelectionSet(set) => set,
        _ => return refused("only queries are answered"),
    };
    let mut data = String::from("{");
    for (index, root) in reading.roots(selections).iter().enumerate() {
        let _ = write!(data, "{}{}:", if index > 0 { "," } else { "" }, json!(root.key));
        match share.value(root) {
            Some(value) => data.push_str(&value),
            None => return refused(&format!("this node has no answer to {}", root.name)),
        }
    }
    (200, format!("{{\"data\":{data}}}}}"))
}

fn refused(message: &str) -> (u16, String) {
    let error = json!({"message": message, "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}});
    (422, json!({"errors": [error], "data": null}).to_string())
}

fn operation<'a, 'b>(
    document: &'b Document<'a, String>,
    wanted: Option<&str>,
) -> Option<&'b OperationDefinition<'a, String>> {
    let mut operations = document.definitions.iter().filter_map(|definition| match definition {
        Definition::Operation(operation) => Some(operation),
        Definition::Fragment(_) => None,
    });
    match wanted {
        None => operations.next(),
        Some(_) => operations.find(
            |operation| matches!(operation, OperationDefinition::Query(query) if query.name.as_deref() == wanted),
        ),
    }
}

impl<'a> Reading<'a> {
    fn roots(&self, set: &SelectionSet<'a, String>) -> Vec<Root> {
        let merged = self.merged(&[set]);
        merged
            .into_iter()
            .map(|(key, field, below)| Root {
                key,
                name: field.name.clone(),
                arguments: field.arguments.iter().map(|(name, value)| (name.clone(), self.value(value))).collect(),
                below: self.shape(&below),
            })
            .collect()
    }

    fn shape(&self, sets: &[&SelectionSet<'a, String>]) -> Shape {
        let merged = self.merged(sets);
        Shape(merged.into_iter().map(|(key, field, below)| (key, field.name.clone(), self.shape(&below))).collect())
    }

    /// One field for each key, with all that is selected below it.
    #[allow(clippy::type_complexity)]
    fn merged<'b>(
        &'b self,
        sets: &[&'b SelectionSet<'a, String>],
    ) -> Vec<(String, &'b Field<'a, String>, Vec<&'b SelectionSet<'a, String>>)> {
        let mut fields: Vec<(String, &Field<String>, Vec<&SelectionSet<String>>)> = Vec::new();
        let mut open: Vec<_> = sets.iter().rev().flat_map(|set| set.items.iter().rev()).collect();
        while let Some(selection) = open.pop() {
            match selection {
                Selection::Field(field) if self.is_included(&field.directives) => {
                    let key = field.alias.as_ref().unwrap_or(&field.name);
                    match fields.iter_mut().find(|(known, ..)| known == key) {
                        Some((_, _, below)) => below.push(&field.selection_set),
                        None => fields.push((key.clone(), field, vec![&field.selection_set])),
                    }
                }
                Selection::InlineFragment(fragment) if self.is_included(&fragment.directives) => {
                    open.extend(fragment.selection_set.items.iter().rev());
                }
                Selection::FragmentSpread(spread) if self.is_included(&spread.directives) => {
                    let fragment = self.fragments.get(&spread.fragment_name);
                    open.extend(fragment.into_iter().flat_map(|set| set.items.iter().rev()));
                }
                _ => {}
            }
        }
        fields
    }

    fn is_included(&self, directives: &[Directive<'a, String>]) -> bool {
        directives.iter().all(|directive| {
            let condition = directive.arguments.iter().find(|(name, _)| name == "if");
            let holds = condition.is_some_and(|(_, value)| self.value(value) == Value::Bool(true));
            if directive.name == "skip" { !holds } else { holds }
        })
    }

    fn value(&self, written: &Written<'a, String>) -> Value {
        match written {
            Written::Variable(name) => self.variables.get(name).cloned().unwrap_or_default(),
            Written::Int(number) => json!(number.as_i64()),
            Written::Float(number) => json!(number),
            Written::String(text) | Written::Enum(text) => json!(text),
            Written::Boolean(value) => json!(value),
            Written::Null => Value::Null,
            Written::List(items) => items.iter().map(|item| self.value(item)).collect(),
            Written::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), self.value(value))).collect())
            }
        }
    }
}

/// A list of a result, as the indexes of its items.
enum List {
    Images(Vec<usize>),
    Repositories(Vec<usize>),
}

impl Share {
    /// The value of a root field; `None` if this node does not know the field.
    fn value(&self, root: &Root) -> Option<String> {
        let text = |name: &str| root.arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, mut list) = match root.name.as_str() {
            "__typename" => return Some("\"Query\"".to_owned()),
            "ImageList" => ("Results", List::Images(self.images(text("repo"), ""))),
            "ImageListForDigest" | "ImageListForCVE" => ("Results", List::Images(self.images("", ""))),
            "RepoListWithNewestImage" => ("Results", List::Repositories(self.repositories(""))),
            "GlobalSearch" => match text("query").trim().split_once(':') {
                Some((repository, tag)) => ("Images", List::Images(self.images(repository, tag))),
                None => ("Repos", List::Repositories(self.repositories(text("query").trim()))),
            },
            _ => return None,
        };
        let page = root.arguments.get("requestedPage").unwrap_or(&Value::Null);
        let default = if root.name == "RepoListWithNewestImage" { "UPDATE_TIME" } else { "RELEVANCE" };
        list.sort(&self.content, page["sortBy"].as_str().unwrap_or(default));
        let total = list.len();
        let (limit, offset) = (number(&page["limit"]), number(&page["offset"]));
        let shown = match (limit, offset) {
            (0, 0) => 0..total,
            _ => offset.min(total)..offset.saturating_add(limit).min(total),
        };
        let mut out = String::from("{");
        for (index, (key, field, below)) in root.below.0.iter().enumerate() {
            let _ = write!(out, "{}{}:", if index > 0 { "," } else { "" }, json!(key));
            match field.as_str() {
                "Page" => below.write(&json!({"TotalCount": total, "ItemCount": shown.len()}), &mut out),
                field if field == name => list.write(&self.content, shown.clone(), below, &mut out),
                "Repos" => out.push_str("null"),
                _ => out.push_str("[]"),
            }
        }
        out.push('}');
        Some(out)
    }

    fn repositories(&self, part: &str) -> Vec<usize> {
        let all = self.content.of_node(self.node);
        all.filter(|repository| part.is_empty() || self.content.name(*repository).contains(part)).collect()
    }

    /// Images of a repository, or of all, whose tag has a part.
    fn images(&self, repository: &str, part: &str) -> Vec<usize> {
        let all = self.content.of_node(self.node);
        let of = all.filter(|index| repository.is_empty() || self.content.name(*index) == repository);
        let images = of.flat_map(|repository| self.content.images_of(repository));
        images.filter(|image| part.is_empty() || self.content.tag(*image).contains(part)).collect()
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

impl List {
    fn len(&self) -> usize {
        match self {
            List::Images(items) | List::Repositories(items) => items.len(),
        }
    }

    /// Puts items that are in the order of their names into another one; ties stay in that order.
    fn sort(&mut self, content: &Content, order: &str) {
        match (self, order) {
            (List::Images(items) | List::Repositories(items), "ALPHABETIC_DSC") => items.reverse(),
            (List::Images(items), "UPDATE_TIME") => items.sort_by_cached_key(|item| Reverse(content.made(*item))),
            (List::Images(items), "DOWNLOADS") => items.sort_by_cached_key(|item| Reverse(content.downloads(*item))),
            (List::Repositories(items), "UPDATE_TIME") => {
                items.sort_by_cached_key(|item| Reverse(content.updated(*item)));
            }
            (List::Repositories(items), "DOWNLOADS") => {
                items.sort_by_cached_key(|item| Reverse(content.repository_downloads(*item)));
            }
            (List::Repositories(items), "RELEVANCE") => items.sort_by_cached_key(|item| content.rank(*item)),
            _ => {}
        }
    }

    fn write(&self, content: &Content, shown: std::ops::Range<usize>, shape: &Shape, out: &mut String) {
        let separator = |index: usize| if index > 0 { "," } else { "" };
        out.push('[');
        match self {
            List::Images(items) => items[shown].iter().enumerate().for_each(|(index, item)| {
                out.push_str(separator(index));
                shape.write(&content.image(*item), out);
            }),
            List::Repositories(items) => items[shown].iter().enumerate().for_each(|(index, item)| {
                out.push_str(separator(index));
                shape.write(&content.repository(*item), out);
            }),
        }
        out.push(']');
    }
}

impl Shape {
    /// Writes what is selected of a value, as Go writes JSON.
    fn write(&self, value: &Value, out: &mut String) {
        match value {
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    self.write(item, out);
                }
                out.push(']');
            }
            Value::Object(members) if !self.0.is_empty() => {
                out.push('{');
                for (index, (key, name, below)) in self.0.iter().enumerate() {
                    let _ = write!(out, "{}{}:", if index > 0 { "," } else { "" }, json!(key));
                    below.write(members.get(name).unwrap_or(&Value::Null), out);
                }
                out.push('}');
            }
            Value::String(text) => {
                let text = json!(text).to_string();
                out.push_str(&text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e"));
            }
            value => drop(write!(out, "{value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content { repositories: 20, tags: 5, nodes: 3 };

    fn asked(node: usize, query: &str) -> Value {
        let (status, body) = answer(&Share { content: CONTENT, node }, &json!({"query": query}));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].clone()
    }

    #[test]
    fn the_answer_has_what_was_asked_for_and_nothing_else() {
        let data = asked(
            1,
            r#"{a:ImageList(repo:"",requestedPage:{limit:2,offset:1}){Page{TotalCount n:ItemCount}
                Results{_oz_RepoName:RepoName ...F Manifests{Platform{Os}} Nope}}} fragment F on ImageSummary{Tag t:Tag}"#,
        );
        assert_eq!(
            data.to_string(),
            r#"{"a":{"Page":{"TotalCount":35,"n":2},"Results":[{"_oz_RepoName":"team-0000/app-0000001","Tag":"1.001.0","t":"1.001.0","Manifests":[{"Platform":{"Os":"linux"}}],"Nope":null},{"_oz_RepoName":"team-0000/app-0000001","Tag":"1.002.0","t":"1.002.0","Manifests":[{"Platform":{"Os":"linux"}}],"Nope":null}]}}"#
        );
    }

    #[test]
    fn shares_add_up_and_are_in_the_order_that_was_asked_for() {
        let query = "{GlobalSearch(query:\"\",requestedPage:{sortBy:UPDATE_TIME}){Page{TotalCount} Repos{Name LastUpdated} Images{Tag}}}";
        let mut names = Vec::new();
        for node in 0..3 {
            let found = asked(node, query)["GlobalSearch"].clone();
            let repositories = found["Repos"].as_array().unwrap().clone();
            assert_eq!(found["Page"]["TotalCount"], repositories.len());
            assert_eq!(found["Images"], json!([]));
            let times: Vec<_> = repositories.iter().map(|item| item["LastUpdated"].as_str().unwrap()).collect();
            assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
            names.extend(repositories.iter().map(|item| item["Name"].to_string()));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 20);
        let tagged = asked(0, r#"{GlobalSearch(query:":1.003"){Images{Tag} Repos{Name}}}"#);
        assert_eq!(tagged["GlobalSearch"]["Images"].as_array().unwrap().len(), 7);
        assert_eq!(tagged["GlobalSearch"]["Repos"], Value::Null);
    }

    #[test]
    fn an_operation_that_is_not_there_is_told_as_gqlgen_tells_it() {
        let share = Share { content: CONTENT, node: 0 };
        let request = json!({"query": "{ImageList(repo:\"\"){Results{Tag}}}", "operationName": "_oz_validate"});
        let (status, body) = answer(&share, &request);
        assert_eq!(status, 422);
        assert_eq!(
            body,
            r#"{"errors":[{"message":"operation _oz_validate not found","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}],"data":null}"#
        );
        let skipped = json!({
            "query": "query($l:Int){...@skip(if:true){ImageList(repo:\"\",requestedPage:{limit:$l}){Results{Tag}}} _oz_typename:__typename}",
            "variables": {"l": 1},
        });
        assert_eq!(answer(&share, &skipped), (200, r#"{"data":{"_oz_typename":"Query"}}"#.to_owned()));
    }
}
