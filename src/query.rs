//! From a GraphQL document to steps: which node answers which root field, and what is sent there. Pure.

use crate::compose::{self, Composed, Recipe};
use crate::document::{Field, Operation, Root, Select, Unplannable, Upstream, aliased, selected};
use crate::fleet::Fleet;
use crate::page::ListPage;
use crate::plan::To;
use crate::rules::{self, Items, Names, Query, QueryClass, Sort};
use crate::scan::Bounds;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Keys that onezot adds to what nodes are asked begin so; no document of a client may use it.
pub const RESERVED: &str = "_oz_";
/// zot's bound on the length of a search, in bytes (zot `pkg/extensions/search/resolver.go`, `querySizeLimit`).
const SEARCH_BYTES: usize = 256;

/// A GraphQL request, decoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The document.
    pub text: String,
    /// The operation that is meant.
    pub operation: Option<String>,
    /// The variables.
    pub variables: Map<String, Value>,
    /// The same as the client wrote them: an object.
    pub variables_text: String,
    /// Whether the client sent a hash in the place of the document.
    pub is_by_hash: bool,
    /// Whether the client sent a form.
    pub is_form: bool,
}

/// What is done with a document.
#[derive(Debug)]
pub enum DocumentPlan {
    /// It goes as it came to one node, whose answer is the client's.
    Whole {
        /// The node.
        to: To,
        /// If the node's answer can only be an error: why onezot thinks so. Data would be one node's part.
        must_fail: Option<String>,
        /// The repositories that it names.
        repositories: BTreeSet<String>,
    },
    /// Its root fields are answered one by one, and the answers put together.
    Fields {
        /// The fields, in the order of the answer.
        fields: Vec<Planned>,
        /// If it has variables, what a node is asked to see whether they fit: it executes nothing.
        variables: Option<Upstream>,
    },
    /// It has queries that the table does not know. A node is asked whether the document is valid; if it is, the queries are
    /// those of a newer zot.
    Unknown {
        /// The queries.
        names: Vec<String>,
        /// What is done then; `None`: it is refused.
        then: Option<Box<DocumentPlan>>,
    },
    /// It is out of bounds, and no node is asked.
    Refuse(String),
}

/// What the configuration says of documents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices {
    /// Stars and bookmarks are the same on every node.
    pub shared_metadata: bool,
    /// A query that the table does not know is answered by one node.
    pub pass_unknown: bool,
    /// The bounds of a document.
    pub bounds: Bounds,
}

impl DocumentPlan {
    /// The repositories whose owners are asked, each once.
    pub fn repositories(&self) -> BTreeSet<String> {
        match self {
            DocumentPlan::Whole { repositories, .. } => repositories.clone(),
            DocumentPlan::Fields { fields, .. } => repositories(fields),
            DocumentPlan::Unknown { then: Some(plan), .. } => plan.repositories(),
            DocumentPlan::Unknown { then: None, .. } | DocumentPlan::Refuse(_) => BTreeSet::new(),
        }
    }

    /// A document that any node refuses in its own words.
    pub fn must_fail(why: String) -> DocumentPlan {
        DocumentPlan::Whole { to: To::Any, must_fail: Some(why), repositories: BTreeSet::new() }
    }
}

/// The repositories whose owners are asked for fields.
fn repositories(fields: &[Planned]) -> BTreeSet<String> {
    let asked = fields.iter().flat_map(|planned| match &planned.step {
        Step::Ask { to, .. } => vec![to],
        Step::FanOut(_) => Vec::new(),
        Step::Compose(recipe) => recipe.owners(),
    });
    asked.filter_map(|to| if let To::Owner { repository, .. } = to { Some(repository.clone()) } else { None }).collect()
}

/// A root field and what is done for it.
#[derive(Debug)]
pub struct Planned {
    /// The field, as the client wrote it.
    pub field: Field,
    /// The row of the table; `None` for introspection.
    pub row: Option<&'static Query>,
    /// What is done.
    pub step: Step,
}

/// What is done for a root field.
#[derive(Debug)]
pub enum Step {
    /// A node is asked for it.
    Ask {
        /// The node.
        to: To,
        /// The document.
        upstream: Upstream,
        /// If the node's answer can only be an error: why onezot thinks so. Data would be one node's part.
        must_fail: Option<String>,
    },
    /// Every node is asked, and the lists are merged.
    FanOut(Box<FanOut>),
    /// Several requests, whose answers are put together by rules of the query's own.
    Compose(Recipe),
}

/// A field that every node is asked for without paging.
#[derive(Debug)]
pub struct FanOut {
    /// What each is asked.
    pub upstream: Upstream,
    /// The members of the result, in the client's order.
    pub parts: Vec<Part>,
    /// What is selected of the result, with the hidden fields.
    pub members: Vec<Field>,
    /// The key of the list with the hidden fields.
    pub list: String,
    /// What it holds.
    pub items: Items,
    /// The page of the client.
    pub page: ListPage,
}

impl FanOut {
    /// The keys under which the client asked for the list.
    pub fn list_keys(&self) -> impl Iterator<Item = &String> {
        self.parts.iter().filter(|part| part.kind == PartKind::List).map(|part| &part.key)
    }
}

/// A member of a merged result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The key.
    pub key: String,
    /// What it is.
    pub kind: PartKind,
}

/// What a member of a merged result is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKind {
    /// The merged list. Under several aliases it is one list, in one order.
    List,
    /// The counts: keys, and which of them each is (`TotalCount`, `ItemCount`, `__typename`).
    Page(Vec<(String, String)>),
    /// The same from every node: the first one's is taken.
    Alike,
}

/// The form of a search (zot `pkg/extensions/search/resolver.go`, `getSearchTarget`).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Repositories by a part of their name.
    Repositories,
    /// Images of one repository.
    Image(String),
    /// Images by tag or digest.
    Images,
    /// None of these.
    Invalid,
}

/// Plans a document.
pub fn plan(fleet: &Fleet, request: &Request, choices: Choices) -> DocumentPlan {
    match plan_fields(fleet, request, choices) {
        Ok(plan) => plan,
        Err(problem) if problem.is_for_a_node() => DocumentPlan::must_fail(problem.to_string()),
        Err(problem) => DocumentPlan::Refuse(problem.to_string()),
    }
}

fn plan_fields(fleet: &Fleet, request: &Request, choices: Choices) -> Result<DocumentPlan, Unplannable> {
    if request.text.contains(RESERVED) {
        return Err(Unplannable::Reserved);
    }
    let operation =
        Operation::parse(&request.text, request.operation.as_deref(), request.variables.clone(), choices.bounds)?;
    let operation = Arc::new(operation);
    let mut planned = Vec::with_capacity(operation.fields.len());
    let mut unknown: Vec<String> = Vec::new();
    for field in &operation.fields {
        let row = rules::query(&field.name);
        if row.is_none() && !field.name.starts_with("__") && !unknown.contains(&field.name) {
            unknown.push(field.name.clone());
        }
        let step = match row {
            None => ask(&operation, field, To::Any, None),
            Some(row) => step(fleet, &operation, field, row, choices.shared_metadata)?.unwrap_or_else(|| {
                let why = format!("the arguments of {:?} are none that a zot accepts", field.name);
                ask(&operation, field, To::Any, Some(why))
            }),
        };
        planned.push(Planned { field: field.clone(), row, step });
    }
    let plan = whole_if_one(planned).unwrap_or_else(|fields| {
        let variables = operation.print_skipped();
        DocumentPlan::Fields { fields, variables }
    });
    if unknown.is_empty() {
        return Ok(plan);
    }
    Ok(DocumentPlan::Unknown { names: unknown, then: choices.pass_unknown.then(|| Box::new(plan)) })
}

/// A document whose fields all have one node goes there as the client's own bytes.
fn whole_if_one(fields: Vec<Planned>) -> Result<DocumentPlan, Vec<Planned>> {
    let (mut node, mut must_fail) = (None, None);
    for Planned { step, .. } in &fields {
        let Step::Ask { to, must_fail: why, .. } = step else { return Err(fields) };
        must_fail = must_fail.or(why.clone());
        match (&node, to) {
            (_, To::Any) => {}
            (Some(known), to) if !same_node(known, to) => return Err(fields),
            _ => node = Some(to.clone()),
        }
    }
    let repositories = repositories(&fields);
    Ok(DocumentPlan::Whole { to: node.unwrap_or(To::Any), must_fail, repositories })
}

/// Whether two requests go to the same node.
pub fn same_node(a: &To, b: &To) -> bool {
    match (a, b) {
        (To::Owner { owner: a, .. }, To::Owner { owner: b, .. }) => a.node == b.node,
        (a, b) => a == b,
    }
}

fn ask(operation: &Operation, field: &Field, to: To, must_fail: Option<String>) -> Step {
    Step::Ask { to, upstream: operation.print(std::slice::from_ref(field)), must_fail }
}

/// The step for a field; `None` if a zot refuses its arguments, so that a node should say so.
fn step(
    fleet: &Fleet,
    operation: &Arc<Operation>,
    field: &Field,
    row: &'static Query,
    shared_metadata: bool,
) -> Result<Option<Step>, Unplannable> {
    let owner = |repository: &str| To::Owner { repository: repository.to_owned(), owner: fleet.owner(repository) };
    let text = |name: &str| operation.argument(field, name).as_ref().and_then(coerced);
    let form = match row.names {
        Names::Search(name) => text(name).map(|query| form_of(&query)),
        _ => None,
    };
    let single = match row.names {
        Names::Nothing => None,
        Names::Repository(name) => match text(name) {
            Some(repository) if repository.is_empty() && row.merged.is_some() => None,
            Some(repository) => Some(owner(&repository)),
            None => return Ok(None),
        },
        Names::Image(name) => match text(name) {
            Some(image) => Some(owner(repository_of(&image))),
            None => return Ok(None),
        },
        Names::ImageInput(name) => match operation.argument(field, name) {
            Some(Value::Object(image)) => match image.get("Repo").and_then(coerced) {
                Some(repository) => Some(owner(&repository)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        },
        Names::Search(_) => match &form {
            Some(Form::Image(repository)) => Some(owner(repository)),
            Some(Form::Repositories | Form::Images) => None,
            Some(Form::Invalid) | None => return Ok(None),
        },
    };
    if let Some(to) = single {
        return Ok(Some(match compose::plan(fleet, operation, field, row, &to)? {
            Composed::OneNode => ask(operation, field, to, None),
            Composed::MustFail(why) => ask(operation, field, to, Some(why)),
            Composed::Recipe(recipe) => Step::Compose(recipe),
        }));
    }
    if row.class == QueryClass::MetaDependent && shared_metadata {
        return Ok(Some(ask(operation, field, To::Any, None)));
    }
    let Some(merged) = row.merged else { return Ok(Some(ask(operation, field, To::Any, None))) };
    // A search has two lists: repositories, and images.
    let (list, items) = merged.lists[usize::from(form == Some(Form::Images))];
    if !filter_is_short(operation.argument(field, "filter").as_ref()) {
        return Ok(None);
    }
    let argument = operation.argument(field, "requestedPage");
    let Ok(page) = ListPage::from_argument(argument.as_ref(), merged.order) else { return Ok(None) };
    fan_out(operation, field, list, items, page, &[]).map(|fan_out| Some(Step::FanOut(Box::new(fan_out))))
}

/// What every node is asked: the field without its page, with the hidden fields first in its list; `more` of them than
/// merging takes.
///
/// # Errors
///
/// As [`Operation::fields_of`].
pub fn fan_out(
    operation: &Operation,
    field: &Field,
    list: &str,
    items: Items,
    page: ListPage,
    more: &[Select],
) -> Result<FanOut, Unplannable> {
    let members = operation.fields_of(field)?;
    let mut parts = Vec::with_capacity(members.len());
    let mut upstream = Vec::with_capacity(members.len() + 1);
    let mut first_list = None;
    for mut member in members {
        let kind = match member.name.as_str() {
            name if name == list => {
                if first_list.is_none() {
                    first_list = Some(member.key.clone());
                    let hidden = hidden_fields(items, page.order, operation, &member, more);
                    member.selections.splice(0..0, hidden);
                }
                PartKind::List
            }
            "Page" => {
                let counts = operation.fields_of(&member)?;
                PartKind::Page(counts.into_iter().map(|count| (count.key, count.name)).collect())
            }
            _ => PartKind::Alike,
        };
        parts.push(Part { key: member.key.clone(), kind });
        upstream.push(member);
    }
    let list = first_list.unwrap_or_else(|| {
        // Nothing but counts: the items are counted all the same, each once.
        let key = format!("{RESERVED}list");
        let selections = hidden_fields(items, page.order, operation, field, more);
        upstream.push(Field { key: key.clone(), ..Field::new(list, selections) });
        key
    });
    let mut asked = field.clone();
    asked.arguments.retain(|(name, _)| name != "requestedPage");
    let root = Root { key: &asked.key, name: &asked.name, arguments: &asked.arguments, members: &upstream };
    Ok(FanOut { upstream: operation.print_roots(&[root]), parts, members: upstream, list, items, page })
}

/// The fields by which items are told apart, sorted, and found in the text of errors.
fn hidden_fields(items: Items, order: Sort, operation: &Operation, list: &Field, more: &[Select]) -> Vec<Select> {
    let mut names = match items {
        Items::Images => vec!["RepoName", "Tag"],
        Items::Repositories => vec!["Name"],
    };
    match (order, items) {
        (Sort::UpdateTime, _) => names.push("LastUpdated"),
        (Sort::Downloads, _) => names.push("DownloadCount"),
        (Sort::Relevance, Items::Repositories) => names.push("Rank"),
        _ => {}
    }
    let mut fields: Vec<Select> = names.into_iter().map(|name| hidden_field(name, Vec::new())).collect();
    fields.retain(|field| !more.contains(field));
    // Errors beside data speak of scans, and of manifests by their digest.
    if more.is_empty() && items == Items::Images && operation.mentions(list, "Vulnerabilities") {
        fields.push(hidden_field("Manifests", vec![selected("Digest", Vec::new())]));
    }
    fields.extend_from_slice(more);
    fields
}

/// A field that is asked for under a reserved key.
pub fn hidden_field(name: &str, selections: Vec<Select>) -> Select {
    aliased(&format!("{RESERVED}{name}"), name, selections)
}

/// A string argument as zot's server coerces it: numbers and booleans are taken as they are written.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The same, with `null` as nothing: it gets past validation as the value of a variable that has a default.
fn coerced(value: &Value) -> Option<String> {
    if value.is_null() { Some(String::new()) } else { text_of(value) }
}

/// The repository of `repo:tag`, `repo@digest`, or `repo`.
fn repository_of(image: &str) -> &str {
    image.split(['@', ':']).next().unwrap_or_default()
}

/// The form of a search, cleaned as zot cleans it: blanks and slashes off its ends, in lower case.
fn form_of(query: &str) -> Form {
    if query.len() > SEARCH_BYTES {
        return Form::Invalid;
    }
    let cleaned = query.trim().trim_matches('/').to_lowercase();
    if !cleaned.contains([':', '@']) {
        return Form::Repositories;
    }
    if cleaned.starts_with("sha256:") {
        return Form::Images;
    }
    match cleaned.split_once(':') {
        Some(("", "")) | None => Form::Invalid,
        Some(("", _)) => Form::Images,
        Some((repository, _)) => Form::Image(repository.to_owned()),
    }
}

/// Whether a text is not too long. In variables numbers are texts, too.
fn is_short(item: &Value) -> bool {
    !item.is_boolean() && text_of(item).is_some_and(|text| text.len() <= SEARCH_BYTES)
}

fn filter_is_short(filter: Option<&Value>) -> bool {
    let lists = ["Os", "Arch"].map(|name| filter.and_then(|filter| filter.get(name)));
    lists.into_iter().flatten().all(|list| match list {
        // A null in a list makes a zot panic.
        Value::Array(items) => items.iter().all(|item| !item.is_null() && is_short(item)),
        Value::Null => true,
        item => is_short(item),
    })
}

/// Why queries that only the nodes know are refused, and the way out.
pub fn unknown_refused(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "this gateway does not know how to merge {}: what one node answers would be its part only. A newer onezot may \
         know; `unknown_queries: any-node` lets one node answer alone",
        names.join(", ")
    )
}

/// A plan with all that its text needs.
pub struct Explained<'a> {
    /// The plan.
    pub plan: &'a DocumentPlan,
    /// The fleet that it was made for.
    pub fleet: &'a Fleet,
}

impl Explained<'_> {
    fn node(&self, to: &To) -> String {
        let names: Vec<&str> = self.fleet.nodes().iter().map(|node| node.name.as_str()).collect();
        match to {
            To::Owner { repository, owner } => {
                let name = names.get(owner.node).copied().unwrap_or_default();
                format!("{name}, owner of {repository:?}")
            }
            To::Any => format!("any, the first that can be reached of {}", names.join(", ")),
        }
    }
}

/// What `onezot explain` prints of a document.
pub fn explain_upstream(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    writeln!(f, "  sends: {}", upstream.text)?;
    if !upstream.variables.is_empty() {
        writeln!(f, "  with:  {}", Value::Object(upstream.variables.clone()))?;
    }
    Ok(())
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plan {
            DocumentPlan::Whole { to, must_fail, .. } => {
                writeln!(f, "whole: {}", self.node(to))?;
                writeln!(f, "  sends: the client's own bytes")?;
                if let Some(why) = must_fail {
                    writeln!(f, "  only an error is passed on: {why}")?;
                }
                Ok(())
            }
            DocumentPlan::Refuse(why) => writeln!(f, "refused: {why}"),
            DocumentPlan::Unknown { names, then } => {
                writeln!(f, "unknown: {}, if any node says that the document is valid", names.join(", "))?;
                match then {
                    None => writeln!(f, "refused: {}", unknown_refused(names)),
                    Some(plan) => write!(f, "{}", Explained { plan, fleet: self.fleet }),
                }
            }
            DocumentPlan::Fields { fields, variables } => {
                writeln!(f, "valid: any node is asked whether the document is, and executes nothing")?;
                if variables.is_some() {
                    writeln!(f, "       and whether the variables fit, with all fields skipped")?;
                }
                for Planned { field, row, step } in fields {
                    let unknown = if field.name.starts_with("__") { "introspection" } else { "unknown" };
                    let class = row.map_or(unknown.to_owned(), |row| row.class.to_string());
                    let alias = if field.key == field.name { String::new() } else { format!(" as {}", field.key) };
                    match step {
                        Step::Ask { to, upstream, must_fail } => {
                            writeln!(f, "field: {}{alias}: {class}, asks {}", field.name, self.node(to))?;
                            explain_upstream(f, upstream)?;
                            if let Some(why) = must_fail {
                                writeln!(f, "  only an error is passed on: {why}")?;
                            }
                        }
                        Step::FanOut(fan_out) => {
                            let names: Vec<&str> = self.fleet.nodes().iter().map(|node| node.name.as_str()).collect();
                            writeln!(f, "field: {}{alias}: {class}, asks {}", field.name, names.join(", "))?;
                            explain_upstream(f, &fan_out.upstream)?;
                            writeln!(f, "  page:  {}, cut here", fan_out.page)?;
                        }
                        Step::Compose(recipe) => {
                            writeln!(f, "field: {}{alias}: {class}", field.name)?;
                            write!(f, "{}", compose::Explained { recipe, fleet: self.fleet })?;
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_have_forms() {
        let image = |name: &str| Form::Image(name.to_owned());
        for (query, form) in [
            ("", Form::Repositories),
            ("lib", Form::Repositories),
            (" /Lib/ ", Form::Repositories),
            ("lib:1", image("lib")),
            (" Team-A/App:LATEST", image("team-a/app")),
            ("/lib:", image("lib")),
            ("a:b:c", image("a")),
            ("lib@sha256:ab", image("lib@sha256")),
            (":latest", Form::Images),
            ("sha256:ab", Form::Images),
            ("SHA256:", Form::Images),
            ("@x", Form::Invalid),
            (":", Form::Invalid),
            ("lib@x", Form::Invalid),
        ] {
            assert_eq!(form_of(query), form, "{query:?}");
        }
        assert_eq!(form_of(&"x".repeat(257)), Form::Invalid);
    }

    #[test]
    fn images_name_their_repository() {
        for image in ["team/app:1", "team/app@sha256:ab", "team/app:1@sha256:ab", "team/app"] {
            assert_eq!(repository_of(image), "team/app", "{image}");
        }
    }
}
