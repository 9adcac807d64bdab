//! A look at a GraphQL text before it is parsed: its bounds, and where its tokens are.
//!
//! Bounds come first, so that no parser recurses on hostile input. Positions are counted here because zot's parser
//! (gqlparser, `lexer/lexer.go`) and ours count columns differently, and error locations are the client's to compare.

use std::collections::HashMap;

/// Where a token is, as zot's parser counts: both from 1, columns in code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Why a text is not looked at further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// More tokens than allowed.
    #[error("the document has more than {0} tokens, which is more than this gateway plans")]
    Tokens(usize),
    /// Brackets nested deeper than allowed.
    #[error("the document nests deeper than {0} levels, which is more than this gateway plans")]
    Depth(usize),
}

/// The bounds of a document; the default ones are those of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most tokens.
    pub tokens: usize,
    /// The deepest nesting of braces, brackets and parentheses.
    pub depth: usize,
    /// The most fields of the root.
    pub root_fields: usize,
    /// The most selections, those of fragments counted as often as they are spread.
    pub selections: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { tokens: 10_000, depth: 50, root_fields: 32, selections: 10_000 }
    }
}

/// The positions of a text's tokens.
#[derive(Debug, Default)]
pub struct Positions {
    /// From `(line, column)` as graphql-parser counts them.
    by_parser: HashMap<(usize, usize), Location>,
}

impl Positions {
    /// The location of the token at a position of graphql-parser's.
    pub fn location(&self, position: graphql_parser::Pos) -> Option<Location> {
        self.by_parser.get(&(position.line, position.column)).copied()
    }
}

/// Both parsers' counters, side by side.
struct Cursor {
    parser: (usize, usize),
    line: usize,
    /// Code points from the start of the text.
    at: usize,
    line_start: usize,
}

impl Cursor {
    fn step(&mut self) {
        self.parser.1 += 1;
        self.at += 1;
    }

    /// A line feed inside a token (a block string): zot's parser counts the line, too.
    fn line_feed(&mut self) {
        self.parser = (self.parser.0 + 1, 1);
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }
}

/// Scans `text`.
///
/// # Errors
///
/// The text is out of bounds. What is no GraphQL is none of its business.
pub fn scan(text: &str, bounds: Bounds) -> Result<Positions, OutOfBounds> {
    let mut positions = Positions::default();
    let mut cursor = Cursor { parser: (1, 1), line: 1, at: 0, line_start: 0 };
    let mut depth = 0usize;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\u{feff}' => {
                cursor.at += 1;
                c.len_utf8()
            }
            ' ' | ',' => {
                cursor.step();
                1
            }
            '\t' => {
                cursor.parser.1 += 8;
                cursor.at += 1;
                1
            }
            '\n' => {
                cursor.line_feed();
                1
            }
            // zot's parser begins the next line behind the carriage return, and counts the line feed after it into it.
            '\r' => {
                cursor.at += 1;
                cursor.line += 1;
                cursor.line_start = cursor.at;
                if rest[1..].starts_with('\n') {
                    cursor.at += 1;
                    cursor.parser = (cursor.parser.0 + 1, 1);
                    2
                } else {
                    1
                }
            }
            '#' => {
                let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
                cursor.at += rest[..end].chars().count();
                if rest[end..].starts_with('\r') {
                    // Ours ends the comment, and the line, at the carriage return already.
                    cursor.parser = (cursor.parser.0 + 1, 1);
                }
                end
            }
            _ => {
                let here = Location { line: cursor.line, column: cursor.at - cursor.line_start + 1 };
                positions.by_parser.insert(cursor.parser, here);
                if positions.by_parser.len() > bounds.tokens {
                    return Err(OutOfBounds::Tokens(bounds.tokens));
                }
                match c {
                    '{' | '[' | '(' => depth += 1,
                    '}' | ']' | ')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth >= bounds.depth {
                    return Err(OutOfBounds::Depth(bounds.depth));
                }
                let length = token_length(rest, c);
                for c in rest[..length].chars() {
                    if c == '\n' { cursor.line_feed() } else { cursor.step() }
                }
                length
            }
        };
        rest = &rest[length..];
    }
    Ok(positions)
}

/// The length in bytes of the token that `rest` begins with.
fn token_length(rest: &str, first: char) -> usize {
    match first {
        '"' if rest.starts_with("\"\"\"") => {
            let mut end = 3;
            while let Some(quote) = rest[end..].find("\"\"\"") {
                end += quote;
                if !rest[..end].ends_with('\\') {
                    return end + 3;
                }
                end += 3;
            }
            rest.len()
        }
        '"' => {
            let mut escaped = false;
            for (at, c) in rest.char_indices().skip(1) {
                match c {
                    '"' if !escaped => return at + 1,
                    // A string does not go beyond its line.
                    '\n' | '\r' => return at,
                    _ => escaped = c == '\\' && !escaped,
                }
            }
            rest.len()
        }
        '.' if rest.starts_with("...") => 3,
        c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '+' || c == '-';
            rest.char_indices().skip(1).find(|&(_, c)| !is_part(c)).map_or(rest.len(), |(at, _)| at)
        }
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphql_parser::query::{Definition, OperationDefinition, Selection, parse_query};
    use proptest::prelude::*;

    fn scan(text: &str) -> Result<Positions, OutOfBounds> {
        super::scan(text, Bounds::default())
    }

    fn first_fields(text: &str) -> Vec<Location> {
        let positions = scan(text).unwrap();
        let document = parse_query::<String>(text).unwrap();
        let mut found = Vec::new();
        for definition in &document.definitions {
            let set = match definition {
                Definition::Operation(OperationDefinition::SelectionSet(set)) => set,
                Definition::Operation(OperationDefinition::Query(query)) => &query.selection_set,
                _ => continue,
            };
            for selection in &set.items {
                if let Selection::Field(field) = selection {
                    found.push(positions.location(field.position).unwrap());
                }
            }
        }
        found
    }

    #[test]
    fn columns_are_counted_as_zots_parser_counts_them() {
        let at = |line, column| Location { line, column };
        for (text, expected) in [
            ("{A}", vec![at(1, 2)]),
            ("{\n  a: A\n  b: B }", vec![at(2, 3), at(3, 3)]),
            ("{\tA ,B}", vec![at(1, 3), at(1, 6)]),
            ("\u{feff}{A}", vec![at(1, 3)]),
            ("{A(x:\"ä\u{1F600}\") B}", vec![at(1, 2), at(1, 12)]),
            ("# c\n{A}", vec![at(2, 2)]),
            ("{A(x:\"\"\"a\n b\"\"\") B}", vec![at(1, 2), at(2, 8)]),
            ("query Q($a:Int=-1){A(x:1.5e3) B}", vec![at(1, 20), at(1, 31)]),
            ("{A #c\n B}", vec![at(1, 2), at(2, 2)]),
            // Behind CR LF, the first column of zot's parser is 2.
            ("{\r\nA}", vec![at(2, 2)]),
        ] {
            assert_eq!(first_fields(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_parsed() {
        for open in ["{a", "[", "(", "{a(b:[{c:"] {
            let error = scan(&open.repeat(100_000)).unwrap_err();
            assert_eq!(error, OutOfBounds::Depth(50));
        }
        assert_eq!(scan(&"a ".repeat(20_000)).unwrap_err(), OutOfBounds::Tokens(10_000));
        assert!(scan(&format!("{}a{}", "{a".repeat(49), "}".repeat(49))).is_ok());
    }

    proptest! {
        #[test]
        fn every_field_that_the_parser_finds_has_a_location(text in "[{}a-b:()\"# \\n\\t,.!$1ä\\\\-]{0,40}") {
            let scanned = scan(&text);
            if parse_query::<String>(&text).is_ok() {
                prop_assert!(scanned.is_ok());
                first_fields(&text);
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,60}") {
            let _ = scan(&text);
        }
    }
}
