//! Tier 5: relations of made-up images on three real zots behind onezot, beside one real zot with all of them, when
//! `ONEZOT_ZOT` names a binary. `ONEZOT_DOCUMENTS` (default 2000) and `ONEZOT_SEED` as elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/made.rs"]
mod made;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/sides.rs"]
mod sides;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/writer.rs"]
mod writer;
#[path = "support/zots.rs"]
mod zots;

use demo_replay::Sender;
use sides::{Case, cannot_be_found, number};
use writer::Writer;
use zots::{Content, Zot};

#[tokio::test(flavor = "multi_thread")]
async fn relations_on_three_zots_are_those_on_one() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let seed = number("ONEZOT_SEED", 1);
    let (facts, bytes) = made::parts(seed, 80);
    let content = Content::of(facts, bytes);
    let one = Zot::start(&binary).await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Zot::start(&binary).await);
    }
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let running = wire::gateway(&addresses, "").await;
    content.push(one.address).await;
    content.push(running.addresses[0]).await;

    let mut writer = Writer::new(seed, &made::content(seed, 80));
    let [one_side, fleet] = [one.address, running.addresses[0]].map(|address| Sender::new(format!("http://{address}")));
    let (mut with_items, mut excepted, mut wrong) = (0, 0, Vec::new());
    let documents = number("ONEZOT_DOCUMENTS", 2000);
    for index in 0..documents {
        writer.about(if index % 4 == 0 { &[] } else { &["DerivedImageList", "BaseImageList"] });
        let (query, variables) = writer.request();
        let user = Some(writer.one(&["alice", "alice", "alice", "bob", ""]).to_owned()).filter(|user| !user.is_empty());
        let case = Case { user, query, variables, made: None };
        let request = case.request();
        let mut expected = one_side.send(&request).await;
        expected.headers.retain(|name, _| !["date", "content-length", "transfer-encoding"].contains(&name.as_str()));
        let actual = fleet.send(&request).await;
        let found = demo_compare::differences(&request, &expected, &actual);
        with_items += usize::from(String::from_utf8_lossy(&expected.body).contains(":[{"));
        if found.is_empty() {
            continue;
        }
        if cannot_be_found(&case, &actual.body, &one_side).await {
            excepted += 1;
        } else {
            wrong.push(format!("{:?} {}: {found:?}", case.user, case.query));
        }
    }
    running.stop().await;
    println!(
        "seed {seed}: {} of {documents} documents alike, {with_items} with items, {excepted} with a digest that cannot be found",
        documents as usize - wrong.len() - excepted
    );
    assert!(with_items > documents as usize / 5 && excepted < documents as usize / 10);
    assert!(wrong.is_empty(), "{} differ: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
}
