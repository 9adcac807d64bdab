//! The differential suite for `ONEZOT_MINUTES`, a round for each seed from `ONEZOT_SEED` on: documents, sequences and
//! placements in turn. It ends by itself, or with the first round in which something differs.

use super::demo_replay::Set;
use super::documents::{self, About};
use super::sides::number;
use super::{FLEETS, beside, made, placements, sequences};
use std::time::{Duration, Instant};

/// How many documents and sequences a round has for each fleet.
const DOCUMENTS: u64 = 150;
const SEQUENCES: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn rounds_for_as_long_as_is_said() {
    let minutes = number("ONEZOT_MINUTES", 0);
    let (began, until) = (Instant::now(), Duration::from_secs(minutes * 60));
    let (mut seed, mut sums) = (number("ONEZOT_SEED", 1), (0, 0, 0));
    let mut outcome = beside::Outcome::default();
    'rounds: while began.elapsed() < until {
        println!("round of seed {seed}, after {} s", began.elapsed().as_secs());
        for nodes in FLEETS {
            let own = seed * 1000 + nodes as u64;
            for about in [About::Recorded, About::Made] {
                let (differ, wrong) = documents::compare(about, nodes, own, DOCUMENTS, None).await;
                assert_eq!(differ, 0, "seed {own}: {wrong:#?}");
                sums.0 += DOCUMENTS;
            }
            let all = sequences::compare(nodes, own * 1000, SEQUENCES).await;
            sequences::settle(nodes, &all);
            sums.1 += SEQUENCES;
            outcome.add(all);
            if began.elapsed() >= until {
                break 'rounds;
            }
        }
        let content = if seed.is_multiple_of(2) { Set::of_servers("").content() } else { made::content(seed, 60) };
        let tally = placements::compare(&content, &[3, 2, 5, 7, 1], seed, DOCUMENTS, &[]).await;
        assert!(tally.wrong.is_empty(), "seed {seed}: {:#?}", &tally.wrong[..tally.wrong.len().min(5)]);
        sums.2 += DOCUMENTS;
        seed += 1;
    }
    if minutes > 0 {
        let (documents, sequences, placed) = sums;
        println!("{documents} documents, {sequences} sequences, {placed} requests to placements, all alike");
        println!("the sequences had {} answers; exceptions {:?}", outcome.compared, outcome.excepted);
    }
}
