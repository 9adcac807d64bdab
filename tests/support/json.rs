//! JSON that keeps what a comparison of bytes needs: the order of keys, the raw text of every value, and the blanks.

use std::fmt::{self, Write as _};

/// A value. Scalars keep their bytes: `1.0` is not `1`, and `"<"` is not `"\u003c"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`, `true`, `false`, a number, or a text with its quotes.
    Scalar(String),
    /// A list.
    Array(Vec<Json>),
    /// Keys (without their quotes, escapes as they are) and values, in their order.
    Object(Vec<(String, Json)>),
}

/// A document, and the blanks between its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The value.
    pub value: Json,
    /// All blanks outside of texts, joined.
    pub blanks: String,
}

impl Json {
    /// The value of a key (its first).
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Json]> {
        match self {
            Json::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The inside of a text, escapes as they are.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Scalar(raw) => raw.strip_prefix('"')?.strip_suffix('"'),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Json::Scalar(raw) if raw == "null")
    }
}

impl fmt::Display for Json {
    /// Compact, as Go writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Scalar(raw) => f.write_str(raw),
            Json::Array(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { "," } else { "" })?;
                }
                f.write_char(']')
            }
            Json::Object(pairs) => {
                f.write_char('{')?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}\"{key}\":{value}", if index > 0 { "," } else { "" })?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Reads a document; `None` if the bytes are not one.
pub fn parse(bytes: &[u8]) -> Option<Document> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { rest: text, blanks: String::new() };
    let value = reader.value()?;
    reader.skip_blanks();
    reader.rest.is_empty().then_some(Document { value, blanks: reader.blanks })
}

struct Reader<'a> {
    rest: &'a str,
    blanks: String,
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        let trimmed = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.blanks.push_str(&self.rest[..self.rest.len() - trimmed.len()]);
        self.rest = trimmed;
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn eat(&mut self, symbol: char) -> bool {
        self.skip_blanks();
        let found = self.rest.starts_with(symbol);
        if found {
            self.take(symbol.len_utf8());
        }
        found
    }

    fn value(&mut self) -> Option<Json> {
        if self.eat('{') {
            let mut pairs = Vec::new();
            if self.eat('}') {
                return Some(Json::Object(pairs));
            }
            loop {
                self.skip_blanks();
                let key = self.quoted()?;
                if !self.eat(':') {
                    return None;
                }
                pairs.push((key[1..key.len() - 1].to_owned(), self.value()?));
                if self.eat('}') {
                    return Some(Json::Object(pairs));
                }
                if !self.eat(',') {
                    return None;
                }
            }
        }
        if self.eat('[') {
            let mut items = Vec::new();
            if self.eat(']') {
                return Some(Json::Array(items));
            }
            loop {
                items.push(self.value()?);
                if self.eat(']') {
                    return Some(Json::Array(items));
                }
                if !self.eat(',') {
                    return None;
                }
            }
        }
        let raw = if self.rest.starts_with('"') {
            self.quoted()?
        } else {
            let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
            self.take(end.unwrap_or(self.rest.len()))
        };
        // serde_json knows what a text, a number and a literal look like.
        serde_json::from_str::<serde::de::IgnoredAny>(raw).ok().map(|_| Json::Scalar(raw.to_owned()))
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        if bytes.first() != Some(&b'"') {
            return None;
        }
        let mut end = 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        Some(self.take(end + 1))
    }
}
