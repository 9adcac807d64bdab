//! When an index of which only some manifests are shown was last updated.
//!
//! zot takes the time that the index is annotated with; without, the time that the first manifest shown is annotated
//! with (or its configuration labelled); without, the newest of the manifests shown (zot
//! `pkg/extensions/search/convert/metadb.go`, `ImageIndex2ImageSummary`). Nodes tell none of these annotations, but what
//! comes of them for other choices of the manifests: enough to tell, but for rare coincidences.

use super::annotations::Annotated;
use crate::items::time_of;
use jiff::Timestamp;

/// When something was updated, as a node wrote it: the same time in another zone is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time<'a> {
    /// The JSON.
    pub text: &'a str,
    /// The time; `None` if it is unknown, which is before all times.
    pub at: Option<Timestamp>,
}

impl<'a> Time<'a> {
    /// Reads it.
    pub fn read(text: &'a str) -> Time<'a> {
        Time { text, at: time_of(text) }
    }
}

/// What is known of the update time for a choice of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The manifests, by their place in the index, in its order.
    pub shown: Vec<usize>,
    /// The update time of the index with these.
    pub updated: Time<'a>,
}

/// The update times that an index may have with the manifests `shown`, by what was observed of it; the most likely one
/// first. `manifests` are the update times of all its manifests.
pub fn possible<'a>(manifests: &[Time<'a>], observations: &[Observation<'a>], shown: &[usize]) -> Vec<Time<'a>> {
    if let Some(same) = observations.iter().find(|observation| observation.shown == shown) {
        return vec![same.updated];
    }
    let first = |shown: &[usize]| shown.first().and_then(|&first| manifests.get(first)).copied();
    let newest = |shown: &[usize]| newest(manifests, shown);
    let Some(of_first) = first(shown) else { return Vec::new() };
    let mut possible = Vec::new();
    // Either no annotation of the index counts …
    let by_manifests = observations
        .iter()
        .all(|Observation { shown, updated }| *updated == newest(shown) || Some(*updated) == first(shown));
    if by_manifests {
        // … and what is known of the first manifest says whether its own does,
        let is_annotated = observations
            .iter()
            .filter(|seen| seen.shown.first() == shown.first() && newest(&seen.shown) != of_first)
            .map(|seen| seen.updated == of_first)
            .next();
        match is_annotated {
            Some(true) => possible.push(of_first),
            Some(false) => possible.push(newest(shown)),
            // (manifests of one index are mostly made alike)
            None if observations.iter().any(|seen| seen.updated != newest(&seen.shown)) => {
                possible.extend([of_first, newest(shown)]);
            }
            None => possible.extend([newest(shown), of_first]),
        }
    }
    // … or it is the same time whatever is shown.
    if let Some(seen) = observations.first()
        && observations.iter().all(|other| other.updated == seen.updated)
    {
        possible.push(seen.updated);
    }
    let mut once: Vec<Time> = Vec::new();
    for time in possible {
        if !once.contains(&time) {
            once.push(time);
        }
    }
    once
}

/// The update time of an index with the manifests `shown`, by what is annotated. What was observed has the time that the
/// index is annotated with, as a node writes it.
pub fn decided<'a>(
    manifests: &[Time<'a>],
    observations: &[Observation<'a>],
    shown: &[usize],
    annotated: Annotated,
) -> Time<'a> {
    let of_index = observations.first().filter(|_| annotated.index).map(|seen| seen.updated);
    let of_first = shown.first().filter(|_| annotated.first).and_then(|&first| manifests.get(first)).copied();
    of_index.or(of_first).unwrap_or_else(|| newest(manifests, shown))
}

/// The newest of some manifests; of several with the same time the first. Without any time it is the year 1, which is
/// written as null.
fn newest<'a>(manifests: &[Time<'a>], shown: &[usize]) -> Time<'a> {
    let times = shown.iter().filter_map(|&manifest| manifests.get(manifest));
    times.fold(Time::read("null"), |newest, time| if newest.at < time.at { *time } else { newest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The second and third are one time in two zones.
    const TIMES: [&str; 5] = [
        "null",
        "\"2024-01-01T00:00:00Z\"",
        "\"2024-01-01T01:00:00+01:00\"",
        "\"2024-02-01T00:00:00Z\"",
        "\"2099-01-01T00:00:00Z\"",
    ];
    const NONE: Time = Time { text: "null", at: None };

    fn at(which: usize) -> Time<'static> {
        Time::read(TIMES[which])
    }

    fn seen<'a>(shown: &[usize], updated: Time<'a>) -> Observation<'a> {
        Observation { shown: shown.to_vec(), updated }
    }

    #[test]
    fn an_annotated_index_keeps_its_time() {
        let manifests = [at(1), at(3), at(3)];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(4))], &[1, 2]), [at(4)]);
        // The same time as that of a manifest, but not in its words.
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(2))], &[1, 2]), [at(2)]);
    }

    #[test]
    fn the_first_manifest_shown_counts_if_it_is_annotated() {
        let manifests = [at(1), at(3), at(4)];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(1)), seen(&[1], at(3))], &[0, 1]), [at(1)]);
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(4)), seen(&[1, 2], at(3))], &[1, 2]), [at(3)]);
    }

    #[test]
    fn else_the_newest_counts() {
        let manifests = [at(1), at(3), NONE];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(3)), seen(&[0], at(1))], &[0, 2]), [at(1)]);
        assert_eq!(possible(&[NONE, NONE], &[seen(&[0, 1], NONE)], &[1]), [NONE]);
    }

    #[test]
    fn what_is_not_known_of_the_first_is_taken_from_its_siblings() {
        let manifests = [at(1), at(1), at(3), at(4)];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2, 3], at(4)), seen(&[0], at(1))], &[1, 2]), [at(3), at(1)]);
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2, 3], at(1)), seen(&[2, 3], at(3))], &[1, 2]), [at(1), at(3)]);
    }

    proptest! {
        #[test]
        fn the_truth_is_possible(
            manifests in prop::collection::vec((0..5usize, any::<bool>()), 1..6),
            index in prop::option::of(1..5usize),
            choices in prop::collection::vec(1..64usize, 1..5),
        ) {
            let times: Vec<Time> = manifests.iter().map(|(time, _)| at(*time)).collect();
            let truth = |shown: &[usize]| match index {
                Some(index) => at(index),
                None if manifests[shown[0]].1 && times[shown[0]].at.is_some() => times[shown[0]],
                None => {
                    let mut newest = NONE;
                    for &manifest in shown {
                        if newest.at < times[manifest].at {
                            newest = times[manifest];
                        }
                    }
                    newest
                }
            };
            let all: Vec<usize> = (0..manifests.len()).collect();
            let choose = |bits: usize| -> Vec<usize> {
                let chosen: Vec<usize> = all.iter().copied().filter(|manifest| bits >> manifest & 1 == 1).collect();
                if chosen.is_empty() { all.clone() } else { chosen }
            };
            let mut observations = vec![seen(&all, truth(&all))];
            observations.extend(choices[1..].iter().map(|&bits| seen(&choose(bits), truth(&choose(bits)))));
            let shown = choose(choices[0]);
            let found = possible(&times, &observations, &shown);
            prop_assert!(found.contains(&truth(&shown)), "{found:?}");
            let annotated =
                Annotated { index: index.is_some(), first: manifests[shown[0]].1 && times[shown[0]].at.is_some() };
            prop_assert_eq!(decided(&times, &observations, &shown, annotated), truth(&shown));
            // With an observation of the same choice there is no doubt.
            observations.push(seen(&shown, truth(&shown)));
            let found = possible(&times, &observations, &shown);
            prop_assert_eq!(found.first(), Some(&truth(&shown)));
        }
    }
}
