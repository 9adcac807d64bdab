//! Checks of arguments that async-graphql does not make and zot does: a value of an enumeration must not stand in quotes,
//! and a variable that may be null must not stand where null may not.

use super::schema::Inputs;
use async_graphql::parser::types::{BaseType, ExecutableDocument, Selection, SelectionSet, Type};
use async_graphql::{Pos, Value as Literal};

/// The first value of an enumeration in quotes, and where its argument is.
pub fn quoted(document: &ExecutableDocument, inputs: &Inputs) -> Option<(String, Pos)> {
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
    let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
    operations.chain(fragments).find_map(|set| in_selections(set, inputs))
}

/// The first variable that may be null where null may not be, and where its argument is.
pub fn nullable(document: &ExecutableDocument, inputs: &Inputs) -> Option<(String, Pos)> {
    document.operations.iter().find_map(|(_, operation)| {
        let operation = &operation.node;
        operation.selection_set.node.items.iter().find_map(|selection| {
            let Selection::Field(field) = &selection.node else { return None };
            let types = inputs.queries.get(field.node.name.node.as_str())?;
            field.node.arguments.iter().find_map(|(name, value)| {
                let mut variable = None;
                let with_null = |name| {
                    variable = Some(name);
                    Ok::<_, ()>(Literal::Null)
                };
                let is_whole = value.node.clone().into_const_with(with_null) == Ok(Literal::Null);
                let variable = variable.filter(|_| is_whole)?;
                let (_, expected) = types.iter().find(|(argument, _)| argument == name.node.as_str())?;
                let definitions = operation.variable_definitions.iter().map(|definition| &definition.node);
                let definition = definitions.into_iter().find(|definition| definition.name.node == variable)?;
                let actual = &definition.var_type.node;
                let wrong = actual.nullable && !expected.nullable && definition.default_value.is_none();
                let message = || {
                    format!(
                        "Variable \"${variable}\" of type \"{actual}\" used in position expecting type \"{expected}\"."
                    )
                };
                wrong.then(|| (message(), value.pos))
            })
        })
    })
}

/// Only queries have arguments, but fragments may hold queries.
fn in_selections(set: &SelectionSet, inputs: &Inputs) -> Option<(String, Pos)> {
    set.items.iter().find_map(|selection| match &selection.node {
        Selection::Field(field) => {
            let types = inputs.queries.get(field.node.name.node.as_str())?;
            field.node.arguments.iter().find_map(|(name, literal)| {
                let (_, kind) = types.iter().find(|(argument, _)| argument == name.node.as_str())?;
                // A variable stands for a value that is checked elsewhere.
                let value = literal.node.clone().into_const_with(|_| Ok::<_, ()>(Literal::Null)).ok()?;
                in_value(&value, kind, inputs).map(|text| (text, literal.pos))
            })
        }
        Selection::InlineFragment(inline) => in_selections(&inline.node.selection_set.node, inputs),
        Selection::FragmentSpread(_) => None,
    })
}

fn in_value(value: &Literal, kind: &Type, inputs: &Inputs) -> Option<String> {
    match (&kind.base, value) {
        (BaseType::List(items), Literal::List(values)) => {
            values.iter().find_map(|value| in_value(value, items, inputs))
        }
        (BaseType::Named(name), Literal::Object(given)) => {
            let fields = inputs.objects.get(name.as_str())?;
            given.iter().find_map(|(name, value)| {
                let (_, kind) = fields.iter().find(|(field, _)| field == name.as_str())?;
                in_value(value, kind, inputs)
            })
        }
        (BaseType::Named(name), Literal::String(text)) if inputs.enums.contains_key(name.as_str()) => {
            Some(format!("Enum \"{name}\" cannot represent non-enum value: \"{text}\"."))
        }
        _ => None,
    }
}
