//! The arguments of queries, as the resolvers see them.

use super::{Arguments, Failure};
use async_graphql::Value;

/// The longest search text, and the longest part of a filter.
const LONGEST: usize = 256;
const INVALID: &str = "request parameter has invalid value";

/// A text; empty if it is null or absent.
pub fn text<'a>(arguments: &'a Arguments, name: &str) -> &'a str {
    match arguments.get(name) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// Texts; none if they are null or absent.
pub fn texts(arguments: &Arguments, name: &str) -> Vec<String> {
    match arguments.get(name) {
        Some(Value::List(items)) => items.iter().filter_map(as_text).collect(),
        Some(single) => as_text(single).into_iter().collect(),
        None => Vec::new(),
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Whether an object has a field that is true; nothing if it is null or absent.
fn flag(object: &Arguments, name: &str) -> Option<bool> {
    match object.get(name) {
        Some(Value::Boolean(truth)) => Some(*truth),
        _ => None,
    }
}

/// Which part of a result is asked for, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many.
    pub limit: i64,
    /// After how many.
    pub offset: i64,
    /// The order.
    pub sort: String,
}

impl Page {
    /// The page that is asked for. Nulls count as absent.
    pub fn read(arguments: &Arguments, sort: &str) -> Self {
        let mut page = Self { limit: 0, offset: 0, sort: sort.to_owned() };
        if let Some(Value::Object(given)) = arguments.get("requestedPage") {
            let number = |name: &str| match given.get(name) {
                Some(Value::Number(number)) => number.as_i64().unwrap_or_default(),
                _ => 0,
            };
            (page.limit, page.offset) = (number("limit"), number("offset"));
            if let Some(Value::Enum(sort)) = given.get("sortBy") {
                page.sort = sort.to_string();
            } else if let Some(Value::String(sort)) = given.get("sortBy") {
                page.sort.clone_from(sort);
            }
        }
        page
    }

    /// What GlobalSearch says of a page, before it looks at anything else.
    pub fn check_early(&self) -> Result<(), Failure> {
        for (name, value) in [("limit", self.limit), ("offset", self.offset)] {
            if value < 0 {
                return Err(format!("requested page {name} parameter can't be negative {INVALID}").into());
            }
        }
        Ok(())
    }
}

/// Which results are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Operating systems, if any are asked for.
    pub os: Option<Vec<String>>,
    /// Architectures, if any are asked for.
    pub arch: Option<Vec<String>>,
    /// Only what is signed.
    pub signed: bool,
    /// Only what is, or is not, bookmarked.
    pub bookmarked: Option<bool>,
    /// Only what is, or is not, starred.
    pub starred: Option<bool>,
}

impl Filter {
    /// The filter that is asked for, cleaned. zot falls over a null in a list.
    pub fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let Some(Value::Object(given)) = arguments.get("filter") else { return Ok(Self::default()) };
        let list = |name: &str| match given.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::List(items)) => {
                items.iter().map(|item| as_text(item).ok_or(Failure::Panic)).collect::<Result<Vec<_>, _>>().map(Some)
            }
            Some(single) => as_text(single).ok_or(Failure::Panic).map(|text| Some(vec![text])),
        };
        Ok(Self {
            os: list("Os")?,
            arch: list("Arch")?,
            signed: flag(given, "HasToBeSigned") == Some(true),
            bookmarked: flag(given, "IsBookmarked"),
            starred: flag(given, "IsStarred"),
        })
    }

    /// What GlobalSearch says of it: architectures first.
    pub fn check(&self) -> Result<(), Failure> {
        for (name, list) in [("arch", &self.arch), ("os", &self.os)] {
            for text in list.iter().flatten() {
                check_length(name, text)?;
            }
        }
        Ok(())
    }

    /// The filter as it is used: lower case, without blanks and without what is left empty.
    #[must_use]
    pub fn cleaned(self) -> Self {
        let clean = |list: Option<Vec<String>>| {
            list.map(|list| {
                list.iter().map(|text| text.to_lowercase().trim().to_owned()).filter(|text| !text.is_empty()).collect()
            })
        };
        Self { os: clean(self.os), arch: clean(self.arch), ..self }
    }

    /// Whether any of some platforms will do. Without platforms nothing will, unless nothing is asked for.
    pub fn takes(&self, platforms: &[(String, String)]) -> bool {
        if platforms.is_empty() && self.os.is_none() && self.arch.is_none() {
            return true;
        }
        let fits = |wanted: &Option<Vec<String>>, actual: &str| {
            let wanted = wanted.as_deref().unwrap_or_default();
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.to_lowercase() == actual.to_lowercase())
        };
        platforms.iter().any(|(os, arch)| fits(&self.os, os) && fits(&self.arch, arch))
    }
}

/// Complains of a text of too many bytes.
pub fn check_length(name: &str, text: &str) -> Result<(), Failure> {
    if text.len() <= LONGEST {
        return Ok(());
    }
    let length = text.len();
    Err(format!("max string size limit exceeded for {name} parameter. max={LONGEST} current={length} {INVALID}").into())
}
