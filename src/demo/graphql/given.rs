//! JSON as Go's decoder gives it to gqlgen: what is no text is U+FFFD, numbers stay the texts that they are, and an object
//! keeps its members as they came, twice if they came twice. The text must be one that `go_json::complaint` lets pass.

use serde_json::{Map, Value};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Given>),
    /// An object.
    Object(Vec<(String, Given)>),
}

impl Given {
    /// Reads the first value of a text.
    pub fn read(text: &[u8]) -> Self {
        Reader { text, at: 0 }.value()
    }

    /// What Go's decoder calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The value for coercion. A number that has another text there is its text.
    pub fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(truth),
            Self::Number(text) => match text.parse::<serde_json::Number>() {
                Ok(number) if number.to_string() == text => Value::Number(number),
                _ => Value::String(text),
            },
            Self::Text(text) => Value::String(text),
            Self::List(items) => items.into_iter().map(Self::value).collect(),
            Self::Object(members) => Value::Object(members.into_iter().map(|(name, of)| (name, of.value())).collect()),
        }
    }

    /// Puts the members of an object into a map; `null` empties it. The value itself if it is neither.
    pub fn put_into(self, map: &mut Map<String, Value>) -> Result<(), Self> {
        match self {
            Self::Null => map.clear(),
            Self::Object(members) => map.extend(members.into_iter().map(|(name, of)| (name, of.value()))),
            other => return Err(other),
        }
        Ok(())
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        self.at += 1;
        self.text.get(self.at - 1).copied()
    }

    /// The next byte that is no blank.
    fn sign(&mut self) -> Option<u8> {
        loop {
            match self.next() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => {}
                sign => return sign,
            }
        }
    }

    fn value(&mut self) -> Given {
        match self.sign() {
            Some(b'{') => {
                let mut members = Vec::new();
                while self.sign() == Some(b'"') {
                    let name = self.string();
                    self.sign(); // the colon
                    members.push((name, self.value()));
                    if self.sign() != Some(b',') {
                        break;
                    }
                }
                Given::Object(members)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                if self.sign() != Some(b']') {
                    self.at -= 1;
                    items.push(self.value());
                    while self.sign() == Some(b',') {
                        items.push(self.value());
                    }
                }
                Given::List(items)
            }
            Some(b'"') => Given::Text(self.string()),
            Some(b't') => self.word(3, Given::Bool(true)),
            Some(b'f') => self.word(4, Given::Bool(false)),
            Some(first @ (b'-' | b'0'..=b'9')) => {
                let mut number = String::from(char::from(first));
                while let Some(byte @ (b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) = self.text.get(self.at) {
                    number.push(char::from(*byte));
                    self.at += 1;
                }
                Given::Number(number)
            }
            _ => self.word(3, Given::Null),
        }
    }

    fn word(&mut self, rest: usize, value: Given) -> Given {
        self.at += rest;
        value
    }

    /// A string behind its first quote.
    fn string(&mut self) -> String {
        let mut bytes = Vec::new();
        while let Some(byte) = self.next().filter(|byte| *byte != b'"') {
            if byte != b'\\' {
                bytes.push(byte);
                continue;
            }
            let plain = match self.next() {
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'u') => self.unit(),
                other => char::from(other.unwrap_or_default()),
            };
            bytes.extend(plain.encode_utf8(&mut [0; 4]).bytes());
        }
        decoded(&bytes)
    }

    /// The character of `\uXXXX`, which may take another escape.
    fn unit(&mut self) -> char {
        let digits = |at: usize| {
            let digits = std::str::from_utf8(self.text.get(at..at + 4)?).ok()?;
            u16::from_str_radix(digits, 16).ok()
        };
        let first = digits(self.at);
        self.at += 4;
        let second =
            self.text[self.at.min(self.text.len())..].starts_with(b"\\u").then(|| digits(self.at + 2)).flatten();
        let pair = char::decode_utf16([first, second].into_iter().flatten()).next();
        match pair {
            Some(Ok(one)) => {
                self.at += if one > '\u{ffff}' { 6 } else { 0 };
                one
            }
            _ => '\u{fffd}',
        }
    }
}

/// The text with U+FFFD in the place of each byte that belongs to none.
fn decoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        text += &"\u{fffd}".repeat(chunk.invalid().len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_as_go_reads_them() {
        let read = |text: &str| Given::read(text.as_bytes()).value();
        assert_eq!(
            read(r#" {"a" : [ ] , "b":[1, -2.50,1e3,{}],"c":{"x":null,"x":true}} {"#),
            json!({"a": [], "b": [1, "-2.50", "1e3", {}], "c": {"x": true}})
        );
        assert_eq!(
            read(r#""\ud83d\ude00\ud800x\udc00\ud800\n\/\u00e9""#),
            json!("\u{1f600}\u{fffd}x\u{fffd}\u{fffd}\n/é")
        );
        assert_eq!(Given::read(b"\"\xff\xe2\x82\""), Given::Text("\u{fffd}\u{fffd}\u{fffd}".to_owned()));
        assert_eq!(Given::read(b"false").kind(), "bool");
    }
}
