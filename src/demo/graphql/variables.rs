//! Variables, coerced as loosely as zot's server does it (gqlparser's `VariableValues`): numbers become strings, strings
//! numbers, and single values lists.

use super::schema::Inputs;
use async_graphql::Name;
use async_graphql::indexmap::IndexMap;
use async_graphql::parser::Positioned;
use async_graphql::parser::types::{BaseType, Type, VariableDefinition};
use async_graphql::{Value, Variables};
use serde_json::{Map, Number};

/// A variable that does not fit, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What is wrong.
    pub message: String,
    /// `variable`, its name, and the way to the field.
    pub path: Vec<String>,
}

type Coerced = Result<Value, Unfit>;

/// Coerces the variables of an operation.
pub fn coerce(
    definitions: &[Positioned<VariableDefinition>],
    given: &Map<String, serde_json::Value>,
    inputs: &Inputs,
) -> Result<Variables, Unfit> {
    let mut coerced = Variables::default();
    for definition in definitions {
        let definition = &definition.node;
        let name = definition.name.node.to_string();
        let path = vec!["variable".to_owned(), name.clone()];
        let value = match given.get(&name) {
            None if definition.default_value().is_some() => continue,
            None if definition.var_type.node.nullable => continue,
            None => return Err(Unfit { message: "must be defined".to_owned(), path }),
            Some(value) => typed(value, &definition.var_type.node, inputs, path)?,
        };
        coerced.insert(Name::new(name), value);
    }
    Ok(coerced)
}

fn typed(value: &serde_json::Value, kind: &Type, inputs: &Inputs, path: Vec<String>) -> Coerced {
    if value.is_null() {
        return if kind.nullable { Ok(Value::Null) } else { Err(Unfit { message: "cannot be null".to_owned(), path }) };
    }
    match &kind.base {
        BaseType::List(items) => {
            let values = match value {
                serde_json::Value::Array(values) => values.as_slice(),
                single => std::slice::from_ref(single),
            };
            let coerced = values.iter().enumerate().map(|(index, value)| {
                let mut path = path.clone();
                path.push(index.to_string());
                typed(value, items, inputs, path)
            });
            coerced.collect::<Result<_, _>>().map(Value::List)
        }
        BaseType::Named(name) => named(value, name.as_str(), inputs, path),
    }
}

fn named(value: &serde_json::Value, name: &str, inputs: &Inputs, path: Vec<String>) -> Coerced {
    if let Some(fields) = inputs.objects.get(name) {
        return object(value, fields, inputs, path);
    }
    if let Some(values) = inputs.enums.get(name) {
        return match value {
            serde_json::Value::String(text) if values.contains(text) => Ok(Value::Enum(Name::new(text))),
            serde_json::Value::String(text) => Err(Unfit { message: format!("{text} is not a valid {name}"), path }),
            _ => Err(Unfit { message: "enums must be ints or strings".to_owned(), path }),
        };
    }
    let kind = match value {
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Array(_) => "slice",
        serde_json::Value::Object(_) => "map",
        _ => "string",
    };
    let coerced = match (name, value) {
        ("String" | "ID", serde_json::Value::String(text)) => Some(Value::String(text.clone())),
        ("String" | "ID", serde_json::Value::Number(number)) => Some(Value::String(number.to_string())),
        ("Int", serde_json::Value::Number(number)) => number.as_i64().map(Value::from),
        ("Int", serde_json::Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
        ("Float", serde_json::Value::Number(number)) => Some(Value::Number(number.clone())),
        ("Float", serde_json::Value::String(text)) => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
        ("Boolean", serde_json::Value::Bool(truth)) => Some(Value::Boolean(*truth)),
        ("String" | "ID" | "Int" | "Float" | "Boolean", _) => None,
        // Of a type that does not exist; validation says so.
        _ => Value::from_json(value.clone()).ok(),
    };
    coerced.ok_or_else(|| Unfit { message: format!("cannot use {kind} as {name}"), path })
}

fn object(value: &serde_json::Value, fields: &[(String, Type)], inputs: &Inputs, path: Vec<String>) -> Coerced {
    let below = |name: &str| {
        let mut path = path.clone();
        path.push(name.to_owned());
        path
    };
    let serde_json::Value::Object(given) = value else {
        return Err(Unfit { message: "must be a map".to_owned(), path });
    };
    if let Some(name) =
        given.keys().find(|name| *name != "__typename" && !fields.iter().any(|(field, _)| field == *name))
    {
        return Err(Unfit { message: "unknown field".to_owned(), path: below(name) });
    }
    let mut coerced = IndexMap::new();
    for (name, kind) in fields {
        match given.get(name) {
            None if kind.nullable => {}
            None => return Err(Unfit { message: "must be defined".to_owned(), path: below(name) }),
            Some(value) => {
                coerced.insert(Name::new(name), typed(value, kind, inputs, below(name))?);
            }
        }
    }
    Ok(Value::Object(coerced))
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;

    fn coerced(document: &str, given: serde_json::Value) -> Result<String, Unfit> {
        let document = parse_query(document).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let (_, inputs) = super::super::schema::build().unwrap();
        let given = given.as_object().unwrap().clone();
        coerce(&operation.node.variable_definitions, &given, &inputs)
            .map(|variables| serde_json::to_string(&variables).unwrap())
    }

    #[test]
    fn values_are_bent_as_zot_bends_them() {
        use serde_json::json;
        assert_eq!(coerced("query($r:String!){a(r:$r)}", json!({"r": 1})).unwrap(), r#"{"r":"1"}"#);
        assert_eq!(coerced("query($r:[String]){a(r:$r)}", json!({"r": "x"})).unwrap(), r#"{"r":["x"]}"#);
        assert_eq!(
            coerced("query($p:PageInput){a(p:$p)}", json!({"p": {"limit": "3"}})).unwrap(),
            r#"{"p":{"limit":3}}"#
        );
        let unfit = |document, given| coerced(document, given).unwrap_err();
        assert_eq!(unfit("query($r:String!){a(r:$r)}", json!({})).message, "must be defined");
        assert_eq!(unfit("query($r:String!){a(r:$r)}", json!({"r": ["x"]})).message, "cannot use slice as String");
        let page = unfit("query($p:PageInput){a(p:$p)}", json!({"p": {"sortBy": "NOPE"}}));
        assert_eq!(
            (page.message.as_str(), page.path.join("/").as_str()),
            ("NOPE is not a valid SortCriteria", "variable/p/sortBy")
        );
        assert_eq!(unfit("query($p:PageInput){a(p:$p)}", json!({"p": {"nope": 1}})).message, "unknown field");
        assert_eq!(
            unfit("query($p:PageInput){a(p:$p)}", json!({"p": {"limit": "x"}})).message,
            "cannot use string as Int"
        );
    }
}
