//! What the comparer has to know of a GraphQL request: which field stands behind each key of the answer, and how a
//! list is sorted. It reads valid documents only, and no more of them than that takes.

use super::golden::Request;
use serde_json::Value;
use std::collections::HashMap;

/// A field of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Field {
    /// Its key in the answer: the alias, if it has one.
    pub key: String,
    /// Its name in the schema.
    pub name: String,
    /// The `sortBy` of its page, if one is given.
    pub sort_by: Option<String>,
    /// What is selected in it.
    pub fields: Vec<Field>,
}

/// The root fields of a request; `None` if the request cannot be read (its answer is an error, then).
pub fn fields(request: &Request) -> Option<Vec<Field>> {
    let (text, mut variables, operation) = parameters(request)?;
    let mut reader = Reader { tokens: tokens(&text)?, at: 0 };
    let mut operations = Vec::new();
    let mut fragments = HashMap::new();
    while let Some(token) = reader.next() {
        match token.as_str() {
            "{" => operations.push((String::new(), HashMap::new(), reader.selections()?)),
            "fragment" => {
                let name = reader.next()?;
                reader.skip_to("{")?;
                fragments.insert(name, reader.selections()?);
            }
            "query" => {
                let name = if matches!(reader.peek()?, "{" | "(" | "@") { String::new() } else { reader.next()? };
                let defaults = reader.defaults()?;
                reader.skip_to("{")?;
                operations.push((name, defaults, reader.selections()?));
            }
            _ => return None,
        }
    }
    let chosen = match operation {
        Some(name) if !name.is_empty() => operations.into_iter().find(|(n, _, _)| *n == name)?,
        _ => operations.into_iter().next()?,
    };
    for (name, value) in chosen.1 {
        variables.entry(name).or_insert(value);
    }
    flatten(&chosen.2, &fragments, &variables, 0)
}

/// Text, variables and operation name of a request.
fn parameters(request: &Request) -> Option<(String, HashMap<String, Literal>, Option<String>)> {
    let given: HashMap<String, String> = if request.method == "GET" {
        let query = request.path.split_once('?')?.1;
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    } else {
        let body: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
        let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        body.as_object()?.iter().map(|(key, value)| (key.clone(), as_text(value))).collect()
    };
    let variables: Value = given.get("variables").map_or(Some(Value::Null), |text| serde_json::from_str(text).ok())?;
    let variables = match variables {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), Literal::of(value))).collect(),
        _ => HashMap::new(),
    };
    let operation = given.get("operationName").filter(|name| *name != "null").cloned();
    Some((given.get("query")?.clone(), variables, operation))
}

/// The value of an argument, as far as it matters here.
#[derive(Debug, Clone)]
enum Literal {
    Plain(String),
    Variable(String),
    Object(Vec<(String, Literal)>),
}

impl Literal {
    fn of(value: &Value) -> Literal {
        match value {
            Value::Object(map) => Literal::Object(map.iter().map(|(k, v)| (k.clone(), Literal::of(v))).collect()),
            Value::String(text) => Literal::Plain(text.clone()),
            other => Literal::Plain(other.to_string()),
        }
    }

    fn resolved<'a>(&'a self, variables: &'a HashMap<String, Literal>) -> Option<&'a Literal> {
        match self {
            Literal::Variable(name) => variables.get(name),
            other => Some(other),
        }
    }
}

enum Selection {
    Field { key: String, name: String, page: Option<Literal>, selections: Vec<Selection> },
    Spread(String),
    Inline(Vec<Selection>),
}

fn flatten(
    selections: &[Selection],
    fragments: &HashMap<String, Vec<Selection>>,
    variables: &HashMap<String, Literal>,
    depth: usize,
) -> Option<Vec<Field>> {
    if depth > 32 {
        return None; // fragments that spread each other
    }
    let mut fields: Vec<Field> = Vec::new();
    for selection in selections {
        let more = match selection {
            Selection::Field { key, name, page, selections } => vec![Field {
                key: key.clone(),
                name: name.clone(),
                sort_by: page.as_ref().and_then(|page| sort_by(page, variables)),
                fields: flatten(selections, fragments, variables, depth + 1)?,
            }],
            Selection::Spread(name) => flatten(fragments.get(name)?, fragments, variables, depth + 1)?,
            Selection::Inline(selections) => flatten(selections, fragments, variables, depth + 1)?,
        };
        merge(&mut fields, more);
    }
    Some(fields)
}

fn merge(fields: &mut Vec<Field>, more: Vec<Field>) {
    for field in more {
        match fields.iter_mut().find(|known| known.key == field.key) {
            Some(known) => merge(&mut known.fields, field.fields),
            None => fields.push(field),
        }
    }
}

fn sort_by(page: &Literal, variables: &HashMap<String, Literal>) -> Option<String> {
    let Literal::Object(pairs) = page.resolved(variables)? else { return None };
    let (_, value) = pairs.iter().find(|(key, _)| key == "sortBy")?;
    match value.resolved(variables)? {
        Literal::Plain(name) if name != "null" => Some(name.clone()),
        _ => None,
    }
}

struct Reader {
    tokens: Vec<String>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    /// Skips everything up to and including `token`; parentheses are skipped whole.
    fn skip_to(&mut self, token: &str) -> Option<()> {
        let mut open = 0;
        loop {
            let next = self.next()?;
            match next.as_str() {
                "(" => open += 1,
                ")" => open -= 1,
                _ if open == 0 && next == token => return Some(()),
                _ => {}
            }
        }
    }

    /// The default values of an operation's variables.
    fn defaults(&mut self) -> Option<HashMap<String, Literal>> {
        let mut defaults = HashMap::new();
        if !self.eat("(") {
            return Some(defaults);
        }
        while !self.eat(")") {
            self.eat("$");
            let name = self.next()?;
            while !matches!(self.peek()?, "$" | "=" | ")") {
                self.at += 1;
            }
            if self.eat("=") {
                defaults.insert(name, self.literal()?);
            }
        }
        Some(defaults)
    }

    fn literal(&mut self) -> Option<Literal> {
        match self.next()?.as_str() {
            "$" => Some(Literal::Variable(self.next()?)),
            "[" => {
                while !self.eat("]") {
                    self.literal()?;
                }
                Some(Literal::Plain("[]".to_owned()))
            }
            "{" => {
                let mut pairs = Vec::new();
                while !self.eat("}") {
                    let key = self.next()?;
                    self.eat(":");
                    pairs.push((key, self.literal()?));
                }
                Some(Literal::Object(pairs))
            }
            plain => Some(Literal::Plain(plain.to_owned())),
        }
    }

    /// The `requestedPage` among arguments that may stand here.
    fn arguments(&mut self) -> Option<Option<Literal>> {
        let mut page = None;
        if self.eat("(") {
            while !self.eat(")") {
                let name = self.next()?;
                self.eat(":");
                let value = self.literal()?;
                if name == "requestedPage" {
                    page = Some(value);
                }
            }
        }
        Some(page)
    }

    fn directives(&mut self) -> Option<()> {
        while self.eat("@") {
            self.next()?;
            self.arguments()?;
        }
        Some(())
    }

    /// A selection set after its opening brace.
    fn selections(&mut self) -> Option<Vec<Selection>> {
        let mut selections = Vec::new();
        while !self.eat("}") {
            let first = self.next()?;
            if first == "..." {
                let named = !matches!(self.peek()?, "{" | "@" | "on");
                let name = if named { Some(self.next()?) } else { None };
                if self.eat("on") {
                    self.next()?;
                }
                self.directives()?;
                selections.push(match name {
                    Some(name) => Selection::Spread(name),
                    None => {
                        self.eat("{");
                        Selection::Inline(self.selections()?)
                    }
                });
                continue;
            }
            let name = if self.eat(":") { self.next()? } else { first.clone() };
            let page = self.arguments()?;
            self.directives()?;
            let selections_of = if self.eat("{") { self.selections()? } else { Vec::new() };
            selections.push(Selection::Field { key: first, name, page, selections: selections_of });
        }
        Some(selections)
    }
}

/// Names, numbers, texts (without quotes, escapes as they are) and symbols.
fn tokens(text: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' | '\t' | '\r' | '\n' | ',' | '\u{feff}' => {
                rest = &rest[first.len_utf8()..];
                continue;
            }
            '#' => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            '.' if rest.starts_with("...") => 3,
            '"' if rest.starts_with("\"\"\"") => 6 + rest[3..].find("\"\"\"")?,
            '"' => {
                let mut end = 1;
                while *rest.as_bytes().get(end)? != b'"' {
                    end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
                }
                end + 1
            }
            c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-+.".contains(c))).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        tokens.push(rest.get(..length)?.to_owned());
        rest = &rest[length..];
    }
    Some(tokens)
}
