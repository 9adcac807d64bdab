//! The comparer's own test. A comparer that forgives everything proves nothing: each kind of damage, done to each
//! recorded answer to which it can be done, must be reported; and what may differ must be forgiven, and only then.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use support::compare::{Rules, Run, compare};
use support::document::{self, Field};
use support::golden::{self, Answer, Request};
use support::json::{self, Json};
use support::say;

/// How many places in one answer are damaged by one kind, spread over the answer.
const PLACES: usize = 4;

/// A request, what the one answered, and an answer that is as good: the same, or that of another server.
type Case = (Request, Answer, Answer);

/// Every recorded answer of the one, single and in flows, and some GraphQL ones, each as good as itself.
fn recorded() -> Vec<Case> {
    let answers = golden::answers("one");
    // Unpaged requests were only sent to the nodes. One document in twenty will do.
    let single = golden::requests().into_iter().filter(|request| !request.is_graphql() || request.n % 20 == 0);
    let single = single.filter_map(|request| Some((request.clone(), answers.get(&request.n)?.clone())));
    let steps = golden::flows().into_iter().flat_map(|flow| flow.steps);
    let samples = golden::graphql_samples().into_iter().map(|sample| (sample.request, sample.one));
    let itself = |(request, answer): (Request, Answer)| (request, answer.clone(), answer);
    single.chain(steps).chain(samples).map(itself).collect()
}

/// Answers that differ from the one's in what is free.
fn as_good() -> Vec<Case> {
    let samples = golden::graphql_samples().into_iter();
    let cases = samples.filter_map(|sample| Some((sample.request, sample.one, sample.owner?)));
    cases.filter(|(_, one, owner)| one != owner).collect()
}

/// The answer as it would be received: with what the recording leaves out.
fn received(request: &Request, answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    answer.headers.push(("date".to_owned(), "Sun, 22 Nov 2026 20:09:58 GMT".to_owned()));
    let framed = request.method == "HEAD" || answer.status == 204 || !answer.values("content-length").is_empty();
    if !framed {
        answer.headers.push(("content-length".to_owned(), answer.body.len().to_string()));
    }
    answer
}

/// Another body, announced as it is: the damage must be found in the body itself.
fn with_body(answer: &Answer, body: Vec<u8>) -> Answer {
    let mut damaged = answer.clone();
    for (name, value) in &mut damaged.headers {
        if name == "content-length" {
            *value = body.len().to_string();
        }
    }
    damaged.body = body;
    damaged
}

// --- damage to the bytes

fn with_header(answer: &Answer, index: usize, change: impl Fn(&str) -> String) -> Answer {
    let mut damaged = answer.clone();
    damaged.headers[index].1 = change(&damaged.headers[index].1);
    damaged
}

/// Indices of the headers that the recording has, and not only the answer on the wire.
fn compared_headers(answer: &Answer) -> Vec<usize> {
    let on_the_wire = ["date", "content-length"];
    (0..answer.headers.len()).filter(|i| !on_the_wire.contains(&answer.headers[*i].0.as_str())).collect()
}

fn header_named(answer: &Answer, name: &str) -> Option<usize> {
    answer.headers.iter().position(|(n, _)| n == name)
}

/// Changes the first digit or letter from the end that `change` changes.
fn change_last(text: &str, change: impl Fn(char) -> char) -> Option<String> {
    let mut chars: Vec<char> = text.chars().collect();
    let at = chars.iter().rposition(|c| change(*c) != *c)?;
    chars[at] = change(chars[at]);
    Some(chars.into_iter().collect())
}

fn other_case(c: char) -> char {
    if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
}

fn other_hex(c: char) -> char {
    match c {
        'f' => '0',
        '9' => 'a',
        '0'..='8' | 'a'..='e' => char::from(c as u8 + 1),
        c => c,
    }
}

fn replaced(answer: &Answer, from: &str, to: &str) -> Vec<Answer> {
    let Ok(text) = std::str::from_utf8(&answer.body) else { return Vec::new() };
    let places: Vec<usize> = text.match_indices(from).map(|(at, _)| at).collect();
    spread(&places)
        .map(|at| with_body(answer, [&text[..at], to, &text[at + from.len()..]].concat().into_bytes()))
        .collect()
}

fn spread<T: Copy>(places: &[T]) -> impl Iterator<Item = T> + '_ {
    let step = places.len().div_ceil(PLACES).max(1);
    places.iter().copied().step_by(step)
}

// --- damage to the tree

/// A way into a document: the index of the pair or of the item, at each level.
type Way = Vec<usize>;

/// A spot in a document.
struct Spot<'a> {
    way: Way,
    /// The keys on the way; items of lists have none.
    keys: Vec<&'a str>,
    value: &'a Json,
    /// The field of the request that stands behind the value, where one does.
    field: Option<&'a Field>,
}

fn spots<'a>(value: &'a Json, fields: &'a [Field]) -> Vec<Spot<'a>> {
    fn walk<'a>(spot: Spot<'a>, at_data: bool, fields: &'a [Field], into: &mut Vec<Spot<'a>>) {
        let inner = |index: usize| spot.way.iter().copied().chain([index]).collect::<Way>();
        match spot.value {
            Json::Scalar(_) => {}
            Json::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    let keys = spot.keys.clone();
                    walk(Spot { way: inner(index), keys, value, field: spot.field }, false, fields, into);
                }
            }
            Json::Object(pairs) => {
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let keys: Vec<&str> = spot.keys.iter().copied().chain([key.as_str()]).collect();
                    let known = if at_data { fields } else { spot.field.map_or(&[][..], |field| &field.fields) };
                    let field = known.iter().find(|field| field.key == *key);
                    let at_data = spot.way.is_empty() && key == "data";
                    walk(Spot { way: inner(index), keys, value, field }, at_data, fields, into);
                }
            }
        }
        into.push(spot);
    }
    let mut all = Vec::new();
    walk(Spot { way: Vec::new(), keys: Vec::new(), value, field: None }, false, fields, &mut all);
    all
}

fn at<'a>(value: &'a mut Json, way: &[usize]) -> &'a mut Json {
    way.iter().fold(value, |value, &index| match value {
        Json::Array(items) => &mut items[index],
        Json::Object(pairs) => &mut pairs[index].1,
        Json::Scalar(_) => panic!("no way leads on from a scalar"),
    })
}

/// Applies `edit` where it has something to change: at places spread over the document.
fn trees(request: &Request, answer: &Answer, edit: impl Fn(&Spot<'_>) -> Option<Json>) -> Vec<Answer> {
    let Some(document) = json::parse(&answer.body) else { return Vec::new() };
    if document.value.to_string().as_bytes() != answer.body {
        return Vec::new(); // written with blanks: the damage to bytes covers it
    }
    let fields = document::fields(request).unwrap_or_default();
    let edits: Vec<(Way, Json)> =
        spots(&document.value, &fields).iter().filter_map(|spot| Some((spot.way.clone(), edit(spot)?))).collect();
    let chosen: Vec<usize> = (0..edits.len()).collect();
    spread(&chosen)
        .map(|index| {
            let mut damaged = document.value.clone();
            *at(&mut damaged, &edits[index].0) = edits[index].1.clone();
            with_body(answer, damaged.to_string().into_bytes())
        })
        .collect()
}

fn items(spot: &Spot<'_>) -> Option<Vec<Json>> {
    spot.value.items().map(<[Json]>::to_vec)
}

fn pairs(spot: &Spot<'_>) -> Option<Vec<(String, Json)>> {
    match spot.value {
        Json::Object(pairs) => Some(pairs.clone()),
        _ => None,
    }
}

/// Lists whose order no run fixes, and the errors, whose order has its own kinds of damage.
fn order_is_free(spot: &Spot<'_>) -> bool {
    let name = spot.field.map_or("", |field| field.name.as_str());
    ["Annotations", "SignatureInfo", "Platforms", "Vendors"].contains(&name) || spot.keys == ["errors"]
}

/// Whether two items differ in everything that they show of what zot sorts by: then they cannot tie.
fn cannot_tie(spot: &Spot<'_>, one: &Json, other: &Json) -> bool {
    let keys = ["LastUpdated", "DownloadCount", "Rank"];
    let shown = spot.field.map_or(&[][..], |field| &field.fields).iter().filter(|f| keys.contains(&f.name.as_str()));
    one != other && shown.into_iter().all(|field| one.get(&field.key) != other.get(&field.key))
}

fn in_errors(spot: &Spot<'_>) -> bool {
    spot.keys.first() == Some(&"errors")
}

fn is_time(text: &str) -> bool {
    text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.starts_with("20")
}

fn text(inside: &str) -> Json {
    Json::Scalar(format!("\"{inside}\""))
}

// --- the kinds

type Damage = fn(&Request, &Answer) -> Vec<Answer>;

/// Every kind of damage, by name.
const KINDS: &[(&str, Damage)] = &[
    // the status
    ("another status", |_, a| vec![Answer { status: if a.status == 500 { 502 } else { 500 }, ..a.clone() }]),
    ("another status of the same hundred", |_, a| vec![Answer { status: a.status ^ 1, ..a.clone() }]),
    // the header
    ("a dropped header", |_, a| {
        let drop = |index| {
            let mut damaged = a.clone();
            damaged.headers.remove(index);
            damaged
        };
        compared_headers(a).into_iter().map(drop).collect()
    }),
    ("a changed value of a header", |_, a| {
        compared_headers(a).into_iter().map(|index| with_header(a, index, |value| format!("{value}x"))).collect()
    }),
    ("another case in the value of a header", |_, a| {
        let change = |index: usize| {
            let changed = change_last(&a.headers[index].1, other_case)?;
            Some(with_header(a, index, |_| changed.clone()))
        };
        compared_headers(a).into_iter().filter_map(change).collect()
    }),
    ("a header twice", |_, a| {
        let twice = |index: usize| {
            let mut damaged = a.clone();
            damaged.headers.push(a.headers[index].clone());
            damaged
        };
        compared_headers(a).into_iter().map(twice).collect()
    }),
    ("an additional header", |_, a| {
        let add = |name: &str| {
            let mut damaged = a.clone();
            damaged.headers.push((name.to_owned(), "1".to_owned()));
            damaged
        };
        ["x-powered-by", "server", "via", "etag", "warning"].map(add).to_vec()
    }),
    ("an additional Link", |_, a| {
        let mut damaged = a.clone();
        damaged.headers.push(("link".to_owned(), "</v2/_catalog?n=1&last=lib>; rel=\"next\"".to_owned()));
        vec![damaged]
    }),
    ("a dropped Link", |_, a| {
        let drop = |index| {
            let mut damaged = a.clone();
            damaged.headers.remove(index);
            damaged
        };
        header_named(a, "link").map(drop).into_iter().collect()
    }),
    ("a changed Link", |_, a| {
        let Some(index) = header_named(a, "link") else { return Vec::new() };
        let changes: [fn(&str) -> String; 3] = [
            |link| link.replace("last=", "last=a"),
            |link| link.replace("n=", "n=1"),
            |link| link.replace("</v2", "<http://node-0:5000/v2"),
        ];
        changes.map(|change| with_header(a, index, change)).to_vec()
    }),
    ("another Content-Type", |_, a| {
        let Some(index) = header_named(a, "content-type") else { return Vec::new() };
        vec![with_header(a, index, |value| format!("{value}; charset=utf-16"))]
    }),
    ("another Docker-Content-Digest", |_, a| {
        let Some(index) = header_named(a, "docker-content-digest") else { return Vec::new() };
        vec![with_header(a, index, |value| change_last(value, other_hex).unwrap())]
    }),
    ("a Location at a node", |_, a| {
        let Some(index) = header_named(a, "location") else { return Vec::new() };
        vec![with_header(a, index, |location| format!("http://127.0.0.1:5001{location}"))]
    }),
    ("a Location with a broken session", |_, a| {
        let index = header_named(a, "location").filter(|index| a.headers[*index].1.contains("/uploads/"));
        index
            .map(|index| with_header(a, index, |location| location[..location.len() - 1].to_owned()))
            .into_iter()
            .collect()
    }),
    ("a cookie of another name", |_, a| {
        let cookies = (0..a.headers.len()).filter(|index| a.headers[*index].0 == "set-cookie");
        cookies.map(|index| with_header(a, index, |cookie| format!("x{cookie}"))).collect()
    }),
    ("a cookie without its flags", |_, a| {
        let cookies = (0..a.headers.len()).filter(|index| a.headers[*index].0 == "set-cookie");
        cookies.map(|index| with_header(a, index, |cookie| cookie.split(';').next().unwrap().to_owned())).collect()
    }),
    ("a wrong Content-Length", |r, a| match header_named(a, "content-length") {
        Some(index) => vec![
            with_header(a, index, |length| (length.parse::<u64>().unwrap() + 1).to_string()),
            with_header(a, index, |_| "x".to_owned()),
        ],
        None => {
            assert!(r.method == "HEAD" || a.status == 204);
            let mut damaged = a.clone();
            damaged.headers.push(("content-length".to_owned(), "0".to_owned()));
            vec![damaged]
        }
    }),
    ("no Content-Length of a HEAD", |r, a| {
        let drop = |index| {
            let mut damaged = a.clone();
            damaged.headers.remove(index);
            damaged
        };
        header_named(a, "content-length").filter(|_| r.method == "HEAD").map(drop).into_iter().collect()
    }),
    ("two framings of the body", |_, a| {
        let mut damaged = a.clone();
        damaged.headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
        if a.values("content-length").is_empty() { Vec::new() } else { vec![damaged] }
    }),
    // the bytes of the body
    ("an empty body", |_, a| if a.body.is_empty() { Vec::new() } else { vec![with_body(a, Vec::new())] }),
    ("a body where there is none", |_, a| {
        if a.body.is_empty() { vec![with_body(a, b"{}".to_vec()), with_body(a, b"\n".to_vec())] } else { Vec::new() }
    }),
    ("a truncated body", |_, a| {
        let cuts = [a.body.len() / 2, a.body.len().saturating_sub(1)];
        let cuts = cuts.into_iter().filter(|cut| *cut < a.body.len());
        cuts.map(|cut| with_body(a, a.body[..cut].to_vec())).collect()
    }),
    ("a trailing newline", |_, a| vec![with_body(a, [&a.body[..], b"\n"].concat())]),
    ("a body twice", |_, a| {
        if a.body.is_empty() { Vec::new() } else { vec![with_body(a, [&a.body[..], &a.body[..]].concat())] }
    }),
    ("a changed byte", |_, a| {
        let step = a.body.len().div_ceil(4 * PLACES).max(1);
        let places: Vec<usize> = (0..a.body.len()).step_by(step).filter(|at| !is_drawn_anew(&a.body, *at)).collect();
        let change = |at: usize| {
            let mut body = a.body.clone();
            body[at] = body[at].wrapping_add(1);
            with_body(a, body)
        };
        spread(&places).map(change).collect()
    }),
    ("another case in the body", |_, a| {
        let Ok(text) = std::str::from_utf8(&a.body) else { return Vec::new() };
        change_last(text, other_case).map(|changed| with_body(a, changed.into_bytes())).into_iter().collect()
    }),
    ("a blank after a colon", |_, a| replaced(a, "\":", "\": ")),
    ("an unescaped <", |_, a| replaced(a, "\\u003c", "<")),
    ("an unescaped >", |_, a| replaced(a, "\\u003e", ">")),
    ("another digest in the body", |_, a| {
        let Ok(text) = std::str::from_utf8(&a.body) else { return Vec::new() };
        let places: Vec<usize> = text.match_indices("sha256:").map(|(at, _)| at + 10).collect();
        let change = |at: usize| {
            let digit = text[at..].chars().next()?;
            let changed = Some(other_hex(digit)).filter(|changed| *changed != digit)?;
            Some(with_body(a, [&text[..at], &changed.to_string(), &text[at + 1..]].concat().into_bytes()))
        };
        spread(&places).filter_map(change).collect()
    }),
    // lists
    ("a lost item", |r, a| {
        trees(r, a, |spot| {
            let mut items = items(spot)?;
            items.pop()?;
            Some(Json::Array(items))
        })
    }),
    ("a lost first item", |r, a| {
        trees(r, a, |spot| items(spot).filter(|items| !items.is_empty()).map(|items| Json::Array(items[1..].to_vec())))
    }),
    ("an item twice", |r, a| {
        trees(r, a, |spot| {
            let mut items = items(spot)?;
            items.push(items.last()?.clone());
            Some(Json::Array(items))
        })
    }),
    ("an item in the place of another", |r, a| {
        trees(r, a, |spot| {
            let mut items = items(spot)?;
            let last = items.last()?.clone();
            let other = items.iter().position(|item| *item != last)?;
            // Two items may show the same but for the time of the run.
            (!item_shows_only_times(&last)).then(|| items[other] = last)?;
            Some(Json::Array(items))
        })
    }),
    ("two items swapped that do not tie", |r, a| {
        trees(r, a, |spot| {
            let mut items = items(spot).filter(|_| !order_is_free(spot))?;
            let other = (1..items.len()).rev().find(|other| cannot_tie(spot, &items[0], &items[*other]))?;
            items.swap(0, other);
            (!item_shows_only_times(&items[0])).then_some(Json::Array(items))
        })
    }),
    ("null for []", |r, a| {
        trees(r, a, |spot| items(spot).filter(Vec::is_empty).map(|_| Json::Scalar("null".to_owned())))
    }),
    ("[] for null", |r, a| trees(r, a, |spot| spot.value.is_null().then(|| Json::Array(Vec::new())))),
    // objects
    ("a missing key", |r, a| {
        trees(r, a, |spot| {
            let mut pairs = pairs(spot)?;
            pairs.pop()?;
            Some(Json::Object(pairs))
        })
    }),
    ("an extra key", |r, a| {
        trees(r, a, |spot| {
            let mut pairs = pairs(spot)?;
            pairs.push(("_oz_LastUpdated".to_owned(), Json::Scalar("null".to_owned())));
            Some(Json::Object(pairs))
        })
    }),
    ("a key twice", |r, a| {
        trees(r, a, |spot| {
            let mut pairs = pairs(spot)?;
            pairs.push(pairs.first()?.clone());
            Some(Json::Object(pairs))
        })
    }),
    ("another order of keys", |r, a| {
        trees(r, a, |spot| {
            let mut pairs = pairs(spot).filter(|pairs| pairs.len() > 1)?;
            pairs.rotate_left(1);
            Some(Json::Object(pairs))
        })
    }),
    ("errors after data", |r, a| {
        trees(r, a, |spot| {
            let mut pairs = pairs(spot).filter(|pairs| pairs.len() > 1 && pairs[0].0 == "errors")?;
            pairs.rotate_left(1);
            spot.way.is_empty().then_some(Json::Object(pairs))
        })
    }),
    // scalars
    ("a total off by one", |r, a| {
        trees(r, a, |spot| {
            let name = spot.field.map_or("", |field| field.name.as_str());
            let Json::Scalar(raw) = spot.value else { return None };
            let number: i64 = raw.parse().ok().filter(|_| matches!(name, "TotalCount" | "ItemCount"))?;
            Some(Json::Scalar((number + 1).to_string()))
        })
    }),
    ("a number off by one", |r, a| {
        trees(r, a, |spot| {
            let Json::Scalar(raw) = spot.value else { return None };
            Some(Json::Scalar((raw.parse::<i64>().ok()? - 1).to_string()))
        })
    }),
    ("a number for a text", |r, a| {
        trees(r, a, |spot| spot.value.text()?.parse::<u64>().ok().map(|number| Json::Scalar(number.to_string())))
    }),
    ("a text for a number", |r, a| {
        trees(r, a, |spot| match spot.value {
            Json::Scalar(raw) => raw.parse::<i64>().ok().map(|_| text(raw)),
            _ => None,
        })
    }),
    ("true for false", |r, a| {
        trees(r, a, |spot| match spot.value {
            Json::Scalar(raw) if raw == "true" => Some(Json::Scalar("false".to_owned())),
            Json::Scalar(raw) if raw == "false" => Some(Json::Scalar("true".to_owned())),
            _ => None,
        })
    }),
    ("null for a value", |r, a| trees(r, a, |spot| (!spot.value.is_null()).then(|| Json::Scalar("null".to_owned())))),
    ("an empty text for null", |r, a| trees(r, a, |spot| spot.value.is_null().then(|| text("")))),
    ("a blank at the end of a text", |r, a| {
        trees(r, a, |spot| spot.value.text().map(|inside| text(&format!("{inside} "))))
    }),
    ("a time in another format", |r, a| {
        trees(r, a, |spot| {
            let time = spot.value.text().filter(|time| is_time(time))?;
            Some(text(&format!("{}+00:00", time.trim_end_matches('Z'))))
        })
    }),
    ("a time as a number", |r, a| {
        trees(r, a, |spot| {
            spot.value.text().filter(|time| is_time(time)).map(|_| Json::Scalar("1795378198".to_owned()))
        })
    }),
    ("a time of another run", |r, a| {
        trees(r, a, |spot| {
            let time = spot.value.text().filter(|time| is_time(time))?;
            Some(text(&format!("2031{}", &time[4..])))
        })
    }),
    ("a time that is never", |r, a| {
        trees(r, a, |spot| spot.value.text().filter(|time| is_time(time)).map(|_| text("1970-01-01T00:00:00Z")))
    }),
    ("a moment for a time that is never", |r, a| {
        trees(r, a, |spot| {
            spot.value.text().filter(|time| *time == "1970-01-01T00:00:00Z").map(|_| text("2026-11-22T20:30:00Z"))
        })
    }),
    ("the time of an image a second later", |r, a| {
        trees(r, a, |spot| {
            let time = spot.value.text().filter(|time| is_time(time) && !time.starts_with("2026-11-22T"))?;
            let second = if &time[18..19] == "9" { "8" } else { "9" };
            Some(text(&format!("{}{second}{}", &time[..18], &time[19..])))
        })
    }),
    // errors
    ("a changed message", |r, a| {
        trees(r, a, |spot| {
            let message = spot.value.text().filter(|_| in_errors(spot) && spot.keys.last() == Some(&"message"))?;
            Some(text(&format!("{message}.")))
        })
    }),
    ("a changed code", |r, a| {
        trees(r, a, |spot| {
            let code = spot.value.text().filter(|_| spot.keys.last() == Some(&"code"))?;
            Some(text(&format!("{code}_")))
        })
    }),
    ("a wrong location in an error", |r, a| {
        trees(r, a, |spot| {
            let Json::Scalar(raw) = spot.value else { return None };
            let place = in_errors(spot) && matches!(spot.keys.last(), Some(&"line" | &"column"));
            place.then(|| Json::Scalar((raw.parse::<u64>().unwrap() + 7).to_string()))
        })
    }),
    ("a wrong path in an error", |r, a| {
        trees(r, a, |spot| {
            let step = spot.value.text().filter(|_| in_errors(spot) && spot.keys.last() == Some(&"path"))?;
            Some(text(&format!("_oz_{step}")))
        })
    }),
    ("a lost error", |r, a| {
        trees(r, a, |spot| {
            let mut errors = items(spot).filter(|_| spot.keys == ["errors"])?;
            errors.pop()?;
            Some(Json::Array(errors))
        })
    }),
    ("an extra error", |r, a| {
        trees(r, a, |spot| {
            let mut errors = items(spot).filter(|_| spot.keys == ["errors"])?;
            errors.insert(0, Json::Object(vec![("message".to_owned(), text("node-1 cannot be reached"))]));
            Some(Json::Array(errors))
        })
    }),
    ("an error of a field twice, and one of another lost", |r, a| {
        trees(r, a, |spot| {
            let mut errors = items(spot).filter(|errors| spot.keys == ["errors"] && errors.len() > 1)?;
            let first = errors[0].clone();
            let last = errors.last_mut()?;
            (*last != first).then(|| *last = first)?;
            Some(Json::Array(errors))
        })
    }),
    ("two errors of no field swapped", |r, a| {
        trees(r, a, |spot| {
            let mut errors = items(spot).filter(|errors| spot.keys == ["errors"] && errors.len() > 1)?;
            let last = errors.len() - 1;
            let of_a_field = errors[0].get("path").is_some() || errors[last].get("path").is_some();
            (!of_a_field && errors[0] != errors[last]).then(|| errors.swap(0, last))?;
            Some(Json::Array(errors))
        })
    }),
    ("errors without their data", |r, a| {
        trees(r, a, |spot| {
            let pairs =
                pairs(spot).filter(|pairs| spot.way.is_empty() && pairs.len() == 2 && pairs[0].0 == "errors")?;
            Some(Json::Object(pairs[..1].to_vec()))
        })
    }),
    ("data in the place of null", |r, a| {
        trees(r, a, |spot| (spot.keys == ["data"] && spot.value.is_null()).then(|| Json::Object(Vec::new())))
    }),
];

/// Whether a byte is near a time of the run or the id of a session, where another digit may be another such.
fn is_drawn_anew(body: &[u8], at: usize) -> bool {
    let around = &body[at.saturating_sub(60)..(at + 60).min(body.len())];
    [&b"\"2026-11-22T2"[..], b"\"session_id\""]
        .iter()
        .any(|mark| around.windows(mark.len()).any(|window| window == *mark))
}

/// Whether all that an item shows are times of the run: such items cannot be told apart.
fn item_shows_only_times(item: &Json) -> bool {
    match item {
        Json::Scalar(raw) => raw.starts_with("\"2026-11-22T2"),
        Json::Array(items) => items.iter().all(item_shows_only_times),
        Json::Object(pairs) => pairs.iter().all(|(_, value)| item_shows_only_times(value)),
    }
}

#[test]
fn every_kind_of_damage_is_reported() {
    let cases: Vec<Case> = recorded().into_iter().chain(as_good()).collect();
    let (mut table, mut missed) = (String::new(), String::new());
    let mut total = 0;
    writeln!(table, "damaged answers  kind").unwrap();
    for (kind, damage) in KINDS {
        let mut done = 0;
        for (request, expected, answer) in &cases {
            let whole = received(request, answer);
            for damaged in damage(request, &whole) {
                done += 1;
                assert_ne!(damaged, whole, "{kind} does nothing to {}", request.name());
                for rules in [Rules::RECORDED, Rules::REPLAY] {
                    if compare(request, expected, &damaged, rules).is_empty() {
                        let text = |answer: &Answer| String::from_utf8_lossy(&answer.body).into_owned();
                        let (name, headers) = (request.name(), &damaged.headers);
                        let bodies = format!("{}\n  {}", text(expected), text(&damaged));
                        writeln!(missed, "{kind}: {name} {rules:?}\n  {bodies}\n  {headers:?}").unwrap();
                    }
                }
            }
        }
        writeln!(table, "{done:15}  {kind}").unwrap();
        assert!(done > 0, "no recorded answer can have this damage: {kind}");
        total += done;
    }
    say(&format!("{table}{total:15}  all, {} kinds, {} answers", KINDS.len(), cases.len()));
    assert!(missed.is_empty(), "not reported:\n{missed}");
}

#[test]
fn a_recorded_answer_is_equal_to_itself() {
    for (request, answer, _) in recorded() {
        let mut received = received(&request, &answer);
        for rules in [Rules::RECORDED, Rules::REPLAY] {
            assert_eq!(compare(&request, &answer, &received, rules), [], "{}", request.name());
        }
        let own = [("x-onezot-node", "node-1"), ("connection", "keep-alive")];
        received.headers.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(compare(&request, &answer, &received, Rules::RECORDED), [], "{}", request.name());
    }
}

/// Two servers with the same content: the freedoms are all that is between them.
#[test]
fn what_the_owner_of_a_repository_answered_is_what_the_one_answered() {
    let (mut same, mut other) = (0, 0);
    for sample in golden::graphql_samples() {
        let Some(owner) = sample.owner else { continue };
        let received = received(&sample.request, &owner);
        assert_eq!(compare(&sample.request, &sample.one, &received, Rules::RECORDED), [], "{}", sample.request.name());
        if owner == sample.one {
            same += 1;
        } else {
            other += 1;
            assert_ne!(
                compare(&sample.request, &sample.one, &received, Rules::REPLAY),
                [],
                "{}",
                sample.request.name()
            );
        }
    }
    say(&format!("the owner's answers: {same} equal to the one's byte for byte, {other} but for what is free"));
    assert!(other > 0);
}

/// The freedoms hang on the fields that the comparer finds behind the keys of an answer.
#[test]
fn the_fields_behind_all_keys_are_found() {
    let mut keys = 0;
    for sample in golden::graphql_samples() {
        let Some(document) = json::parse(&sample.one.body) else { continue };
        let fields = document::fields(&sample.request).unwrap_or_default();
        for spot in spots(&document.value, &fields) {
            if spot.keys.first() == Some(&"data") && spot.keys.len() > 1 {
                keys += 1;
                assert!(spot.field.is_some(), "{}: {}", sample.request.name(), spot.keys.join("."));
            }
        }
    }
    assert!(keys > 1000, "{keys}");
}

fn request(path: &str) -> Request {
    Request {
        n: 0,
        ids: vec!["made up".to_owned()],
        kind: "sent".to_owned(),
        user: None,
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: None,
    }
}

fn answer(header: &[(&str, &str)], body: &str) -> Answer {
    let headers = header.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer { status: 200, headers, body: body.as_bytes().to_vec() }
}

/// The places at which two answers differ.
fn differ(path: &str, expected: &Answer, actual: &Answer, rules: Rules) -> Vec<String> {
    compare(&request(path), expected, actual, rules).into_iter().map(|difference| difference.at).collect()
}

fn search(query: &str) -> String {
    let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    format!("/v2/_zot/ext/search?query={query}")
}

#[test]
fn what_each_run_draws_anew_is_free_in_its_place_only() {
    let cases = [
        ("set-cookie", "session=abc; Path=/; Max-Age=7200", "session=xyz; Path=/; Max-Age=7200", true),
        ("set-cookie", "session=abc; Path=/; Max-Age=7200", "session=; Path=/; Max-Age=7200", false),
        ("set-cookie", "session=abc; Path=/; Max-Age=7200", "session=xyz; Path=/; Max-Age=7201", false),
        ("set-cookie", "session=; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0", "session=; Max-Age=0", false),
        ("set-cookie", "a=b; Expires=A GMT; Max-Age=9", "a=b; Expires=B GMT; Max-Age=9", true),
        ("set-cookie", "user=bob", "user=alice", false),
        (
            "location",
            "/v2/a/blobs/uploads/9a5b9b6a-436a-4bc3-ab15-567577be11ed",
            "/v2/a/blobs/uploads/03a720e1-10e2-4a9c-9fc9-a7ce5bbd4699",
            true,
        ),
        (
            "location",
            "/v2/a/blobs/uploads/9a5b9b6a-436a-4bc3-ab15-567577be11ed",
            "/v2/b/blobs/uploads/03a720e1-10e2-4a9c-9fc9-a7ce5bbd4699",
            false,
        ),
        ("location", "/v2/a/blobs/uploads/9a5b9b6a-436a-4bc3-ab15-567577be11ed", "/v2/a/blobs/uploads/nosuch", false),
        ("docker-upload-uuid", "9a5b9b6a-436a-4bc3-ab15-567577be11ed", "03a720e1-10e2-4a9c-9fc9-a7ce5bbd4699", true),
        ("etag", "9a5b9b6a-436a-4bc3-ab15-567577be11ed", "03a720e1-10e2-4a9c-9fc9-a7ce5bbd4699", false),
    ];
    for (name, want, got, free) in cases {
        let (want, got) = (answer(&[(name, want)], ""), answer(&[(name, got)], ""));
        assert_eq!(differ("/v2/", &want, &got, Rules::RECORDED).is_empty(), free, "{want:?} {got:?}");
        assert_eq!(differ("/v2/", &want, &got, Rules::REPLAY), [format!("header {name}")]);
    }
    let detail = |id: &str| answer(&[], &format!(r#"{{"errors":[{{"code":"X","detail":{{"session_id":"{id}"}}}}]}}"#));
    let want = detail("9a5b9b6a-436a-4bc3-ab15-567577be11ed");
    let got = detail("03a720e1-10e2-4a9c-9fc9-a7ce5bbd4699");
    assert!(differ("/v2/", &want, &got, Rules::RECORDED).is_empty());
    assert_eq!(differ("/v2/", &want, &got, Rules::REPLAY), ["$.errors[0].detail.session_id"]);
    assert_eq!(differ("/v2/", &want, &detail("nosuch"), Rules::RECORDED), ["$.errors[0].detail.session_id"]);
}

#[test]
fn times_of_the_run_are_free_where_they_are_times_of_the_run() {
    let path = search("{RepoListWithNewestImage{Results{at:LastUpdated NewestImage{LastUpdated when:PushTimestamp}}}}");
    let body = |repository: &str, image: &str, push: &str| {
        answer(
            &[],
            &format!(
                r#"{{"data":{{"RepoListWithNewestImage":{{"Results":[{{"at":"{repository}","NewestImage":{{"LastUpdated":"{image}","when":"{push}"}}}}]}}}}}}"#
            ),
        )
    };
    let at = "$.data.RepoListWithNewestImage.Results[0]";
    let want = body("2026-11-22T20:10:00.123Z", "2022-02-02T02:02:02Z", "2026-11-22T20:10:01Z");
    let later = body("2026-11-22T20:11:00Z", "2022-02-02T02:02:02Z", "2026-11-22T20:11:01.5Z");
    assert!(differ(&path, &want, &later, Rules::RECORDED).is_empty());
    assert_eq!(differ(&path, &want, &later, Rules::REPLAY), [format!("{at}.at"), format!("{at}.NewestImage.when")]);
    let image = body("2026-11-22T20:10:00.123Z", "2022-02-02T02:02:03Z", "2026-11-22T20:10:01Z");
    assert_eq!(differ(&path, &want, &image, Rules::RECORDED), [format!("{at}.NewestImage.LastUpdated")]);
    let want_now = body("2026-11-22T20:10:00Z", "2026-11-22T20:10:00Z", "2026-11-22T20:10:00Z");
    let image_now = body("2026-11-22T20:10:00Z", "2026-11-22T20:10:01Z", "2026-11-22T20:10:00Z");
    assert_eq!(differ(&path, &want_now, &image_now, Rules::RECORDED), [format!("{at}.NewestImage.LastUpdated")]);
    let other_run = body("2027-01-01T00:00:00Z", "2022-02-02T02:02:02Z", "2027-01-01T00:00:00Z");
    assert_eq!(differ(&path, &want, &other_run, Rules::RECORDED).len(), 2);
    let run = Some(Run { from: "2027-01-01T00:00:00", to: "2027-01-02T00:00:00" });
    let now = Rules { run, ..Rules::RECORDED };
    assert!(differ(&path, &want, &other_run, now).is_empty());
}

#[test]
fn items_that_tie_may_change_places_with_each_other_only() {
    let path = search(
        "{ImageList(repo:\"\",requestedPage:{sortBy:DOWNLOADS}){Page{TotalCount}Results{t:Tag n:DownloadCount}}}",
    );
    let body = |items: &[(&str, u32)]| {
        let items: Vec<String> = items.iter().map(|(t, n)| format!(r#"{{"t":"{t}","n":{n}}}"#)).collect();
        let page = r#""Page":{"TotalCount":4}"#;
        answer(&[], &format!(r#"{{"data":{{"ImageList":{{{page},"Results":[{}]}}}}}}"#, items.join(",")))
    };
    let want = body(&[("a", 3), ("b", 2), ("c", 2), ("d", 2), ("e", 1)]);
    let check = |items: &[(&str, u32)]| differ(&path, &want, &body(items), Rules::RECORDED);
    assert!(check(&[("a", 3), ("d", 2), ("b", 2), ("c", 2), ("e", 1)]).is_empty());
    assert_eq!(
        differ(&path, &want, &body(&[("a", 3), ("d", 2), ("b", 2), ("c", 2), ("e", 1)]), Rules::REPLAY).len(),
        3
    );
    let left_its_run = check(&[("d", 2), ("b", 2), ("c", 2), ("a", 3), ("e", 1)]);
    let at = "$.data.ImageList.Results";
    assert_eq!(left_its_run, [format!("{at}[0].t"), format!("{at}[0].n"), format!("{at}[3].t"), format!("{at}[3].n")]);
    assert_eq!(check(&[("a", 3), ("b", 2), ("b", 2), ("d", 2), ("e", 1)]), ["$.data.ImageList.Results[2].t"]);
    assert!(!check(&[("a", 3), ("b", 2), ("c", 2), ("d", 2)]).is_empty());
    // Without the key in the answer nobody can say whether items tie.
    let skipped =
        "{ImageList(repo:\"\",requestedPage:{sortBy:DOWNLOADS}){Results{t:Tag n:DownloadCount@skip(if:true)}}}";
    for query in ["{ImageList(repo:\"\",requestedPage:{sortBy:DOWNLOADS}){Results{t:Tag}}}", skipped] {
        let body = |tags: &str| answer(&[], &format!(r#"{{"data":{{"ImageList":{{"Results":[{tags}]}}}}}}"#));
        let (want, got) = (body(r#"{"t":"a"},{"t":"b"}"#), body(r#"{"t":"b"},{"t":"a"}"#));
        assert_eq!(differ(&search(query), &want, &got, Rules::RECORDED).len(), 2, "{query}");
    }
}

#[test]
fn what_comes_out_of_maps_has_no_order_under_any_alias() {
    let path = search(
        "query($s:Boolean!){Image(image:\"a:1\"){...F sigs:SignatureInfo@skip(if:$s){Tool} Layers{Size}}} \
         fragment F on ImageSummary{Manifests{Platform{Os} notes:Annotations{Key}}}",
    );
    let body = |notes: &str, layers: &str| {
        let manifests = format!(r#""Manifests":[{{"Platform":{{"Os":"linux"}},"notes":[{notes}]}}]"#);
        let signatures = r#""sigs":[{"Tool":"cosign"}]"#;
        answer(&[], &format!(r#"{{"data":{{"Image":{{{manifests},{signatures},"Layers":[{layers}]}}}}}}"#))
    };
    let (ab, ba) = (r#"{"Key":"a"},{"Key":"b"}"#, r#"{"Key":"b"},{"Key":"a"}"#);
    let (one_two, two_one) = (r#"{"Size":1},{"Size":2}"#, r#"{"Size":2},{"Size":1}"#);
    let want = body(ab, one_two);
    assert!(differ(&path, &want, &body(ba, one_two), Rules::RECORDED).is_empty());
    assert_eq!(differ(&path, &want, &body(ab, two_one), Rules::RECORDED).len(), 2);
    assert_eq!(
        differ(&path, &want, &body(r#"{"Key":"b"},{"Key":"b"}"#, one_two), Rules::RECORDED),
        ["$.data.Image.Manifests[0].notes[0].Key"]
    );
}

#[test]
fn errors_of_different_fields_may_come_in_any_order() {
    let error = |path: &str, message: &str| format!(r#"{{"message":"{message}","path":["{path}"]}}"#);
    let body = |errors: &[String]| answer(&[], &format!(r#"{{"errors":[{}],"data":null}}"#, errors.join(",")));
    let (a1, a2, b) = (error("a", "1"), error("a", "2"), error("b", "1"));
    let path = search("{a:Image(image:\"x:1\"){Tag} b:Image(image:\"y:1\"){Tag}}");
    let want = body(&[a1.clone(), a2.clone(), b.clone()]);
    assert!(differ(&path, &want, &body(&[b.clone(), a1.clone(), a2.clone()]), Rules::RECORDED).is_empty());
    assert!(!differ(&path, &want, &body(&[a2.clone(), a1.clone(), b.clone()]), Rules::RECORDED).is_empty());
    assert_eq!(differ(&path, &want, &body(&[a1.clone(), a2.clone()]), Rules::RECORDED), ["$.errors[2]"]);
    // Elsewhere the order of errors counts.
    assert!(!differ("/v2/", &want, &body(&[b, a1, a2]), Rules::RECORDED).is_empty());
}
