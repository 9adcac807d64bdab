//! Media types as Go's `mime.ParseMediaType` reads them (Go `mime/mediatype.go`): what it refuses, gqlgen does not take.

/// A media type and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct MediaType {
    /// The type in lower case.
    pub name: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads one; `None` if it is malformed.
    pub fn parse(text: &str) -> Option<MediaType> {
        let (name, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let name = name.trim().to_lowercase();
        let (major, minor) = name.split_once('/').unwrap_or((&name, "x"));
        if !is_token(major) || !is_token(minor) {
            return None;
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() || rest.trim() == ";" {
                return Some(MediaType { name, parameters });
            }
            let (key, value, after) = parameter(rest)?;
            rest = after;
            match parameters.iter().find(|(known, _)| *known == key) {
                Some((_, known)) if *known != value => return None,
                Some(_) => {}
                None => parameters.push((key, value)),
            }
        }
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn parameter(text: &str) -> Option<(String, String, &str)> {
    let text = text.strip_prefix(';')?.trim_start();
    let (key, rest) = token(text);
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let (value, rest) = token(rest);
            (Some(value).filter(|value| !value.is_empty())?.to_owned(), rest)
        }
    };
    (!key.is_empty()).then(|| (key.to_lowercase(), value, rest))
}

/// A quoted string behind its first quote. A backslash counts only before what has to be escaped.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\r' | '\n' => return None,
            '\\' if chars.peek().is_some_and(|(_, next)| is_special(*next)) => {
                value.extend(chars.next().map(|(_, escaped)| escaped));
            }
            c => value.push(c),
        }
    }
    None
}

fn token(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !is_token_char(c)).unwrap_or(text.len()))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_graphic() && !is_special(c)
}

fn is_special(c: char) -> bool {
    "()<>@,;:\\\"/[]?=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_as_go_reads_them() {
        for good in [
            "application/json",
            "APPLICATION/JSON ; Charset=\"utf-8\"",
            "application/json;",
            "application/json;a=b;a=b",
            "application/json; a = b",
            "application/json; a*=utf-8''x",
            "application/json; a=\"\\\"\"",
        ] {
            assert_eq!(MediaType::parse(good).unwrap().name, "application/json", "{good}");
        }
        for bad in [
            "",
            "application/",
            "application /json",
            "application/json,text/plain",
            "application/json; charset",
            "application/json;;",
            "application/json; ;",
            "application/json;a=b;a=c",
            "application/json;a=\"b",
            "application/json;=b",
            "application/json;a=b c",
            "application/json;a=",
        ] {
            assert_eq!(MediaType::parse(bad), None, "{bad}");
        }
        let form = MediaType::parse("Multipart/Form-Data; Boundary=\"a b\"").unwrap();
        assert_eq!((form.name.as_str(), form.parameter("boundary")), ("multipart/form-data", Some("a b")));
    }
}
