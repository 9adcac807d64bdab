//! The patterns of zot's `accessControl`: `*` within a component of a name, `**` for any number of components.
//!
//! zot takes them from `bmatcuk/doublestar`; what of it a repository name can meet is here: `*`, `**`, `?`, `[…]` and `{a,b}`.

/// Whether a repository's name matches a pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    alternatives(pattern).iter().any(|pattern| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        components(&pattern, &name)
    })
}

/// The patterns without braces that a pattern with braces stands for.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let Some((choices, after)) = rest.split_once('}') else { return vec![pattern.to_owned()] };
    choices.split(',').flat_map(|choice| alternatives(&format!("{before}{choice}{after}"))).collect()
}

fn components(pattern: &[&str], name: &[&str]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((&"**", rest)) => (0..=name.len()).any(|skipped| components(rest, &name[skipped..])),
        Some((first, rest)) => name
            .split_first()
            .is_some_and(|(component, left)| within(first.as_bytes(), component.as_bytes()) && components(rest, left)),
    }
}

fn within(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', left)), _) => (0..=text.len()).any(|skipped| within(left, &text[skipped..])),
        (Some((b'?', left)), Some((_, rest))) => within(left, rest),
        (Some((b'[', left)), Some((byte, rest))) => match left.iter().position(|&end| end == b']') {
            Some(end) => in_class(&left[..end], *byte) && within(&left[end + 1..], rest),
            None => false,
        },
        (Some((expected, left)), Some((byte, rest))) => expected == byte && within(left, rest),
        (Some(_), None) => false,
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (negated, class) = match class.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let mut at = 0;
    while at < class.len() {
        if at + 2 < class.len() && class[at + 1] == b'-' {
            found |= (class[at]..=class[at + 2]).contains(&byte);
            at += 3;
        } else {
            found |= class[at] == byte;
            at += 1;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stars_span_components_and_one_does_not() {
        for (pattern, name, expected) in [
            ("**", "a/b/c", true),
            ("team-b/**", "team-b/charts/web", true),
            ("team-b/**", "team-b", true),
            ("team-b/**", "team-bc/x", false),
            ("lib", "lib", true),
            ("lib", "lib/core", false),
            ("*", "a/b", false),
            ("a/*/c", "a/b/c", true),
            ("**/web", "team-b/charts/web", true),
            ("l?b", "lib", true),
            ("[a-k]*", "lib", false),
            ("{lib,zot}*", "zot-test", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
