//! What kinds of bodies there are, and the parts of forms.

use std::collections::HashMap;

/// A media type in lower case, and its parameters; `None` if Go's `mime.ParseMediaType` refuses it.
pub fn media_type(text: &str) -> Option<(String, HashMap<String, String>)> {
    let mut pieces = split_outside_quotes(text)?.into_iter();
    let kind = pieces.next()?.trim().to_lowercase();
    let words: Vec<&str> = kind.splitn(2, '/').collect();
    if !words.iter().all(|word| is_word(word)) {
        return None;
    }
    let mut pieces: Vec<&str> = pieces.collect();
    // One semicolon at the end is nothing.
    if pieces.last().is_some_and(|last| last.trim().is_empty()) {
        pieces.pop();
    }
    let mut parameters = HashMap::new();
    for piece in pieces {
        let (name, value) = piece.split_once('=')?;
        let (name, value) = (name.trim().to_lowercase(), value.trim());
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        if !is_word(&name) || quoted.is_none() && !is_word(value) {
            return None;
        }
        let value = quoted.map_or_else(|| value.to_owned(), |quoted| quoted.replace("\\\"", "\""));
        if parameters.insert(name, value.clone()).is_some_and(|before| before != value) {
            return None;
        }
    }
    Some((kind, parameters))
}

/// The pieces between semicolons; `None` if a quoted string does not end.
fn split_outside_quotes(text: &str) -> Option<Vec<&str>> {
    let (mut pieces, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    (!quoted).then_some(pieces)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(letter))
}

/// The parts of a form, each with its name; what does not end as a form does is none.
pub fn parts(body: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    // Forms of documents are text.
    let body = format!("\n{}", String::from_utf8_lossy(body));
    let delimiter = format!("\n--{boundary}");
    let mut pieces = body.split(&delimiter).skip(1);
    let mut parts = Vec::new();
    let line_end = if body.contains("\r\n") { "\r\n" } else { "\n" };
    loop {
        let piece = pieces.next().filter(|_| !boundary.is_empty())?;
        if let Some(end) = piece.strip_prefix("--") {
            return (end.is_empty() || end.starts_with(line_end)).then_some(parts);
        }
        let piece = piece.strip_prefix(line_end)?;
        let (head, content) = piece.split_once(&line_end.repeat(2))?;
        let disposition = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-disposition").then(|| media_type(value))?
        });
        let (kind, mut parameters) = disposition?;
        let name = parameters.remove("name").filter(|_| kind == "form-data")?;
        let content = if line_end == "\n" { content } else { content.strip_suffix('\r').unwrap_or(content) };
        parts.push((name, content.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_those_of_go() {
        for good in ["a/b", "A/B ; c=\"d;e\"", "a/b;", "a/b;c=d;c=d", "a/b; c = d", "json"] {
            assert!(media_type(good).is_some(), "{good}");
        }
        for bad in ["", "a/", "a /b", "a/b,c/d", "a/b;c", "a/b;;", "a/b;c=d;c=e", "a/b;c=\"d", "a/b;=d", "a/b;c=d e"] {
            assert!(media_type(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn forms_have_parts() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B--\r\n";
        assert_eq!(parts(body, "B"), Some(vec![("a".to_owned(), "1".to_owned())]));
        assert_eq!(parts(&body[..body.len() - 6], "B"), None);
        assert_eq!(parts(body, ""), None);
    }
}
