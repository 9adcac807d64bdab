//! What the two owners' answers come to, in zot's order: the first image that cannot be resolved or read is the answer,
//! then the first that cannot be scanned, then a bad page (zot `pkg/extensions/search/resolver.go`,
//! `getCVEDiffListForImages`; `pkg/extensions/search/cve/cve.go`, `GetCVEDiffListForImages`). Pure.

use super::Answers;
use crate::document::Field;
use crate::graphql::response::{Body, Error, member};
use crate::query::RESERVED;
use crate::scatter::{Failure, FailureKind, NodeAnswer};
use http::StatusCode;
use serde_json::value::RawValue;

/// The key of the hidden member that has the resolved image.
pub const RESOLVED: &str = "_oz_Minuend";
/// What a node says that does not scan (zot `errors/errors.go`).
const DISABLED: &str = "cve search is disabled";
/// What a node says that has no database of vulnerabilities yet.
const NO_DATABASE: &str = "cve-db is not present";
/// The words before an image that cannot be resolved. Of the difference with itself it is always the first one.
const UNRESOLVED: [&str; 2] = ["minuend image ", "subtrahend image "];

/// What settles the answer without a difference.
#[derive(Debug)]
pub enum Settled {
    /// The first owner's answer is the client's: it refuses the request.
    Refused,
    /// Errors, as JSON.
    Errors(Vec<String>),
    /// The user may not read one of the images: an empty result (and errors where the schema does not allow for it).
    Nothing,
    /// A node failed, or cannot know.
    Failed(Failure),
}

/// What one owner says.
#[derive(Debug)]
enum Said<'a> {
    /// The result.
    Result(&'a RawValue),
    /// The user may not read the image; the errors that this is for what the client selected.
    Nothing(Vec<String>),
    /// There is no result.
    Errors(Errors),
}

#[derive(Debug)]
struct Errors {
    /// What the first one says.
    message: String,
    /// All of them, as the client is shown them.
    shown: Vec<String>,
}

/// The results of both owners, or what settles the answer without them.
pub fn decide<'a>(answers: &'a Answers, field: &Field) -> Result<[&'a RawValue; 2], Settled> {
    let first = match &answers[0] {
        Err(failure) => return Err(Settled::Failed(failure.clone())),
        Ok(answer) if answer.status != StatusCode::OK => return Err(Settled::Refused),
        Ok(answer) => read(answer, field, 0).map_err(Settled::Failed)?,
    };
    let second = match &answers[1] {
        Err(failure) => Err(failure.clone()),
        // Where the other owner accepted the same, it is this one's failure.
        Ok(answer) if answer.status != StatusCode::OK => Err(Failure {
            node: answer.name.clone(),
            kind: FailureKind::Refused(answer.status),
            cause: "the other owner accepted the request".to_owned(),
        }),
        Ok(answer) => read(answer, field, 1),
    };
    // One zot either scans or does not.
    if let Ok(second) = &second {
        for (which, one, other) in [(0, &first, second), (1, second, &first)] {
            if one.says(DISABLED) && !other.says(DISABLED) {
                return Err(cannot_know(&answers[which], DISABLED));
            }
        }
    }
    let first = first.scanned()?;
    let second = second.map_err(Settled::Failed)?.scanned()?;
    // One zot has a database or has none, but says so only of what could be scanned.
    for (which, one, other) in [(0, &first, &second), (1, &second, &first)] {
        let Err(errors) = one else { continue };
        if errors.message == NO_DATABASE && !matches!(other, Err(other) if other.message == NO_DATABASE) {
            return Err(cannot_know(&answers[which], NO_DATABASE));
        }
        // The page is looked at when both images have been scanned.
        if which == 1 || !errors.is_about_page() {
            return Err(Settled::Errors(errors.shown.clone()));
        }
    }
    match (first, second) {
        (Ok(first), Ok(second)) => Ok([first, second]),
        (Err(errors), _) | (_, Err(errors)) => Err(Settled::Errors(errors.shown)),
    }
}

/// A node's failure: it says what the other owner does not.
fn cannot_know(answer: &Result<NodeAnswer, Failure>, message: &str) -> Settled {
    Settled::Failed(match answer {
        Err(failure) => failure.clone(),
        Ok(answer) => Failure {
            node: answer.name.clone(),
            kind: FailureKind::Said(message.to_owned()),
            cause: "the other owner of a difference scans".to_owned(),
        },
    })
}

impl Errors {
    /// zot `errors/errors.go`, `pkg/extensions/search/cve/pagination.go`.
    fn is_about_page(&self) -> bool {
        ["pagination ", "sorting CVEs by "].iter().any(|words| self.message.starts_with(words))
    }
}

impl<'a> Said<'a> {
    fn says(&self, what: &str) -> bool {
        matches!(self, Said::Errors(errors) if errors.message == what)
    }

    /// What came of scanning, if it was got as far as that.
    fn scanned(self) -> Result<Result<&'a RawValue, Errors>, Settled> {
        match self {
            Said::Result(result) => Ok(Ok(result)),
            Said::Nothing(shown) if shown.is_empty() => Err(Settled::Nothing),
            Said::Nothing(shown) => Err(Settled::Errors(shown)),
            Said::Errors(errors) if errors.message.starts_with(UNRESOLVED[0]) => Err(Settled::Errors(errors.shown)),
            Said::Errors(errors) => Ok(Err(errors)),
        }
    }
}

/// What the owner of the first (0) or second image says.
fn read<'a>(answer: &'a NodeAnswer, field: &Field, which: usize) -> Result<Said<'a>, Failure> {
    let body = Body::read(answer).map_err(|_| answer.unusable("not GraphQL"))?;
    if let Some(result) = body.data.and_then(|data| member(data, &field.key)) {
        return Ok(Said::Result(result));
    }
    let errors = body.errors.unwrap_or_default();
    let Some(first) = errors.first() else { return Err(answer.unusable("neither data nor errors")) };
    let is_hidden = |error: &Error| error.is_at(|key| key.starts_with(RESERVED));
    let shown = errors.iter().filter(|error| !is_hidden(error)).map(|error| in_place(error, field, which)).collect();
    // What is null in an empty result is an error of each member that must not be: of the hidden one, too.
    if errors.iter().any(is_hidden) {
        return Ok(Said::Nothing(shown));
    }
    Ok(Said::Errors(Errors { message: first.message().into_owned(), shown }))
}

/// An error with the client's location, of the image in its place.
fn in_place(error: &Error, field: &Field, which: usize) -> String {
    let text = error.at(field.location);
    if which == 0 || !error.message().starts_with(UNRESOLVED[0]) {
        return text;
    }
    let [minuend, subtrahend] = UNRESOLVED.map(|words| format!("\"message\":\"{words}"));
    text.replacen(&minuend, &subtrahend, 1)
}

/// The digest of the image that a result resolved.
pub fn digest_of(result: &RawValue) -> Option<String> {
    let digest = member(member(result, RESOLVED)?, "Digest")?;
    serde_json::from_str::<Option<String>>(digest.get()).ok()?.filter(|digest| !digest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Operation;
    use http::HeaderMap;
    use serde_json::{Map, json};

    /// The field `d`, which stands at line 1, column 4.
    fn field() -> Field {
        let text = "{  d:CVEDiffListForImages(minuend:{} subtrahend:{}){Page{TotalCount}}}";
        Operation::parse(text, None, Map::new(), crate::scan::Bounds::default()).unwrap().fields[0].clone()
    }

    fn answer(which: usize, status: u16, body: &str) -> Result<NodeAnswer, Failure> {
        Ok(NodeAnswer {
            node: which,
            name: format!("zot-{which}"),
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        })
    }

    /// What one of these words stands for, said by an owner.
    fn said(which: usize, what: &str) -> Result<NodeAnswer, Failure> {
        let error = |message: &str| json!({"errors": [{"message": message, "path": ["d"], "locations": [{"line": 9, "column": 9}]}], "data": null});
        let no = |key: &str| json!({"message": "the requested element is null", "path": ["d", key]});
        let body = match what {
            "found" => json!({"data": {"d": {"_oz_Minuend": {"Digest": "sha256:aa"}, "Page": null}}}),
            "unreadable" => json!({"errors": [no("_oz_Minuend")], "data": null}),
            "unreadable, shown" => json!({"errors": [no("_oz_Minuend"), no("m")], "data": null}),
            "down" => {
                let (node, kind) = (format!("zot-{which}"), FailureKind::Down);
                return Err(Failure { node, kind, cause: String::new() });
            }
            "forbidden" => return answer(which, 403, "{}"),
            "nonsense" => return answer(which, 200, "nonsense"),
            "unresolved" => error("minuend image x: \"message\":\"minuend image y"),
            message => error(message),
        };
        answer(which, 200, &body.to_string())
    }

    /// What settles it, in short.
    fn settled(first: &str, second: &str) -> String {
        let answers = [said(0, first), said(1, second)];
        match decide(&answers, &field()) {
            Ok([one, other]) => {
                assert_eq!([one, other].map(digest_of), [Some("sha256:aa".to_owned()), Some("sha256:aa".to_owned())]);
                "both".to_owned()
            }
            Err(Settled::Refused) => "refused".to_owned(),
            Err(Settled::Nothing) => "nothing".to_owned(),
            Err(Settled::Failed(failure)) => format!("{} {}", failure.node, failure.kind),
            Err(Settled::Errors(errors)) => errors.join(" "),
        }
    }

    #[test]
    fn the_first_obstacle_on_zots_way_is_the_answer() {
        let bad_page = "pagination limit has negative value";
        let says = |settled: &str, what: &str| settled.contains(&format!("\"message\":\"{what}\""));
        assert_eq!(settled("found", "found"), "both");
        for (first, second, expected) in [
            ("unreadable", "scan error: b", "nothing"),
            ("unreadable", "down", "nothing"),
            ("found", "unreadable", "nothing"),
            ("scan error: a", "unreadable", "nothing"),
            (bad_page, "unreadable", "nothing"),
            ("down", "unresolved", "zot-0 cannot be reached"),
            ("found", "down", "zot-1 cannot be reached"),
            ("scan error: a", "down", "zot-1 cannot be reached"),
            ("forbidden", "forbidden", "refused"),
            ("found", "forbidden", "zot-1 answered 403"),
            ("found", "nonsense", "zot-1 gave an answer that cannot be used"),
            (DISABLED, "found", "zot-0 says: cve search is disabled"),
            (DISABLED, "unresolved", "zot-0 says: cve search is disabled"),
            ("unresolved", DISABLED, "zot-1 says: cve search is disabled"),
            (NO_DATABASE, "found", "zot-0 says: cve-db is not present"),
            (NO_DATABASE, "scan error: b", "zot-0 says: cve-db is not present"),
            ("found", NO_DATABASE, "zot-1 says: cve-db is not present"),
            (bad_page, NO_DATABASE, "zot-1 says: cve-db is not present"),
            (NO_DATABASE, "unreadable", "nothing"),
        ] {
            assert_eq!(settled(first, second), expected, "{first}, {second}");
        }
        for (first, second, message) in [
            (DISABLED, DISABLED, DISABLED),
            (NO_DATABASE, NO_DATABASE, NO_DATABASE),
            ("scan error: a", "scan error: b", "scan error: a"),
            ("scan error: a", NO_DATABASE, "scan error: a"),
            ("found", "scan error: b", "scan error: b"),
            (bad_page, "scan error: b", "scan error: b"),
            (bad_page, "found", bad_page),
        ] {
            let settled = settled(first, second);
            assert!(says(&settled, message), "{first}, {second}: {settled}");
        }
    }

    #[test]
    fn images_that_are_not_resolved_are_named_in_their_place() {
        let of_first = settled("unresolved", "unresolved");
        assert!(of_first.contains(r#""message":"minuend image x: \"message\":\"minuend image y""#), "{of_first}");
        assert!(of_first.contains(r#""locations":[{"line":1,"column":4}]"#), "{of_first}");
        let of_second = settled("scan error: a", "unresolved");
        assert!(of_second.contains(r#""message":"subtrahend image x: \"message\":\"minuend image y""#), "{of_second}");
    }

    #[test]
    fn errors_of_hidden_members_are_not_shown() {
        for (first, second) in [("unreadable, shown", "found"), ("found", "unreadable, shown")] {
            let shown = settled(first, second);
            assert!(shown.contains(r#""path":["d","m"]"#) && !shown.contains(RESERVED), "{shown}");
        }
    }
}
