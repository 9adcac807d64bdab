//! When an index of which only some manifests are shown was last updated.
//!
//! zot takes the time that the index is annotated with; without, the time that the first manifest shown is annotated
//! with (or its configuration labelled); without, the newest of the manifests shown (zot
//! `pkg/extensions/search/convert/metadb.go`, `ImageIndex2ImageSummary`). Nodes tell none of these annotations, but what
//! comes of them for other choices of the manifests: enough to tell, but for rare coincidences.

use jiff::Timestamp;

/// When something was updated; `None` if that is unknown, which is before all times.
pub type Time = Option<Timestamp>;

/// What is known of the update time for a choice of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The manifests, by their place in the index, in its order.
    pub shown: Vec<usize>,
    /// The update time of the index with these.
    pub updated: Time,
}

/// The update times that an index may have with the manifests `shown`, by what was observed of it; the most likely one
/// first. `manifests` are the update times of all its manifests.
pub fn possible(manifests: &[Time], observations: &[Observation], shown: &[usize]) -> Vec<Time> {
    let time = |manifest: usize| manifests.get(manifest).copied().flatten();
    let newest = |shown: &[usize]| shown.iter().map(|&manifest| time(manifest)).max().flatten();
    let Some(&first) = shown.first() else { return vec![None] };
    if let Some(same) = observations.iter().find(|observation| observation.shown == shown) {
        return vec![same.updated];
    }
    let mut possible = Vec::new();
    // Either no annotation of the index counts …
    let by_manifests = observations.iter().all(|observation| {
        let Observation { shown, updated } = observation;
        *updated == newest(shown) || shown.first().is_some_and(|&first| *updated == time(first))
    });
    if by_manifests {
        // … and what is known of the first manifest says whether its own does,
        let of_first = observations.iter().filter(|observation| observation.shown.first() == Some(&first));
        let is_annotated = of_first
            .filter(|observation| newest(&observation.shown) != time(first))
            .map(|observation| observation.updated == time(first))
            .next();
        match is_annotated {
            Some(true) => possible.push(time(first)),
            Some(false) => possible.push(newest(shown)),
            // (manifests of one index are mostly made alike)
            None => {
                let mut either = [newest(shown), time(first)];
                let annotated = observations.iter().any(|o| o.updated != newest(&o.shown));
                if annotated {
                    either.reverse();
                }
                possible.extend(either);
            }
        }
    }
    // … or it is the same time whatever is shown.
    if let Some(observation) = observations.first()
        && observations.iter().all(|other| other.updated == observation.updated)
    {
        possible.push(observation.updated);
    }
    let mut once: Vec<Time> = Vec::new();
    for time in possible {
        if !once.contains(&time) {
            once.push(time);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Time {
        Some(Timestamp::from_second(second).unwrap())
    }

    fn seen(shown: &[usize], updated: Time) -> Observation {
        Observation { shown: shown.to_vec(), updated }
    }

    #[test]
    fn an_annotated_index_keeps_its_time() {
        let manifests = [at(1), at(2), at(3)];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(9))], &[1, 2]), [at(9)]);
    }

    #[test]
    fn the_first_manifest_shown_counts_if_it_is_annotated() {
        let manifests = [at(1), at(2), at(3)];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(1))], &[0, 1]), [at(1)]);
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(3)), seen(&[1, 2], at(2))], &[1, 2]), [at(2)]);
    }

    #[test]
    fn else_the_newest_counts() {
        let manifests = [at(1), at(2), None];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2], at(2)), seen(&[0], at(1))], &[0, 2]), [at(1)]);
        assert_eq!(possible(&[None, None], &[seen(&[0, 1], None)], &[1]), [None]);
    }

    #[test]
    fn what_is_not_known_of_the_first_is_taken_from_its_siblings() {
        let manifests = [at(1), at(2), at(3), at(4)];
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2, 3], at(4))], &[1, 2]), [at(3), at(2), at(4)]);
        assert_eq!(possible(&manifests, &[seen(&[0, 1, 2, 3], at(1))], &[1, 2]), [at(2), at(3), at(1)]);
    }

    proptest! {
        #[test]
        fn the_truth_is_possible(
            manifests in prop::collection::vec((prop::option::of(0..4i64), any::<bool>()), 1..6),
            index in prop::option::of(0..4i64),
            choices in prop::collection::vec(1..64usize, 1..5),
        ) {
            let times: Vec<Time> = manifests.iter().map(|(time, _)| time.and_then(at)).collect();
            let truth = |shown: &[usize]| match index {
                Some(index) => at(index),
                None if manifests[shown[0]].1 && times[shown[0]].is_some() => times[shown[0]],
                None => shown.iter().map(|&manifest| times[manifest]).max().flatten(),
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
            // With an observation of the same choice there is no doubt.
            observations.push(seen(&shown, truth(&shown)));
            let found = possible(&times, &observations, &shown);
            prop_assert_eq!(found.first(), Some(&truth(&shown)));
        }
    }
}
