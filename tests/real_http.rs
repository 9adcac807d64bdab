//! Three real zots behind onezot beside one real zot that holds everything, when `ONEZOT_ZOT` names a binary: odd
//! requests, whose answers must be alike to the byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/bad_histories.rs"]
mod bad_histories;
#[path = "support/alike.rs"]
mod beside;
#[path = "support/odd_documents.rs"]
mod odd_documents;
#[path = "support/odd_routes.rs"]
mod odd_routes;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/zots.rs"]
mod zots;

use beside::Case;
use zots::{Content, Zot};

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_are_answered_as_by_one_zot() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let (one, a, b, c) =
        tokio::join!(Zot::start(&binary), Zot::start(&binary), Zot::start(&binary), Zot::start(&binary));
    let running = wire::gateway(&[a.address, b.address, c.address], "").await;
    let content = Content::recorded();
    content.push(one.address).await;
    content.push(running.addresses[0]).await;
    let mut wrong = Vec::new();
    let mut compare = async |kind: &str, cases: Vec<Case>| {
        let found = beside::compare(&cases, one.address, running.addresses[0]).await;
        wrong.extend(found.into_iter().map(|(name, differing)| format!("{kind}: {name}: {differing}")));
    };
    compare("documents", odd_documents::cases()).await;
    compare("routes", odd_routes::cases(&content)).await;
    bad_histories::push(one.address).await;
    bad_histories::push(running.addresses[0]).await;
    compare("histories", bad_histories::cases()).await;
    running.stop().await;
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
