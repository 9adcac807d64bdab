//! Documents printed for the nodes.
//!
//! graphql-parser's own printer changes values (it turns a string with a line feed into an indented block), so there is
//! a small one here.

use super::{Field, Fragment, Operation, Select, Value};
use crate::query::RESERVED;
use graphql_parser::query::{self, Directive, Selection, Type, VariableDefinition};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A document for a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// The text.
    pub text: String,
    /// The variables that it uses.
    pub variables: Map<String, Json>,
}

/// A field of the root to be printed, with the members of its result in the place of what the client selected.
pub struct Root<'a> {
    /// The key of the answer.
    pub key: &'a str,
    /// The name in the schema.
    pub name: &'a str,
    /// The arguments.
    pub arguments: &'a [(String, Value)],
    /// The members of the result.
    pub members: &'a [Field],
}

/// A field of the root whose result is selected by a fragment that others spread, too.
pub struct Spread<'a> {
    /// The key of the answer.
    pub key: String,
    /// The name in the schema.
    pub name: &'a str,
    /// The arguments.
    pub arguments: Vec<(String, Value)>,
    /// Which of the fragments.
    pub fragment: usize,
}

impl Operation {
    /// Prints a document of some root fields: with the variables and fragments that they use, and no others.
    pub fn print(&self, fields: &[Field]) -> Upstream {
        let mut printer = Printer::default();
        printer.fields(fields);
        self.finish(printer)
    }

    /// The same for root fields with other members in their results.
    pub fn print_roots(&self, roots: &[Root]) -> Upstream {
        let mut printer = Printer::default();
        printer.text.push('{');
        for Root { key, name, arguments, members } in roots {
            printer.head(Some(key), name, arguments);
            printer.fields(members);
        }
        printer.text.push('}');
        self.finish(printer)
    }

    /// Prints a document of many root fields with few selections: `fragments` are these, each with the type it is of.
    pub fn print_spreads(&self, roots: &[Spread], fragments: &[(&str, &[Field])]) -> Upstream {
        let mut printer = Printer::default();
        printer.text.push('{');
        for Spread { key, name, arguments, fragment } in roots {
            printer.head(Some(key), name, arguments);
            // Writing to a string does not fail.
            let _ = write!(printer.text, "{{...{RESERVED}{fragment}}} ");
        }
        printer.text.push('}');
        for (index, (on, fields)) in fragments.iter().enumerate() {
            let _ = write!(printer.text, " fragment {RESERVED}{index} on {on}");
            printer.fields(fields);
        }
        self.finish(printer)
    }

    /// Prints the whole operation with its fields skipped, so that nothing but its variables is looked at; `None` if it has
    /// none.
    pub fn print_skipped(&self) -> Option<Upstream> {
        if self.definitions.is_empty() {
            return None;
        }
        let mut printer = Printer::default();
        printer.text.push_str("{...@skip(if:true)");
        printer.selections(&self.selections);
        let _ = write!(printer.text, "{RESERVED}typename:__typename}}");
        Some(self.finish(printer))
    }

    /// Whether a field of this name is selected anywhere below a field.
    pub fn mentions(&self, field: &Field, name: &str) -> bool {
        let Upstream { text, .. } = self.print(std::slice::from_ref(field));
        text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
    }

    /// Puts what a printed body uses around it.
    fn finish(&self, mut printer: Printer) -> Upstream {
        let body = std::mem::take(&mut printer.text);
        // Fragments may spread others: each is printed once, until no new one turns up.
        let mut printed = BTreeSet::new();
        while let Some(name) = printer.fragments.iter().find(|name| !printed.contains(*name)).cloned() {
            if let Some(fragment) = self.fragments.get(&name) {
                printer.fragment(fragment);
            }
            printed.insert(name);
        }
        let fragments = std::mem::take(&mut printer.text);
        let used: Vec<_> =
            self.definitions.iter().filter(|definition| printer.variables.contains(&definition.name)).collect();
        if !used.is_empty() {
            printer.text.push_str("query(");
            for definition in &used {
                printer.definition(definition);
            }
            printer.text.push(')');
        }
        let head = printer.text;
        let known = |name: &String| used.iter().any(|definition| definition.name == *name);
        let variables = self.variables.iter().filter(|(name, _)| known(name));
        Upstream {
            text: format!("{head}{body}{fragments}"),
            variables: variables.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

/// Writes GraphQL that means what was read, and notes what it refers to.
#[derive(Default)]
struct Printer {
    text: String,
    variables: BTreeSet<String>,
    fragments: BTreeSet<String>,
}

impl Printer {
    fn fields(&mut self, fields: &[Field]) {
        self.text.push('{');
        for field in fields {
            self.field(field);
        }
        self.text.push('}');
    }

    fn field(&mut self, field: &Field) {
        self.head(Some(&field.key), &field.name, &field.arguments);
        if !field.selections.is_empty() {
            self.selections(&field.selections);
        }
        self.text.push(' ');
    }

    fn head(&mut self, key: Option<&str>, name: &str, arguments: &[(String, Value)]) {
        if let Some(key) = key.filter(|key| *key != name) {
            self.text.push_str(key);
            self.text.push(':');
        }
        self.text.push_str(name);
        self.arguments(arguments);
    }

    fn arguments(&mut self, arguments: &[(String, Value)]) {
        if arguments.is_empty() {
            return;
        }
        self.text.push('(');
        for (name, value) in arguments {
            self.text.push_str(name);
            self.text.push(':');
            self.value(value);
            self.text.push(' ');
        }
        self.text.push(')');
    }

    fn selections(&mut self, selections: &[Select]) {
        self.text.push('{');
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    self.head(field.alias.as_deref(), &field.name, &field.arguments);
                    self.directives(&field.directives);
                    if !field.selection_set.items.is_empty() {
                        self.selections(&field.selection_set.items);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    self.text.push_str("...");
                    self.text.push_str(&spread.fragment_name);
                    self.fragments.insert(spread.fragment_name.clone());
                    self.directives(&spread.directives);
                }
                Selection::InlineFragment(fragment) => {
                    self.text.push_str("...");
                    if let Some(query::TypeCondition::On(name)) = &fragment.type_condition {
                        self.text.push_str("on ");
                        self.text.push_str(name);
                    }
                    self.directives(&fragment.directives);
                    self.selections(&fragment.selection_set.items);
                }
            }
            self.text.push(' ');
        }
        self.text.push('}');
    }

    fn directives(&mut self, directives: &[Directive<'static, String>]) {
        for directive in directives {
            self.text.push_str(" @");
            self.text.push_str(&directive.name);
            self.arguments(&directive.arguments);
        }
    }

    fn fragment(&mut self, fragment: &Fragment) {
        let query::TypeCondition::On(on) = &fragment.type_condition;
        // Writing to a string does not fail.
        let _ = write!(self.text, " fragment {} on {on}", fragment.name);
        self.directives(&fragment.directives);
        self.selections(&fragment.selection_set.items);
    }

    fn definition(&mut self, definition: &VariableDefinition<'static, String>) {
        let _ = write!(self.text, "${}:", definition.name);
        self.variable_type(&definition.var_type);
        if let Some(default) = &definition.default_value {
            self.text.push('=');
            self.value(default);
        }
        self.text.push(' ');
    }

    fn variable_type(&mut self, variable_type: &Type<'static, String>) {
        match variable_type {
            Type::NamedType(name) => self.text.push_str(name),
            Type::ListType(inner) => {
                self.text.push('[');
                self.variable_type(inner);
                self.text.push(']');
            }
            Type::NonNullType(inner) => {
                self.variable_type(inner);
                self.text.push('!');
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Variable(name) => {
                self.text.push('$');
                self.text.push_str(name);
                self.variables.insert(name.clone());
            }
            // The parser holds every number of 64 bits it accepts.
            Value::Int(number) => drop(write!(self.text, "{}", number.as_i64().unwrap_or_default())),
            Value::Float(number) => drop(write!(self.text, "{number:?}")),
            // JSON's escapes are GraphQL's.
            Value::String(text) => drop(write!(self.text, "{}", Json::from(text.as_str()))),
            Value::Boolean(value) => drop(write!(self.text, "{value}")),
            Value::Null => self.text.push_str("null"),
            Value::Enum(name) => self.text.push_str(name),
            Value::List(items) => {
                self.text.push('[');
                for item in items {
                    self.value(item);
                    self.text.push(' ');
                }
                self.text.push(']');
            }
            Value::Object(fields) => {
                self.text.push('{');
                for (name, value) in fields {
                    self.text.push_str(name);
                    self.text.push(':');
                    self.value(value);
                    self.text.push(' ');
                }
                self.text.push('}');
            }
        }
    }
}
