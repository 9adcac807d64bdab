//! JSON as Go's encoder writes it, and Go's words for JSON that does not parse.
//!
//! zot's answers come out of Go's `encoding/json`: `<`, `>`, `&` and the two line separators of Unicode are escaped, and
//! the keys of maps are sorted. Tests compare bytes, so the stand-in writes the same ones.

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use std::io::{self, Write};

/// The compact formatter with Go's escapes.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut following = rest[at..].chars();
            if let Some(special) = following.next() {
                write!(writer, "\\u{:04x}", u32::from(special))?;
            }
            rest = following.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

/// A value as Go would write it.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Nothing that is written here can fail: no maps with keys other than strings, and memory as the target.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, GoFormatter));
    bytes
}

/// What Go's decoder says of a text, if its first value is not JSON.
///
/// Go reads only the first value of a stream, so what follows it is nobody's concern (`encoding/json/scanner.go`).
pub fn complaint(text: &[u8]) -> Option<String> {
    Scanner { text, at: 0 }.value().err()
}

/// Walks a text as far as it is JSON.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

type Scanned = Result<(), String>;

impl Scanner<'_> {
    fn blank(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The complaint about the byte at hand, or about the end of the text.
    fn unexpected(&self, context: &str) -> String {
        match self.peek() {
            None => "unexpected EOF".to_owned(),
            Some(b'\'') => format!("invalid character '\\'' {context}"),
            Some(b'"') => format!("invalid character '\"' {context}"),
            Some(byte) => format!("invalid character '{}' {context}", char::from(byte).escape_default()),
        }
    }

    fn value(&mut self) -> Scanned {
        self.blank();
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            None => Err("EOF".to_owned()),
            Some(_) => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn object(&mut self) -> Scanned {
        self.at += 1;
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            self.value()?;
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Scanned {
        self.at += 1;
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value()?;
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn string(&mut self) -> Scanned {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 2,
                Some(0..=0x1f) => return Err(self.unexpected("in string literal")),
                Some(_) => self.at += 1,
                None => return Err(self.unexpected("")),
            }
        }
    }

    fn literal(&mut self, word: &str) -> Scanned {
        for (index, expected) in word.bytes().enumerate() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected(&format!("in literal {word} (expecting '{}')", char::from(expected))));
            }
            self.at += usize::from(index < word.len());
        }
        Ok(())
    }

    fn number(&mut self) -> Scanned {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected("in numeric literal"));
        }
        while self.peek().is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
            self.at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_go_escapes() {
        let written = String::from_utf8(encode("a<b>&\u{2028}\u{8}\u{c}\u{1}é\"\\\n")).unwrap();
        assert_eq!(written, "\"a\\u003cb\\u003e\\u0026\\u2028\\u0008\\u000c\\u0001é\\\"\\\\\\n\"");
    }

    #[test]
    fn complains_as_go_does() {
        let of = |text: &str| complaint(text.as_bytes()).unwrap_or_default();
        assert_eq!(of("{bad"), "invalid character 'b' looking for beginning of object key string");
        assert_eq!(of("x"), "invalid character 'x' looking for beginning of value");
        assert_eq!(of("{\"a\" 1}"), "invalid character '1' after object key");
        assert_eq!(of("{\"a\":1"), "unexpected EOF");
        assert_eq!(of("nul!"), "invalid character '!' in literal null (expecting 'l')");
        assert_eq!(of("{\"a\":[1,-2.5e3,\"x\"]} trailing"), "");
    }
}
