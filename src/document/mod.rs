//! GraphQL documents: parsed, flattened to root fields, and printed again for the nodes. Pure.
//!
//! Only what onezot has to understand is taken apart: the root fields, and the fields of a result that is merged. Below
//! that, selections go to the nodes as the client wrote them.

mod print;

pub use print::{Root, Spread, Upstream};

use crate::scan::{self, Bounds, Location, OutOfBounds, Positions};
use graphql_parser::query::{
    self, Definition, Directive, FragmentDefinition, OperationDefinition, Selection, SelectionSet, VariableDefinition,
};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

/// A value in a document.
pub type Value = query::Value<'static, String>;
/// A selection in a document.
pub type Select = Selection<'static, String>;
type Fragment = FragmentDefinition<'static, String>;

/// How many fragments may be open at a time while they are flattened, which recurses.
const MOST_OPEN: usize = 100;

/// Why a document is not taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplannable {
    /// It is out of bounds; no node is asked.
    #[error("{0}")]
    OutOfBounds(#[from] OutOfBounds),
    /// Too many root fields; no node is asked.
    #[error("the operation has more than {0} root fields, which is more than this gateway plans")]
    RootFields(usize),
    /// Too much for flattening; no node is asked.
    #[error("the fragments of the document expand to more than {0} selections")]
    Expansion(usize),
    /// Fragments that spread fragments, and so on; no node is asked.
    #[error("the fragments of the document spread each other more than {MOST_OPEN} deep")]
    Chain,
    /// It uses names that are kept for the gateway; no node is asked.
    #[error("names that begin with _oz_ are kept for the gateway")]
    Reserved,
    /// A node's validation refuses it, as far as onezot can see; the node's words are the client's answer.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Unplannable {
    /// Whether a node can say it in its own words.
    pub fn is_for_a_node(&self) -> bool {
        matches!(self, Unplannable::Invalid(_))
    }
}

/// An operation that was taken apart.
#[derive(Debug)]
pub struct Operation {
    /// The fields of the root, each response key once, in the order of the answer.
    pub fields: Vec<Field>,
    selections: Vec<Select>,
    definitions: Vec<VariableDefinition<'static, String>>,
    variables: Map<String, Json>,
    fragments: HashMap<String, Fragment>,
    bounds: Bounds,
}

/// A field of the root or of a result: all selections with one response key.
#[derive(Debug, Clone)]
pub struct Field {
    /// The key in the answer: the alias, or the name.
    pub key: String,
    /// The name in the schema.
    pub name: String,
    /// The arguments.
    pub arguments: Vec<(String, Value)>,
    /// What is selected below it.
    pub selections: Vec<Select>,
    /// Where it stands in the client's text.
    pub location: Option<Location>,
}

impl Field {
    /// A field of onezot's own, without arguments.
    pub fn new(name: &str, selections: Vec<Select>) -> Field {
        let (key, name) = (name.to_owned(), name.to_owned());
        Field { key, name, arguments: Vec::new(), selections, location: None }
    }
}

impl Operation {
    /// Takes the operation `name` of `text` apart.
    ///
    /// # Errors
    ///
    /// [`Unplannable`], whose cases say whether a node should answer.
    pub fn parse(
        text: &str,
        name: Option<&str>,
        variables: Map<String, Json>,
        bounds: Bounds,
    ) -> Result<Operation, Unplannable> {
        let positions = scan::scan(text, bounds)?;
        let document = query::parse_query::<String>(text)
            .map_err(|_| Unplannable::Invalid("the document does not parse"))?
            .into_static();
        let mut operations = Vec::new();
        let mut fragments = HashMap::new();
        for definition in document.definitions {
            match definition {
                Definition::Operation(operation) => operations.push(operation),
                Definition::Fragment(fragment) => {
                    fragments.insert(fragment.name.clone(), fragment);
                }
            }
        }
        let (definitions, root) = select(operations, name)?;
        let selections = root.items;
        let fields = Vec::new();
        let mut operation = Operation { fields, selections, definitions, variables, fragments, bounds };
        operation.fields = operation.flatten(&operation.selections, &positions)?;
        if operation.fields.len() > bounds.root_fields {
            return Err(Unplannable::RootFields(bounds.root_fields));
        }
        Ok(operation)
    }

    /// The fields that selections come to: fragments opened, `@include` and `@skip` decided, one field for each
    /// response key.
    fn flatten(&self, selections: &[Select], positions: &Positions) -> Result<Vec<Field>, Unplannable> {
        let mut fields = Vec::new();
        let mut visits = 0;
        self.collect(selections, positions, &mut Vec::new(), &mut visits, &mut fields)?;
        Ok(fields)
    }

    /// The same for the fields of a result.
    ///
    /// # Errors
    ///
    /// As [`Operation::parse`].
    pub fn fields_of(&self, field: &Field) -> Result<Vec<Field>, Unplannable> {
        self.flatten(&field.selections, &Positions::default())
    }

    fn collect<'a>(
        &'a self,
        selections: &'a [Select],
        positions: &Positions,
        open: &mut Vec<&'a str>,
        visits: &mut usize,
        fields: &mut Vec<Field>,
    ) -> Result<(), Unplannable> {
        for selection in selections {
            *visits += 1;
            if *visits > self.bounds.selections {
                return Err(Unplannable::Expansion(self.bounds.selections));
            }
            match selection {
                Selection::Field(field) => {
                    if !self.is_included(&field.directives)? {
                        continue;
                    }
                    // What is copied counts, too: one fragment that is spread often is copied as often.
                    *visits = visits.saturating_add(selections_in(&field.selection_set));
                    if *visits > self.bounds.selections {
                        return Err(Unplannable::Expansion(self.bounds.selections));
                    }
                    let key = field.alias.as_ref().unwrap_or(&field.name);
                    match fields.iter_mut().find(|known| known.key == *key) {
                        // Validation makes sure that they are the same field with the same arguments.
                        Some(known) => known.selections.extend_from_slice(&field.selection_set.items),
                        None => fields.push(Field {
                            key: key.clone(),
                            name: field.name.clone(),
                            arguments: field.arguments.clone(),
                            selections: field.selection_set.items.clone(),
                            location: positions.location(field.position),
                        }),
                    }
                }
                Selection::InlineFragment(fragment) => {
                    if self.is_included(&fragment.directives)? {
                        self.collect(&fragment.selection_set.items, positions, open, visits, fields)?;
                    }
                }
                Selection::FragmentSpread(spread) => {
                    if !self.is_included(&spread.directives)? {
                        continue;
                    }
                    let fragment = self
                        .fragments
                        .get(&spread.fragment_name)
                        .ok_or(Unplannable::Invalid("the document spreads a fragment that it does not have"))?;
                    if open.contains(&fragment.name.as_str()) {
                        return Err(Unplannable::Invalid("the document has a fragment that spreads itself"));
                    }
                    if open.len() >= MOST_OPEN {
                        return Err(Unplannable::Chain);
                    }
                    open.push(&fragment.name);
                    self.collect(&fragment.selection_set.items, positions, open, visits, fields)?;
                    open.pop();
                }
            }
        }
        Ok(())
    }

    fn is_included(&self, directives: &[Directive<'static, String>]) -> Result<bool, Unplannable> {
        for directive in directives {
            let wanted = match directive.name.as_str() {
                "include" => true,
                "skip" => false,
                _ => continue,
            };
            let condition = directive.arguments.iter().find(|(name, _)| name == "if");
            match condition.and_then(|(_, value)| self.resolve(value)) {
                Some(Json::Bool(holds)) if holds == wanted => {}
                Some(Json::Bool(_)) => return Ok(false),
                _ => return Err(Unplannable::Invalid("a condition of the document is not true or false")),
            }
        }
        Ok(true)
    }

    /// The value of an argument of a field; `None` if it is absent, or a variable without a value.
    pub fn argument(&self, field: &Field, name: &str) -> Option<Json> {
        let (_, value) = field.arguments.iter().find(|(argument, _)| argument == name)?;
        self.resolve(value)
    }

    /// A value with its variables put in.
    fn resolve(&self, value: &Value) -> Option<Json> {
        Some(match value {
            Value::Variable(name) => {
                let definition = self.definitions.iter().find(|definition| definition.name == *name)?;
                match (self.variables.get(name), &definition.default_value) {
                    (Some(value), _) => value.clone(),
                    (None, Some(default)) => self.resolve(default)?,
                    (None, None) => return None,
                }
            }
            Value::Int(number) => Json::from(number.as_i64()?),
            Value::Float(number) => Json::from(*number),
            Value::String(text) | Value::Enum(text) => Json::from(text.as_str()),
            Value::Boolean(value) => Json::Bool(*value),
            Value::Null => Json::Null,
            Value::List(items) => items.iter().map(|item| self.resolve(item).unwrap_or(Json::Null)).collect(),
            // A field whose variable has no value is absent.
            Value::Object(fields) => {
                let fields = fields.iter().filter_map(|(name, value)| Some((name.clone(), self.resolve(value)?)));
                Json::Object(fields.collect())
            }
        })
    }
}

/// How many selections a set has, all levels added up.
fn selections_in(set: &SelectionSet<'static, String>) -> usize {
    let below = |selection: &Select| match selection {
        Selection::Field(field) => selections_in(&field.selection_set),
        Selection::InlineFragment(fragment) => selections_in(&fragment.selection_set),
        Selection::FragmentSpread(_) => 0,
    };
    set.items.len() + set.items.iter().map(below).sum::<usize>()
}

/// The operation that a name selects, as zot's server selects it (gqlgen `graphql/executor`).
fn select(
    mut operations: Vec<OperationDefinition<'static, String>>,
    name: Option<&str>,
) -> Result<(Vec<VariableDefinition<'static, String>>, SelectionSet<'static, String>), Unplannable> {
    let missing = Unplannable::Invalid("the document does not have the operation");
    let name = name.unwrap_or_default();
    let at = if name.is_empty() {
        if operations.len() == 1 { Some(0) } else { None }
    } else {
        operations.iter().position(
            |operation| matches!(operation, OperationDefinition::Query(query) if query.name.as_deref() == Some(name)),
        )
    };
    match at.map(|at| operations.swap_remove(at)) {
        Some(OperationDefinition::Query(query)) => Ok((query.variable_definitions, query.selection_set)),
        Some(OperationDefinition::SelectionSet(set)) => Ok((Vec::new(), set)),
        Some(_) => Err(Unplannable::Invalid("the operation is no query")),
        None => Err(missing),
    }
}

/// A field to be selected in addition.
pub fn selected(name: &str, selections: Vec<Select>) -> Select {
    aliased(name, name, selections)
}

/// The same under a key of its own.
pub fn aliased(key: &str, name: &str, selections: Vec<Select>) -> Select {
    Selection::Field(query::Field {
        position: graphql_parser::Pos::default(),
        alias: (key != name).then(|| key.to_owned()),
        name: name.to_owned(),
        arguments: Vec::new(),
        directives: Vec::new(),
        selection_set: SelectionSet { span: Default::default(), items: selections },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str, variables: Json) -> Result<Operation, Unplannable> {
        let Json::Object(variables) = variables else { panic!("no object") };
        Operation::parse(text, None, variables, Bounds::default())
    }

    fn keys(operation: &Operation) -> Vec<(&str, &str)> {
        operation.fields.iter().map(|field| (field.key.as_str(), field.name.as_str())).collect()
    }

    #[test]
    fn root_fields_are_found_through_fragments_and_conditions() {
        let text = "query($y:Boolean! $n:Boolean=false) { a: A { x } ...F @include(if:$y) ... on Query { B @skip(if:$y) a: A { y } } \
                    C @include(if:$n) ... @include(if:$y) { D } } fragment F on Query { E ...G } fragment G on Query { B2: B }";
        let operation = parse(text, json!({"y": true})).unwrap();
        assert_eq!(keys(&operation), [("a", "A"), ("E", "E"), ("B2", "B"), ("D", "D")]);
        assert_eq!(operation.fields[0].selections.len(), 2, "what has one key is one field");
        let operation = parse(text, json!({"y": false})).unwrap();
        assert_eq!(keys(&operation), [("a", "A"), ("B", "B")]);
    }

    #[test]
    fn what_only_a_node_can_word_is_left_to_it() {
        for (text, variables) in [
            ("{", json!({})),
            ("query A{x} query B{y}", json!({})),
            ("mutation{x}", json!({})),
            ("fragment F on Query{x}", json!({})),
            ("{...F}", json!({})),
            ("{...F} fragment F on Query{...F}", json!({})),
            ("query($i:Boolean){x @include(if:$i)}", json!({})),
            ("query($i:Boolean){x @include(if:$i)}", json!({"i": "yes"})),
            ("{x @include}", json!({})),
        ] {
            assert!(parse(text, variables).unwrap_err().is_for_a_node(), "{text}");
        }
        let two = "query A{x} query B{y}";
        assert_eq!(keys(&Operation::parse(two, Some("B"), Map::new(), Bounds::default()).unwrap()), [("y", "y")]);
        assert!(Operation::parse(two, Some("C"), Map::new(), Bounds::default()).unwrap_err().is_for_a_node());
    }

    #[test]
    fn what_is_too_much_is_refused_without_a_node() {
        let fields: String = (0..40).map(|i| format!("a{i}:A ")).collect();
        assert_eq!(parse(&format!("{{{fields}}}"), json!({})).unwrap_err(), Unplannable::RootFields(32));
        // Each fragment spreads the next twice: 2^30 selections, counted before they are made.
        let mut bomb = "{...F0}".to_owned();
        for i in 0..30 {
            bomb.push_str(&format!(" fragment F{i} on Query{{...F{next} ...F{next}}}", next = i + 1));
        }
        bomb.push_str(" fragment F30 on Query{x}");
        assert_eq!(parse(&bomb, json!({})).unwrap_err(), Unplannable::Expansion(10_000));
        // Each fragment spreads the next, which recurses; and so does one that spreads itself at the end.
        let mut chain = "{...F0}".to_owned();
        for i in 0..1000 {
            chain.push_str(&format!(" fragment F{i} on Query{{...F{next}}}", next = i + 1));
        }
        for end in ["x", "...F0", "...F1000"] {
            let chain = format!("{chain} fragment F1000 on Query{{{end}}}");
            assert_eq!(parse(&chain, json!({})).unwrap_err(), Unplannable::Chain);
        }
        // One large fragment that is spread often: copied each time.
        let (spreads, fields) = ("...F ".repeat(400), "a{b c} ".repeat(400));
        let copies = format!("{{{spreads}}} fragment F on Query{{A{{{fields}}}}}");
        assert_eq!(parse(&copies, json!({})).unwrap_err(), Unplannable::Expansion(10_000));
    }

    #[test]
    fn what_is_printed_means_what_was_read() {
        let text = r#"query Q($r:String!="a\"b" $p:[Int!]! $unused:Int) {
            a: A(s:"l\nf \u00e4 \\", n:-3, f:1.5, e:NAME, b:true, z:null, l:[1,$r], o:{x:$p y:{}}) { b c:d @skip(if:$u) ...F ... on T @x { e } ... { f } }
            B(q:"""block "quoted" """)
        } fragment F on T { g ...G } fragment G on T { h(a:$g) } fragment H on T { i }"#;
        let operation = parse(text, json!({"p": [1], "other": 2})).unwrap();
        let Upstream { text: printed, variables } = operation.print(&operation.fields);
        assert_eq!(Json::Object(variables), json!({"p": [1]}));
        let again = Operation::parse(&printed, None, Map::new(), Bounds::default()).unwrap();
        assert_eq!(again.print(&again.fields).text, printed, "printing is stable");
        for part in [
            r#"query($r:String!="a\"b" $p:[Int!]! )"#,
            r#"s:"l\nf ä \\""#,
            "n:-3",
            "f:1.5",
            "e:NAME",
            "z:null",
            "l:[1 $r ]",
            "o:{x:$p y:{} }",
            "c:d @skip(if:$u )",
            "...on T @x{e }",
            "...{f }",
            "fragment F on T{g ...G }",
            "fragment G on T{h(a:$g ) }",
        ] {
            assert!(printed.contains(part), "{part}: {printed}");
        }
        assert!(!printed.contains("unused") && !printed.contains("fragment H"), "{printed}");
        let Upstream { text: only_b, variables } = operation.print(&operation.fields[1..]);
        assert!(only_b.starts_with("{B(q:\"block \\\"quoted\\\" \" )"), "{only_b}");
        assert!(variables.is_empty());
    }

    #[test]
    fn arguments_are_resolved_with_variables_and_defaults() {
        let text =
            "query($r:String $d:Int=7 $none:Int){A(r:$r d:$d n:$none o:{limit:$d offset:$none sortBy:X} l:[$r])}";
        let operation = parse(text, json!({"r": "lib"})).unwrap();
        let argument = |name: &str| operation.argument(&operation.fields[0], name);
        assert_eq!(argument("r"), Some(json!("lib")));
        assert_eq!(argument("d"), Some(json!(7)));
        assert_eq!(argument("n"), None);
        assert_eq!(argument("o"), Some(json!({"limit": 7, "sortBy": "X"})));
        assert_eq!(argument("l"), Some(json!(["lib"])));
        assert_eq!(argument("absent"), None);
    }

    #[test]
    fn hidden_fields_nest() {
        let operation = parse("{A}", json!({})).unwrap();
        let selections = vec![aliased("_oz_M", "Manifests", vec![selected("Digest", Vec::new())])];
        let field = Field { selections, ..operation.fields[0].clone() };
        assert_eq!(operation.print(&[field]).text, "{A{_oz_M:Manifests{Digest } } }");
    }
}
