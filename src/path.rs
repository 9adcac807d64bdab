//! Request paths, read as a zot's router reads them.
//!
//! A gateway that routes by a path must see in it what the node behind will see, or a request is classified as one
//! repository and served as another. zot matches on the *escaped* path (gorilla/mux with `UseEncodedPath`,
//! zot `pkg/api/controller.go`), after redirecting any path that Go's `path.Clean` would change. So onezot does the
//! same here, before anything else looks at the path, and answers what is odd by itself: it never reaches a node.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a request target is, before it is classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// A path that can be classified and sent as it stands, with its query (the part behind `?`, if any).
    Clean {
        /// The escaped path; starts with `/`.
        path: &'a str,
        /// The raw query, without the `?`.
        query: Option<&'a str>,
    },
    /// zot's router answers 301 to this location.
    Redirect(String),
    /// No route of a zot has such a path, and no node should be asked what it makes of it.
    NotFound,
    /// Not a request target: Go's HTTP server answers 400.
    Malformed,
}

/// Characters that Go's `URL.EscapedPath` escapes when it has to make the escaped form itself
/// (Go `net/url`, `shouldEscape` in mode `encodePath`).
const GO_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Reads the target of a request line.
///
/// Absolute-form and asterisk-form targets are [`Target::Malformed`]: no registry client sends them to a registry.
pub fn inspect(target: &[u8]) -> Target<'_> {
    let Ok(target) = std::str::from_utf8(target) else {
        // Go escapes the bytes and finds no route.
        return if target.starts_with(b"/") { Target::NotFound } else { Target::Malformed };
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if !path.starts_with('/') || target.bytes().any(|b| b <= b' ' || b == 0x7f) || !escapes_are_valid(path) {
        return Target::Malformed;
    }
    let cleaned = clean(path);
    if cleaned != path {
        // gorilla/mux puts the cleaned escaped path where Go expects an unescaped one, so escapes are escaped again.
        let mut location = utf8_percent_encode(&cleaned, GO_PATH).to_string();
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        return Target::Redirect(location);
    }
    if path.contains(['\\', '#']) || !path.is_ascii() {
        return Target::NotFound;
    }
    Target::Clean { path, query }
}

/// Whether a path segment hides what would change the path when a lax node decodes it: a slash, a backslash, a dot, a
/// control character, or another escape.
pub fn hides_structure(segment: &str) -> bool {
    segment.contains('%')
        && percent_decode_str(segment)
            .zip(percent_positions(segment))
            .any(|(byte, escaped)| escaped && matches!(byte, ..b' ' | 0x7f.. | b'/' | b'\\' | b'.' | b'%'))
}

/// Whether a path stays clean when its escapes are decoded, and does not become another route. Escaped slashes may be
/// in it.
pub fn decodes_cleanly(path: &str) -> bool {
    percent_decode_str(path).decode_utf8().is_ok_and(|decoded| {
        clean(&decoded) == decoded && !decoded.contains(['%', '\\']) && !decoded.chars().any(char::is_control)
    })
}

/// For each byte that decoding yields: did it come from an escape?
fn percent_positions(segment: &str) -> impl Iterator<Item = bool> + '_ {
    let mut rest = segment.as_bytes();
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        rest = if first == b'%' { tail.get(2..)? } else { tail };
        Some(first == b'%')
    })
}

/// Whether each `%` is followed by two hexadecimal digits, as Go wants it in paths and queries.
pub fn escapes_are_valid(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| matches!(after.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

/// gorilla/mux `cleanPath`: Go's `path.Clean`, keeping a trailing slash.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(path.len());
    for segment in &kept {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    if cleaned.is_empty() || path.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

/// What follows the authority of a URL, byte for byte: parsing would normalise it. `None` if it is no URL of HTTP.
pub fn origin_form(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let path = rest.find(['/', '?']).map_or("/", |at| &rest[at..]);
    Some(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// Whether `name` is a repository name of zot's grammar (zot `pkg/regexp/regexp.go`, `NameRegexp`): components
/// separated by `/`, each of lower-case letters and digits, with `.`, `_`, `__` or dashes inside.
pub fn is_repository_name(name: &str) -> bool {
    name.split('/').all(is_name_component)
}

fn is_name_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_well = |b: Option<&u8>| b.is_some_and(|&b| alphanumeric(b));
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes
            .split(|&b| alphanumeric(b))
            .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redirect(to: &str) -> Target<'static> {
        Target::Redirect(to.to_owned())
    }

    #[test]
    fn dirty_paths_are_redirected_as_recorded_and_as_go_does() {
        assert_eq!(inspect(b"/v2//"), redirect("/v2/"));
        assert_eq!(inspect(b"/v2/../v2/"), redirect("/v2/"));
        assert_eq!(inspect(b"/v2/lib/../solo/tags/list"), redirect("/v2/solo/tags/list"));
        assert_eq!(inspect(b"/v2/./_catalog?n=1&last=a//b"), redirect("/v2/_catalog?n=1&last=a//b"));
        assert_eq!(inspect(b"//"), redirect("/"));
        assert_eq!(inspect(b"/.."), redirect("/"));
        assert_eq!(inspect(b"/v2//lib%2Fx"), redirect("/v2/lib%252Fx"));
    }

    #[test]
    fn what_is_no_target_is_malformed() {
        for target in [&b"v2/"[..], b"*", b"http://h/v2/", b"/v2/%zz", b"/v2/%2", b"/v2/\x01", b"/v2/a b", b""] {
            assert_eq!(inspect(target), Target::Malformed, "{:?}", String::from_utf8_lossy(target));
        }
    }

    #[test]
    fn what_no_route_has_is_not_found() {
        for target in [&b"/v2/lib\\core/tags/list"[..], b"/v2/l\xc3\xa4b/tags/list", b"/v2/\xff/tags/list", b"/a#b"] {
            assert_eq!(inspect(target), Target::NotFound, "{:?}", String::from_utf8_lossy(target));
        }
    }

    #[test]
    fn escapes_that_hide_structure_are_seen() {
        for segment in ["a%2fb", "a%2Fb", "%2e%2e", "%5c", "%00", "a%252fb", "%0d%0a", "%7f", "%c3%a4"] {
            assert!(hides_structure(segment), "{segment}");
        }
        for segment in ["sha256%3Aab", "plain", "a.b", "%41", "%2B"] {
            assert!(!hides_structure(segment), "{segment}");
        }
    }

    proptest! {
        #[test]
        fn names_are_those_of_zots_expression(name in "[a-cA0-1._/-]{0,9}") {
            let component = "[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*";
            let grammar = regex::Regex::new(&format!("^{component}(?:/{component})*$")).unwrap();
            prop_assert_eq!(is_repository_name(&name), grammar.is_match(&name));
        }

        #[test]
        fn cleaning_is_stable_and_leaves_nothing_to_clean(path in "/[a-b./%2]{0,16}") {
            let cleaned = clean(&path);
            prop_assert_eq!(&clean(&cleaned), &cleaned);
            prop_assert!(!cleaned.contains("//"));
            prop_assert!(cleaned.split('/').all(|s| s != "." && s != ".."));
            prop_assert!(cleaned.starts_with('/'));
        }

        #[test]
        fn whatever_is_clean_is_sent_as_it_stands(target in prop::collection::vec(any::<u8>(), 0..24)) {
            if let Target::Clean { path, .. } = inspect(&target) {
                prop_assert!(target.starts_with(path.as_bytes()));
                prop_assert_eq!(clean(path), path);
            }
        }
    }
}
