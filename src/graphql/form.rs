//! Forms with a GraphQL request in them (gqlgen `graphql/handler/transport/http_form_multipart.go`): `operations`, then
//! `map`, then files. Go's reader (`mime/multipart`) is imitated as far as a form is well made; the rest is left to a node.

use super::media_type::MediaType;

/// A part of a form.
#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The name of the field.
    pub name: String,
    /// What it holds.
    pub content: &'a [u8],
}

/// The parts of a form; `None` if it is none, or is made in a way that only Go's reader knows.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let dashes = format!("--{boundary}");
    let mut rest = after_first(body, dashes.as_bytes())?;
    let mut parts = Vec::new();
    // The line end of the first boundary is that of the whole form.
    let line_end: &[u8] = if trimmed(rest).starts_with(b"\r\n") { b"\r\n" } else { b"\n" };
    let end = [line_end, dashes.as_bytes()].concat();
    loop {
        if let Some(tail) = rest.strip_prefix(b"--") {
            let is_end = tail.is_empty() || trimmed(tail).starts_with(line_end);
            return is_end.then_some(parts);
        }
        let part = trimmed(rest).strip_prefix(line_end)?;
        let length = find(part, &end)?;
        parts.push(read(&part[..length])?);
        rest = &part[length + end.len()..];
    }
}

/// What follows the first boundary, which is at the beginning of a line.
fn after_first<'a>(body: &'a [u8], dashes: &[u8]) -> Option<&'a [u8]> {
    if let Some(rest) = body.strip_prefix(dashes) {
        return Some(rest);
    }
    let line = [b"\n", dashes].concat();
    find(body, &line).map(|at| &body[at + line.len()..])
}

fn read(part: &[u8]) -> Option<Part<'_>> {
    let mut rest = part;
    let mut name = None;
    loop {
        let end = find(rest, b"\n")?;
        let line = std::str::from_utf8(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end])).ok()?;
        rest = &rest[end + 1..];
        if line.is_empty() {
            return Some(Part { name: name?, content: rest });
        }
        let (key, value) = line.split_once(':')?;
        if key.eq_ignore_ascii_case("content-transfer-encoding") {
            return None;
        }
        if key.eq_ignore_ascii_case("content-disposition") && name.is_none() {
            let disposition = MediaType::parse(value).filter(|disposition| disposition.name == "form-data");
            name = Some(disposition?.parameter("name")?.to_owned());
        }
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_taken_apart() {
        let names = |body: &str| {
            let parts = parts(body.as_bytes(), "B")?;
            Some(
                parts
                    .into_iter()
                    .map(|p| (p.name, String::from_utf8_lossy(p.content).into_owned()))
                    .collect::<Vec<_>>(),
            )
        };
        let part = |name: &str, content: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\nX: y\r\n\r\n{content}\r\n")
        };
        let body = format!("{}{}--B--\r\n", part("a", "1\r\n2"), part("b", ""));
        let expected = vec![("a".to_owned(), "1\r\n2".to_owned()), ("b".to_owned(), String::new())];
        assert_eq!(names(&body), Some(expected.clone()));
        assert_eq!(names(&format!("preamble\r\n{body}")), Some(expected));
        assert_eq!(names(body.trim_end()).map(|parts| parts.len()), Some(2));
        assert_eq!(names(&body.replace("\r\n", "\n")).map(|parts| parts.len()), Some(2));
        for bad in
            ["", "--B", "--B\r\n", &part("a", "1"), &body.replace("form-data", "file"), &body.replace("; name", "; x")]
        {
            assert_eq!(names(bad), None, "{bad}");
        }
        assert_eq!(parts(body.as_bytes(), ""), None);
    }
}
