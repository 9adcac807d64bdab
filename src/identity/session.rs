//! The cookies of a session: what zot sets at a login, and what the browser holds instead.
//!
//! A browser keeps some 4 KiB in one cookie. What is sealed for many nodes is more than that, so that it is cut into
//! `session`, `session-2` and so on; the first says how many there are.

use super::seal::{Bundle, Purpose, Seal, now};
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

/// The cookie of zot's web UI (zot `pkg/api/authn.go`, `saveUserLoggedSession`).
const SESSION: &str = "session";
/// The other one, which tells the UI who is logged in.
const USER: &str = "user";
/// What a sealed session begins with, before the number of its cookies.
const SEALED: &str = "oz1-";
/// The largest value of one cookie. Browsers take 4096 bytes, of which some are for its name and attributes.
const PIECE: usize = 3900;
/// How many cookies a session may have.
const PIECES_MOST: usize = 8;

/// How the line of a cookie ends that is to be forgotten, as zot writes it.
const FORGET: &str = "Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly";

/// The cookies of a request, in their order.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// The number of a cookie of a session, from 1; `None` if it is another cookie.
fn number(name: &str) -> Option<usize> {
    match name.strip_prefix(SESSION)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse().ok().filter(|number| *number > 1),
    }
}

/// The first cookie of a session: a zot reads no other of this name.
fn first(headers: &HeaderMap) -> Option<&str> {
    cookies(headers).find(|(name, _)| *name == SESSION).map(|(_, value)| value)
}

/// Whether a request brings a session that is sealed.
pub fn is_sealed(headers: &HeaderMap) -> bool {
    first(headers).is_some_and(|value| value.starts_with(SEALED))
}

/// Whether a request brings any session.
pub fn is_there(headers: &HeaderMap) -> bool {
    first(headers).is_some()
}

/// Opens the session of a request; `None` if there is none, or none that can be opened.
pub fn open(seal: &Seal, headers: &HeaderMap) -> Option<Bundle> {
    let (pieces, start) = first(headers)?.strip_prefix(SEALED)?.split_once('.')?;
    let pieces: usize = pieces.parse().ok().filter(|pieces| (1..=PIECES_MOST).contains(pieces))?;
    let mut sealed = start.to_owned();
    for wanted in 2..=pieces {
        let (_, piece) = cookies(headers).find(|(name, _)| number(name) == Some(wanted))?;
        sealed.push_str(piece);
    }
    seal.open(Purpose::Session, &sealed)
}

/// The cookies of a request with this session in place of its own; `None` if nothing is left.
pub fn replaced(headers: &HeaderMap, session: Option<&str>) -> Option<HeaderValue> {
    let others = cookies(headers).filter(|(name, _)| number(name).is_none());
    let pairs: Vec<String> = session
        .map(|session| (SESSION, session))
        .into_iter()
        .chain(others)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut line = HeaderValue::from_str(&pairs.join("; ")).ok().filter(|_| !pairs.is_empty())?;
    line.set_sensitive(true);
    Some(line)
}

/// The value of the session that an answer sets, and the attributes behind it; an empty value ends a session.
fn set(headers: &HeaderMap) -> Option<(&str, &str)> {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.rev().find_map(|line| {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, value) = pair.split_once('=')?;
        (name.trim() == SESSION).then_some((value.trim(), attributes.trim()))
    })
}

/// The session that an answer begins: its value, and its attributes.
pub fn begun(headers: &HeaderMap) -> Option<(&str, &str)> {
    set(headers).filter(|(value, _)| !value.is_empty())
}

/// Whether an answer ends a session: its node does not know it, or not any more.
pub fn is_ended(headers: &HeaderMap) -> bool {
    set(headers).is_some_and(|(value, _)| value.is_empty())
}

/// How many seconds a session lasts by its attributes.
pub fn life(attributes: &str) -> Option<u64> {
    attributes.split(';').find_map(|attribute| {
        let (name, value) = attribute.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.parse().ok()).flatten()
    })
}

/// Takes the session out of an answer; other cookies stay.
pub fn take(headers: &mut HeaderMap) {
    retain(headers, |name| name != SESSION.as_bytes());
}

/// Takes all cookies out of an answer but those of zot's web UI: whoever else sets one, such as what stands before a node,
/// means that node.
pub fn keep_zots_cookies(headers: &mut HeaderMap) {
    retain(headers, |name| name == SESSION.as_bytes() || name == USER.as_bytes());
}

fn retain(headers: &mut HeaderMap, is_kept: impl Fn(&[u8]) -> bool) {
    let name =
        |line: &HeaderValue| line.as_bytes().split(|byte| *byte == b'=').next().map(|name| is_kept(name.trim_ascii()));
    let kept: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|line| name(line) == Some(true)).cloned().collect();
    headers.remove(SET_COOKIE);
    for line in kept {
        headers.append(SET_COOKIE, line);
    }
}

/// Marks all cookies that an answer sets as such for TLS only.
pub fn secure(headers: &mut HeaderMap) {
    let secured = |line: &HeaderValue| {
        let text = line.to_str().ok()?;
        let is_secure = text.split(';').any(|attribute| attribute.trim().eq_ignore_ascii_case("secure"));
        if is_secure { None } else { HeaderValue::from_str(&format!("{text}; Secure")).ok() }
    };
    let lines: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().map(|line| secured(line).unwrap_or_else(|| line.clone())).collect();
    headers.remove(SET_COOKIE);
    for line in lines {
        headers.append(SET_COOKIE, line);
    }
}

/// Writes a session into an answer, with the attributes that a node gave its own. `client` is the header of the request:
/// cookies that it has and that are not needed any more are cleared.
///
/// # Errors
///
/// It needs more cookies than browsers are asked to keep.
pub fn write(
    seal: &Seal,
    mut bundle: Bundle,
    attributes: &str,
    client: &HeaderMap,
    answer: &mut HeaderMap,
) -> Result<(), String> {
    if let Some(life) = life(attributes) {
        bundle.expires = now().saturating_add(life);
    }
    let sealed = seal.seal(Purpose::Session, &bundle).ok_or("it cannot be sealed")?;
    let pieces: Vec<&str> =
        sealed.as_bytes().chunks(PIECE).map(|piece| std::str::from_utf8(piece).unwrap_or_default()).collect();
    if pieces.len() > PIECES_MOST {
        return Err(format!("it would need {} cookies, and browsers get {PIECES_MOST} at most", pieces.len()));
    }
    // A zot names it before the user.
    let others: Vec<HeaderValue> = answer.get_all(SET_COOKIE).iter().cloned().collect();
    answer.remove(SET_COOKIE);
    for (index, piece) in pieces.iter().enumerate() {
        let pair = match index {
            0 => format!("{SESSION}={SEALED}{}.{piece}", pieces.len()),
            _ => format!("{SESSION}-{}={piece}", index + 1),
        };
        append(answer, &format!("{pair}; {attributes}"));
    }
    for line in others {
        answer.append(SET_COOKIE, line);
    }
    forget_beyond(pieces.len(), client, answer);
    Ok(())
}

/// Clears the further cookies of a session that a request brings.
pub fn forget(client: &HeaderMap, answer: &mut HeaderMap) {
    forget_beyond(1, client, answer);
}

fn forget_beyond(pieces: usize, client: &HeaderMap, answer: &mut HeaderMap) {
    for (name, _) in cookies(client).filter(|(name, _)| number(name).is_some_and(|number| number > pieces)) {
        append(answer, &format!("{name}=; {FORGET}"));
    }
}

fn append(answer: &mut HeaderMap, line: &str) {
    if let Ok(mut line) = HeaderValue::from_str(line) {
        line.set_sensitive(true);
        answer.append(SET_COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::SealKey;
    use super::*;

    const ATTRIBUTES: &str = "Path=/; Expires=Wed, 25 Nov 2099 17:03:10 GMT; Max-Age=7200; HttpOnly";

    fn seal() -> Seal {
        Seal::new(&[SealKey::from_file(&[7; 40]).unwrap()]).unwrap()
    }

    fn header(name: http::HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_str(line).unwrap())).collect()
    }

    /// What the browser sends after this answer, having sent these cookies before.
    fn browser(before: &str, answer: &HeaderMap) -> String {
        let mut held: Vec<(String, String)> =
            before.split("; ").filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        for line in answer.get_all(SET_COOKIE) {
            let (pair, rest) = line.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            held.retain(|(held, _)| held != name);
            if !rest.contains("1970") {
                held.push((name.into(), value.into()));
            }
        }
        held.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn login(nodes: usize, before: &str) -> (String, HeaderMap) {
        let mut bundle = Bundle::default();
        for node in 0..nodes {
            // As long as those of a zot.
            bundle.insert(&format!("zot-{node}"), &"MTc5".repeat(40));
        }
        let mut answer = HeaderMap::new();
        write(&seal(), bundle, ATTRIBUTES, &header(COOKIE, &[before]), &mut answer).unwrap();
        (browser(before, &answer), answer)
    }

    #[test]
    fn sizes() {
        let mut said = Vec::new();
        for (nodes, cookies) in [(3, 1), (10, 1), (30, 2), (100, 5)] {
            let (held, answer) = login(nodes, "");
            assert_eq!(answer.len(), cookies, "{nodes}");
            for line in answer.get_all(SET_COOKIE) {
                let line = line.to_str().unwrap();
                assert!(line.len() <= 4096 && line.ends_with(ATTRIBUTES), "{line}");
            }
            let headers = header(COOKIE, &[&held]);
            let opened = open(&seal(), &headers).unwrap();
            assert_eq!(opened.part("zot-1"), Some(&*"MTc5".repeat(40)));
            said.push((nodes, held.len()));
        }
        // What the README says.
        assert_eq!(said, [(3, 597), (10, 1810), (30, 5289), (100, 17458)]);
        let mut bundle = Bundle::default();
        for node in 0..200 {
            bundle.insert(&format!("zot-{node}"), &"MTc5".repeat(40));
        }
        let error = write(&seal(), bundle, ATTRIBUTES, &HeaderMap::new(), &mut HeaderMap::new()).unwrap_err();
        assert!(error.contains("cookies"), "{error}");
    }

    #[test]
    fn pieces_of_an_earlier_session_go() {
        let (many, _) = login(30, "theme=dark");
        assert!(many.contains("session-2=") && many.contains("theme=dark"));
        let (few, answer) = login(3, &many);
        assert!(!few.contains("session-2"), "{answer:?}");
        assert!(open(&seal(), &header(COOKIE, &[&few])).is_some());
        // A browser that keeps it all the same does no harm, and one that lost a piece is logged out.
        let stale = format!("{few}; session-2=AAAA");
        assert!(open(&seal(), &header(COOKIE, &[&stale])).is_some());
        let lost = many.split("; ").filter(|pair| !pair.starts_with("session-2")).collect::<Vec<_>>().join("; ");
        assert!(open(&seal(), &header(COOKIE, &[&lost])).is_none());
    }

    #[test]
    fn a_node_gets_its_own_session_and_the_other_cookies() {
        let headers = header(COOKIE, &["a=1; session=x; session-2=y; b=2", "session-x=z"]);
        let line = |session| replaced(&headers, session).map(|line| line.to_str().unwrap().to_owned());
        assert_eq!(line(Some("s==")).unwrap(), "session=s==; a=1; b=2; session-x=z");
        assert_eq!(line(None).unwrap(), "a=1; b=2; session-x=z");
        assert_eq!(replaced(&header(COOKIE, &["session=x"]), None), None);
        assert!(format!("{:?}", replaced(&headers, Some("s"))).contains("Sensitive"));
    }

    #[test]
    fn what_an_answer_does_with_the_session() {
        let answer = |line: &str| header(SET_COOKIE, &["user=a; Path=/", line, "other=1"]);
        let begins = answer(&format!("session=abc==; {ATTRIBUTES}"));
        assert_eq!(begun(&begins), Some(("abc==", ATTRIBUTES)));
        assert_eq!(life(ATTRIBUTES), Some(7200));
        assert!(!is_ended(&begins));
        let mut ends = answer("session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly");
        assert!(is_ended(&ends) && begun(&ends).is_none());
        take(&mut ends);
        assert!(!is_ended(&ends));
        secure(&mut ends);
        let lines: Vec<&str> = ends.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, ["user=a; Path=/; Secure", "other=1; Secure"]);
        assert!(!is_ended(&answer("sessions=; Path=/")));
    }
}
