//! JSON as Go's `encoding/json` reads it into gqlgen's parameters: more than JSON, and in its own way.
//!
//! Names match in any case, of a name that comes twice the last counts (objects of the top are merged), a lone surrogate
//! or a byte that is no UTF-8 is U+FFFD, and a number is the text that it was written as.

use crate::items::Members;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The deepest nesting of variables that is looked at; nothing in zot's schema is half as deep.
const DEEPEST: usize = 64;

/// The text with U+FFFD for what is no text (Go `encoding/json`, `unquoteBytes`: one for each byte or escape).
pub fn cleaned(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    if text.contains("\\u") { without_lone_surrogates(&text) } else { text }
}

fn without_lone_surrogates(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        clean.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                clean.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // A backslash and what it escapes.
            _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        clean.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    clean + rest
}

/// The UTF-16 unit of an escape `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The first value of a text. What follows it is nobody's business.
pub fn first_value(text: &str) -> Option<&RawValue> {
    serde::Deserialize::deserialize(&mut serde_json::Deserializer::from_str(text)).ok()
}

/// Whether a name of an object is that of a field (Go `encoding/json`, `foldName`).
pub fn is_named(name: &str, field: &str) -> bool {
    let folded = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(folded).eq(field.chars().map(folded))
}

/// The members of an object; `None` if it is none.
pub fn members(raw: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// Puts the members of an object into a map that may have some already: Go decodes into the map that is there. `null` is
/// no map.
pub fn put_into<'a>(map: &mut Vec<(String, &'a RawValue)>, raw: &'a RawValue) -> Option<()> {
    if raw.get() == "null" {
        map.clear();
        return Some(());
    }
    for (name, value) in members(raw)?.0 {
        map.retain(|(known, _)| *known != name);
        map.push((name.into_owned(), value));
    }
    Some(())
}

/// The values of members; `None` if they nest too deep.
pub fn values(members: &[(String, &RawValue)]) -> Option<Map<String, Value>> {
    members.iter().map(|(name, raw)| Some((name.clone(), value(raw, 0)?))).collect()
}

/// A value. A number that would be written otherwise here is the text that it is for gqlgen (`json.Number`).
fn value(raw: &RawValue, depth: usize) -> Option<Value> {
    let text = raw.get();
    match text.as_bytes().first()? {
        _ if depth > DEEPEST => None,
        b'{' => {
            let members = members(raw)?.0;
            members.into_iter().map(|(name, raw)| Some((name.into_owned(), value(raw, depth + 1)?))).collect()
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.into_iter().map(|item| value(item, depth + 1)).collect()
        }
        b'-' | b'0'..=b'9' => {
            let number = serde_json::from_str::<Value>(text).ok();
            let is_as_written = |number: &Value| number.as_number().is_some_and(|number| format!("{number}") == text);
            Some(number.filter(is_as_written).unwrap_or_else(|| Value::from(text)))
        }
        _ => serde_json::from_str(text).ok(),
    }
}

/// Members as the text of an object.
pub fn written(members: &[(String, &RawValue)]) -> String {
    let members = members.iter().map(|(name, raw)| format!("{}:{}", Value::from(name.as_str()), raw.get()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_text_is_replaced() {
        assert_eq!(cleaned(b"a\xff\xe2\x82b"), "a\u{fffd}\u{fffd}\u{fffd}b");
        for (text, clean) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\udc00\ud800x""#, r#""\ufffd\ufffdx""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\ud800\n""#, r#""\ufffd\n""#),
            (r#""\u12"#, r#""\u12"#),
            ("\\u\\", "\\u\\"),
            ("\\ué1234", "\\ué1234"),
        ] {
            assert_eq!(cleaned(text.as_bytes()), clean);
        }
    }

    #[test]
    fn numbers_that_are_written_otherwise_are_texts() {
        let read = |text: &str| {
            let raw = first_value(text).unwrap();
            let mut members = Vec::new();
            put_into(&mut members, raw).unwrap();
            Value::Object(values(&members).unwrap())
        };
        assert_eq!(
            read(r#"{"a":1,"b":1e2,"c":[1.50,-0],"d":1e999,"e":99999999999999999999,"a":{"x":1.5,"x":2}} {"#),
            json!({"a": {"x": 2}, "b": "1e2", "c": ["1.50", "-0"], "d": "1e999", "e": "99999999999999999999"})
        );
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
        let mut members = Vec::new();
        put_into(&mut members, first_value(&deep).unwrap()).unwrap();
        assert!(values(&members).is_none());
        assert!(first_value("{\"a\":tru}").is_none() && first_value("").is_none());
    }

    #[test]
    fn names_match_in_any_case() {
        assert!(is_named("OPERATIONNAME", "operationName") && is_named("variableſ", "variables"));
        assert!(!is_named("querys", "query"));
    }
}
