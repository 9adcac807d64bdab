//! Who is a member: what discovery has seen so far, made into a membership that does not move because a pod restarts.
//!
//! Membership is placement: a member that goes moves repositories, so it goes only when it is surely gone. No clock and no
//! I/O here.

use super::Member;
use crate::config::{Discovery, NodeConfig, Source};
use crate::fleet::NodeUrl;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The highest number that a hole is filled below: a name with a date in it is no ordinal.
const MOST_ORDINALS: u64 = 10_000;

/// What has been seen.
pub struct Roster {
    known: Vec<Known>,
    /// Fewer are not believed.
    at_least: usize,
    /// How long a member is missed before it is gone; `None` where whoever writes the list means it.
    forget_after: Option<Duration>,
}

#[derive(Debug)]
struct Known {
    member: Member,
    missing_since: Option<Instant>,
}

impl Roster {
    /// Nothing has been seen.
    pub fn new(discovery: &Discovery) -> Roster {
        let is_file = matches!(discovery.source(), Some(Source::File(_)));
        let forget_after = (!is_file).then_some(discovery.forget_after);
        Roster { known: Vec::new(), at_least: discovery.at_least, forget_after }
    }

    /// Takes in what there is now. Nothing at all is not believed.
    pub fn see(&mut self, seen: Vec<Member>, now: Instant) {
        if seen.is_empty() {
            return;
        }
        if self.forget_after.is_none() {
            if seen.len() >= self.at_least {
                self.known = seen.into_iter().map(|member| Known { member, missing_since: None }).collect();
            }
            return;
        }
        for known in &mut self.known {
            if !seen.iter().any(|member| member.node.name() == known.member.node.name()) {
                known.missing_since.get_or_insert(now);
                // Its address may be somebody else's by now.
                known.member.addresses = Some(Vec::new());
            }
        }
        for member in seen {
            let name = member.node.name();
            self.known.retain(|known| known.member.node.name() != name);
            self.known.push(Known { member, missing_since: None });
        }
        self.known.sort_by(|a, b| natural(&a.member.node.name(), &b.member.node.name()));
    }

    /// The members, in the order of placement; none as long as too few have been seen.
    pub fn members(&mut self, now: Instant) -> Vec<Member> {
        if let Some(forget_after) = self.forget_after {
            let highest = self.highest();
            let is_kept = |known: &Known| match known.missing_since {
                Some(since) => now < since + forget_after || is_hole(&known.member, &highest),
                None => true,
            };
            if self.known.iter().filter(|known| is_kept(known)).count() >= self.at_least {
                self.known.retain(is_kept);
            }
        }
        let members: Vec<Member> = self.known.iter().map(|known| known.member.clone()).collect();
        let members = if self.forget_after.is_some() { with_holes_filled(members) } else { members };
        if members.len() < self.at_least { Vec::new() } else { members }
    }

    /// When, after the members were looked at, the next one is gone, if it stays away.
    pub fn next_change(&self, looked: Instant) -> Option<Instant> {
        let forget_after = self.forget_after?;
        let highest = self.highest();
        let missing = self.known.iter().filter(|known| !is_hole(&known.member, &highest));
        let gone = missing.filter_map(|known| known.missing_since).map(|since| since + forget_after);
        gone.filter(|at| *at > looked).min()
    }

    /// The highest number of those that are there, by what is before it.
    fn highest(&self) -> BTreeMap<String, u64> {
        let mut highest = BTreeMap::new();
        for known in self.known.iter().filter(|known| known.missing_since.is_none()) {
            if let Some((before, number)) = ordinal(&known.member.node.name()) {
                let most: &mut u64 = highest.entry(before.to_owned()).or_default();
                *most = number.max(*most);
            }
        }
        highest
    }
}

/// Whether a member is missing below others: a StatefulSet shrinks from the top, so its pod is away and comes back.
fn is_hole(member: &Member, highest: &BTreeMap<String, u64>) -> bool {
    ordinal(&member.node.name())
        .is_some_and(|(before, number)| highest.get(before).is_some_and(|highest| number < *highest))
}

/// Puts in those of a StatefulSet that nobody has seen yet, between those that have been: they are away, too.
fn with_holes_filled(members: Vec<Member>) -> Vec<Member> {
    let mut whole: Vec<Member> = Vec::with_capacity(members.len());
    for member in members {
        let name = member.node.name();
        if let Some((before, number)) = ordinal(&name)
            && let Some((_, last)) = whole.last().and_then(|last| ordinal_of(last, before))
            && number <= MOST_ORDINALS
        {
            for missing in last + 1..number {
                whole.extend(sibling(&member, &name, &format!("{before}{missing}")));
            }
        }
        whole.push(member);
    }
    whole
}

fn ordinal_of<'a>(member: &Member, before: &'a str) -> Option<(&'a str, u64)> {
    let name = member.node.name();
    ordinal(&name).filter(|(other, _)| *other == before).map(|(_, number)| (before, number))
}

/// The same with another name, where that is the first label of its host.
fn sibling(member: &Member, name: &str, other: &str) -> Option<Member> {
    let url = String::from(member.node.url.clone()).replacen(&format!("//{name}."), &format!("//{other}."), 1);
    let url = NodeUrl::try_from(url).ok().filter(|url| *url != member.node.url)?;
    Some(Member { node: NodeConfig::at(Some(other.to_owned()), url), addresses: Some(Vec::new()) })
}

/// What is before the number at the end of a name, and the number: `zot-` and 10.
pub fn ordinal(name: &str) -> Option<(&str, u64)> {
    let before = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[before.len()..];
    // 01 is no ordinal: written again, it would be another name.
    let is_plain = digits == "0" || !digits.starts_with('0');
    (before.ends_with('-') && is_plain).then(|| Some((before, digits.parse().ok()?))).flatten()
}

/// Numbers in names count as numbers: zot-2 before zot-10.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    let piece = |text: &str| {
        let is_number = text.starts_with(|c: char| c.is_ascii_digit());
        text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len())
    };
    while !left.is_empty() && !right.is_empty() {
        let (first, second);
        (first, left) = left.split_at(piece(left));
        (second, right) = right.split_at(piece(right));
        let order = match (first.parse::<u64>(), second.parse::<u64>()) {
            (Ok(first), Ok(second)) => first.cmp(&second),
            _ => first.cmp(second),
        };
        if order.is_ne() {
            return order;
        }
    }
    // 01 and 1 are not the same name.
    (!left.is_empty()).cmp(&!right.is_empty()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORGET: Duration = Duration::from_secs(300);

    fn roster(at_least: usize) -> Roster {
        let dns = Some("_http._tcp.zot.test".to_owned());
        Roster::new(&Discovery { dns, at_least, forget_after: FORGET, ..Discovery::default() })
    }

    fn member(name: &str) -> Member {
        let url = NodeUrl::try_from(format!("http://{name}.zot.test:5000")).unwrap();
        let address = "192.0.2.1:5000".parse().unwrap();
        Member { node: NodeConfig::at(Some(name.to_owned()), url), addresses: Some(vec![address]) }
    }

    fn see(roster: &mut Roster, names: &str, now: Instant) -> String {
        roster.see(names.split_whitespace().map(member).collect(), now);
        shown(roster, now)
    }

    /// The members; those without an address in brackets.
    fn shown(roster: &mut Roster, now: Instant) -> String {
        let members = roster.members(now);
        let name = |member: &Member| match member.addresses.as_deref() {
            Some([]) => format!("({})", member.node.name()),
            _ => member.node.name(),
        };
        members.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    type Step = (u64, &'static str, &'static str);

    #[test]
    fn what_is_seen_becomes_a_membership_that_does_not_move_by_chance() {
        let start = Instant::now();
        // Each step: seconds since the start, what is seen, and the members after that.
        let tables: &[(&str, usize, &[Step])] = &[
            ("added", 1, &[(0, "zot-0 zot-1", "zot-0 zot-1"), (1, "zot-0 zot-1 zot-2", "zot-0 zot-1 zot-2")]),
            (
                "the order does not matter, numbers are numbers",
                1,
                &[
                    (
                        0,
                        "zot-10 zot-9 zot-2",
                        "zot-2 (zot-3) (zot-4) \
                (zot-5) (zot-6) (zot-7) (zot-8) zot-9 zot-10",
                    ),
                    (1, "b a zot-9 zot-2", "a b zot-2 (zot-3) (zot-4) (zot-5) (zot-6) (zot-7) (zot-8) zot-9 (zot-10)"),
                ],
            ),
            (
                "the last one is away for less than it is waited for",
                1,
                &[
                    (0, "zot-0 zot-1", "zot-0 zot-1"),
                    (10, "zot-0", "zot-0 (zot-1)"),
                    (309, "zot-0", "zot-0 (zot-1)"),
                    (309, "zot-1 zot-0", "zot-0 zot-1"),
                ],
            ),
            (
                "scaled down",
                1,
                &[(0, "zot-0 zot-1", "zot-0 zot-1"), (10, "zot-0", "zot-0 (zot-1)"), (310, "zot-0", "zot-0")],
            ),
            (
                "flapping: each absence counts by itself",
                1,
                &[
                    (0, "zot-0 zot-1", "zot-0 zot-1"),
                    (10, "zot-0", "zot-0 (zot-1)"),
                    (200, "zot-0 zot-1", "zot-0 zot-1"),
                    (210, "zot-0", "zot-0 (zot-1)"),
                    (400, "zot-0", "zot-0 (zot-1)"),
                    (510, "zot-0", "zot-0"),
                ],
            ),
            (
                "a hole is a pod that is away, however long",
                1,
                &[
                    (0, "zot-0 zot-1 zot-2", "zot-0 zot-1 zot-2"),
                    (10, "zot-0 zot-2", "zot-0 (zot-1) zot-2"),
                    (9999, "zot-0 zot-2", "zot-0 (zot-1) zot-2"),
                ],
            ),
            ("a hole from the beginning", 1, &[(0, "zot-0 zot-2", "zot-0 (zot-1) zot-2")]),
            (
                "renamed",
                1,
                &[
                    (0, "old-0 old-1", "old-0 old-1"),
                    (10, "new-0 new-1", "new-0 new-1 (old-0) (old-1)"),
                    (310, "new-0 new-1", "new-0 new-1"),
                ],
            ),
            (
                "nothing at all is not believed",
                1,
                &[(0, "", ""), (1, "zot-0", "zot-0"), (2, "", "zot-0"), (9999, "", "zot-0")],
            ),
            (
                "fewer than there must be are not believed",
                2,
                &[
                    (0, "zot-0", ""),
                    (1, "zot-0 zot-1", "zot-0 zot-1"),
                    (2, "zot-0", "zot-0 (zot-1)"),
                    (9999, "zot-0", "zot-0 (zot-1)"),
                ],
            ),
        ];
        for (what, at_least, steps) in tables {
            let mut roster = roster(*at_least);
            for (after, seen, members) in *steps {
                assert_eq!(see(&mut roster, seen, start + Duration::from_secs(*after)), *members, "{what}, {after} s");
            }
        }
    }

    #[test]
    fn somebody_looks_again_when_a_member_is_gone_and_not_for_a_hole() {
        let (mut roster, start) = (roster(1), Instant::now());
        see(&mut roster, "zot-0 zot-1 zot-2", start);
        assert_eq!(roster.next_change(start), None);
        see(&mut roster, "zot-0 zot-2", start);
        assert_eq!(roster.next_change(start), None);
        let later = start + Duration::from_secs(5);
        see(&mut roster, "zot-0", later);
        assert_eq!(roster.next_change(later), Some(start + FORGET));
        let gone = start + FORGET;
        // zot-1 has been away for longer, and zot-2 is not below any that is there.
        assert_eq!(shown(&mut roster, gone), "zot-0 (zot-1) (zot-2)");
        assert_eq!(roster.next_change(gone), Some(later + FORGET));
        assert_eq!(shown(&mut roster, later + FORGET), "zot-0");
    }

    #[test]
    fn a_file_means_what_it_says() {
        let file = Some("nodes.yaml".into());
        let mut roster = Roster::new(&Discovery { file, ..Discovery::default() });
        let now = Instant::now();
        assert_eq!(see(&mut roster, "zot-10 zot-2", now), "zot-10 zot-2");
        assert_eq!(see(&mut roster, "zot-2", now), "zot-2");
        assert_eq!((see(&mut roster, "", now).as_str(), roster.next_change(now)), ("zot-2", None));
    }

    #[test]
    fn only_a_plain_number_is_an_ordinal() {
        for (name, expected) in [
            ("zot-0", Some(("zot-", 0))),
            ("a-1-20", Some(("a-1-", 20))),
            ("zot-01", None),
            ("zot7", None),
            ("zot-", None),
            ("zot", None),
            ("zot-99999999999999999999999", None),
        ] {
            assert_eq!(ordinal(name), expected, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_order_of_names_is_total(names in proptest::collection::vec("[a-b0-2-]{0,5}", 3)) {
            let [a, b, c] = [&names[0], &names[1], &names[2]];
            proptest::prop_assert_eq!(natural(a, b), natural(b, a).reverse());
            proptest::prop_assert_eq!(natural(a, b).is_eq(), a == b);
            if natural(a, b).is_le() && natural(b, c).is_le() {
                proptest::prop_assert!(natural(a, c).is_le());
            }
        }
    }
}
