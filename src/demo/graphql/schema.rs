//! zot's GraphQL schema, from its names to an executable one.

use super::run::{self, Run};
use async_graphql::Value;
use async_graphql::dynamic::{
    Enum, Field, FieldFuture, FieldValue, InputObject, InputValue, Object, ResolverContext, Scalar, Schema, TypeRef,
};
use async_graphql::parser::types::{BaseType, FieldDefinition, Type, TypeKind, TypeSystemDefinition};
use async_graphql::parser::{Positioned, parse_schema};
use std::collections::BTreeMap;

/// The names of everything, in the order in which zot has them.
const SDL: &str = include_str!("schema.graphql");

/// How deep documents may be. zot sets no limit; this one keeps the stack of a test whole.
const DEEPEST: usize = 256;

/// The types of what clients can send.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Input objects: their fields and the types of those.
    pub objects: BTreeMap<String, Vec<(String, Type)>>,
    /// Enumerations: their values.
    pub enums: BTreeMap<String, Vec<String>>,
    /// Queries: their arguments and the types of those.
    pub queries: BTreeMap<String, Vec<(String, Type)>>,
}

/// A schema that could not be made: a mistake in its text, which a test would find.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Makes the schema.
pub fn build() -> Result<(Schema, Inputs), Broken> {
    let document = parse_schema(SDL)?;
    let mut inputs = Inputs::default();
    let mut builder = Schema::build("Query", None, None).limit_recursive_depth(DEEPEST);
    for definition in document.definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let definition = definition.node;
        let name = definition.name.node.to_string();
        match definition.kind {
            TypeKind::Scalar => builder = builder.register(Scalar::new(name)),
            TypeKind::Enum(kind) => {
                let values: Vec<String> = kind.values.iter().map(|value| value.node.value.node.to_string()).collect();
                builder = builder.register(values.iter().fold(Enum::new(&name), |kind, value| kind.item(value)));
                inputs.enums.insert(name, values);
            }
            TypeKind::InputObject(kind) => {
                let mut object = InputObject::new(&name);
                let mut fields = Vec::new();
                for field in kind.fields {
                    let (field, kind) = (field.node.name.node.to_string(), field.node.ty.node);
                    object = object.field(InputValue::new(&field, reference(&kind)));
                    fields.push((field, kind));
                }
                builder = builder.register(object);
                inputs.objects.insert(name, fields);
            }
            TypeKind::Object(kind) => {
                let is_root = name == "Query";
                if is_root {
                    inputs.queries = kind.fields.iter().map(|field| arguments(&field.node)).collect();
                }
                let fields = kind.fields.into_iter().map(|field| self::field(field, is_root));
                builder = builder.register(fields.fold(Object::new(name), Object::field));
            }
            TypeKind::Interface(_) | TypeKind::Union(_) => {}
        }
    }
    Ok((builder.finish()?, inputs))
}

fn reference(kind: &Type) -> TypeRef {
    let inner = match &kind.base {
        BaseType::Named(name) => TypeRef::named(name.as_str()),
        BaseType::List(items) => TypeRef::List(Box::new(reference(items))),
    };
    if kind.nullable { inner } else { TypeRef::NonNull(Box::new(inner)) }
}

fn arguments(query: &FieldDefinition) -> (String, Vec<(String, Type)>) {
    let arguments =
        query.arguments.iter().map(|argument| (argument.node.name.node.to_string(), argument.node.ty.node.clone()));
    (query.name.node.to_string(), arguments.collect())
}

/// What stands for a value that must not be null in an answer that has no data in the end.
#[derive(Clone, Copy, Debug)]
enum Nothing {
    List,
    Text,
    Number,
    Object,
}

impl Nothing {
    /// What stands for nothing of a type; nothing if null may.
    fn of(kind: &Type) -> Option<Self> {
        let nothing = match &kind.base {
            BaseType::List(_) => Self::List,
            BaseType::Named(name) if name == "String" => Self::Text,
            BaseType::Named(name) if name == "Int" => Self::Number,
            BaseType::Named(_) => Self::Object,
        };
        (!kind.nullable).then_some(nothing)
    }

    fn value<'a>(self) -> FieldValue<'a> {
        match self {
            Self::List => FieldValue::list(std::iter::empty::<FieldValue<'_>>()),
            Self::Text => FieldValue::value(""),
            Self::Number => FieldValue::value(0),
            Self::Object => FieldValue::owned_any(Value::Null),
        }
    }
}

fn field(definition: Positioned<FieldDefinition>, is_root: bool) -> Field {
    let definition = definition.node;
    let name = definition.name.node.to_string();
    let kind = reference(&definition.ty.node);
    let nothing = Nothing::of(&definition.ty.node);
    let field = if is_root {
        let query = name.clone();
        let nothing = nothing.unwrap_or(Nothing::Object);
        Field::new(name, kind, move |context| {
            let answered = root(&context, &query, nothing);
            FieldFuture::new(async move { answered })
        })
    } else {
        let key = name.clone();
        Field::new(name, kind, move |context| {
            let value = below(&context, &key, nothing);
            FieldFuture::new(async move { Ok(value) })
        })
    };
    definition.arguments.into_iter().fold(field, |field, argument| {
        let argument = argument.node;
        field.argument(InputValue::new(argument.name.node.to_string(), reference(&argument.ty.node)))
    })
}

/// A query: computed as a whole, the fields below it only pick from it.
///
/// A failure is noted and answered with nothing; the whole of `data` becomes null afterwards. async-graphql would stop at
/// the first failure, zot lists all.
fn root<'a>(
    context: &ResolverContext<'a>,
    query: &str,
    nothing: Nothing,
) -> async_graphql::Result<Option<FieldValue<'a>>> {
    let run = context.ctx.data::<Run>()?;
    let arguments = context.args.iter().map(|(name, value)| (name.clone(), value.as_value().clone())).collect();
    let key = context.ctx.item.node.response_key().node.to_string();
    let value = run.resolve(query, arguments, &key, context.ctx.item.pos, &run::wanted(context.ctx.field()));
    Ok(Some(match value {
        Value::Null => nothing.value(),
        Value::List(items) => FieldValue::list(items.into_iter().map(FieldValue::owned_any)),
        other => FieldValue::owned_any(other),
    }))
}

/// A field of something that a query answered.
fn below<'a>(context: &ResolverContext<'a>, name: &str, nothing: Option<Nothing>) -> Option<FieldValue<'a>> {
    let value = match context.parent_value.try_downcast_ref::<Value>() {
        Ok(Value::Object(parent)) => parent.get(name).unwrap_or(&Value::Null),
        _ => &Value::Null,
    };
    if let (Some(nothing), Value::Null) = (nothing, value) {
        // Images that the user may not see, in a difference of two: the server notices only when it writes the answer.
        if let (Ok(run), Some(path)) = (context.ctx.data::<Run>(), context.ctx.path_node) {
            run.null_where_none_may_be(path.to_string_vec());
        }
        return Some(nothing.value());
    }
    picked(value)
}

fn picked(value: &Value) -> Option<FieldValue<'_>> {
    match value {
        Value::Null => None,
        Value::List(items) => Some(FieldValue::list(items.iter().map(|item| picked(item).unwrap_or(FieldValue::NULL)))),
        Value::Object(_) => Some(FieldValue::borrowed_any(value)),
        leaf => Some(FieldValue::value(leaf.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_in_order() {
        let (schema, inputs) = build().unwrap();
        assert!(schema.sdl().contains("type Query"));
        assert_eq!(inputs.objects["PageInput"].len(), 3);
        assert_eq!(inputs.enums["SortCriteria"].len(), 7);
    }
}
