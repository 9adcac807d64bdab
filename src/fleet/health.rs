//! What is known of a node's health, and the breaker that spares requests the wait for a node that is silent.
//!
//! ```text
//!            silent, again and again                 after a while, one request
//!  closed ──────────────────────────▶ open ────────────────────────────────────▶ half-open
//!     ▲                                 │ anything that the node says              │    │ silence: open, for longer
//!     └─────────────────────────────────┴──────────────────────────────────────────┘    └─▶ open
//! ```
//!
//! Only silence opens it: a deadline in which the node said nothing at all, to nobody, not even a piece of a body. So a late
//! answer to one large request is not held against a node that answers others meanwhile. A connection that is refused
//! costs nobody a deadline, and needs no breaker: the next request finds out by itself whether the node is back.
//!
//! While checks fail, no request is let through to try: the next check does that.

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a node that failed is asked last where any node would do, and a silent one not at all. Each failure after that
/// doubles it.
const SUSPICION: Duration = Duration::from_secs(5);
/// The longest that it gets.
const SUSPICION_MOST: Duration = Duration::from_secs(300);
/// So many requests, begun one after another, or so many checks must meet silence, if the other kind does not confirm it.
const STRIKES: u32 = 3;

/// What is known of a node's health.
#[derive(Debug)]
pub struct Health {
    /// What `heard` counts from.
    epoch: Instant,
    /// When the node last said anything, in microseconds; 0 if never.
    heard: AtomicU64,
    /// Whether there is nothing that an answer would change.
    is_clean: AtomicBool,
    state: Mutex<State>,
    /// Wakes the checks of the node.
    failed: Notify,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    since: Timestamp,
    suspicion: Option<Suspicion>,
    /// How many requests and how many checks met nothing but silence since the node was last heard.
    requests: u32,
    checks: u32,
    /// When a request was last counted. Those that were under way at the same time count as one.
    counted: Option<Instant>,
    last_failure: Option<Told>,
}

/// Whether requests are sent to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breaker {
    /// They are.
    Closed,
    /// They fail at once.
    Open,
    /// One is, as a trial; all others fail at once.
    HalfOpen,
}

/// Who met silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A client's request.
    Request,
    /// A check.
    Check,
}

/// Something that was said, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// When, in UTC.
    pub at: String,
    /// What.
    pub cause: String,
}

/// Health as `/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The breaker.
    pub state: Breaker,
    /// Since when, in UTC.
    pub since: String,
    /// Whether the node failed a short while ago, and is asked last where any node would do.
    pub suspect: bool,
    /// How long ago it said anything, in milliseconds.
    pub heard_ms_ago: Option<u64>,
    /// The last failure.
    pub last_failure: Option<Told>,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Given,
    /// It may, and shows whether others may.
    Trial,
}

/// That a node failed, and has not answered since.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Instant,
    lasts: Duration,
}

impl Suspicion {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.lasts
    }

    /// The suspicion after one more failure. Those of requests that were under way at the same time count as one.
    fn after_failure(earlier: Option<Suspicion>, now: Instant) -> Suspicion {
        match earlier {
            Some(earlier) if earlier.is_over(now) => {
                Suspicion { since: now, lasts: (earlier.lasts * 2).min(SUSPICION_MOST) }
            }
            Some(earlier) => earlier,
            None => Suspicion { since: now, lasts: SUSPICION },
        }
    }
}

impl Default for Health {
    fn default() -> Health {
        let state = State {
            breaker: Breaker::Closed,
            since: Timestamp::now(),
            suspicion: None,
            requests: 0,
            checks: 0,
            counted: None,
            last_failure: None,
        };
        Health {
            epoch: Instant::now(),
            heard: AtomicU64::new(0),
            is_clean: AtomicBool::new(true),
            state: Mutex::new(state),
            failed: Notify::new(),
        }
    }
}

impl State {
    fn turn(&mut self, breaker: Breaker) {
        if self.breaker != breaker {
            self.breaker = breaker;
            self.since = Timestamp::now();
        }
    }

    fn note(&mut self, cause: &str, now: Instant) {
        self.suspicion = Some(Suspicion::after_failure(self.suspicion, now));
        self.last_failure = Some(Told { at: Timestamp::now().to_string(), cause: cause.to_owned() });
    }
}

impl Health {
    /// Notes that the node said something: the header of an answer, or a piece of a body. Returns whether that closes the
    /// breaker.
    pub fn was_heard(&self) -> bool {
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.heard.store(now.max(1), Ordering::Relaxed);
        if self.is_clean.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut state = self.state.lock();
        let was_shut = state.breaker != Breaker::Closed;
        state.turn(Breaker::Closed);
        (state.suspicion, state.requests, state.checks, state.counted) = (None, 0, 0, None);
        was_shut
    }

    /// Notes that the node failed in another way than by silence, such as a connection refused. It is not silent, then.
    pub fn was_unreachable(&self, cause: &str) {
        let mut state = self.state.lock();
        state.turn(Breaker::Closed);
        (state.requests, state.checks, state.counted) = (0, 0, None);
        state.note(cause, Instant::now());
        self.is_clean.store(false, Ordering::Release);
        self.failed.notify_one();
    }

    /// Notes that a deadline passed without an answer to what was sent at `began`. Returns whether that opens the breaker.
    pub fn was_late(&self, by: By, began: Instant, cause: &str) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.note(cause, now);
        self.is_clean.store(false, Ordering::Release);
        if by == By::Request {
            self.failed.notify_one();
        }
        if self.was_heard_since(began) {
            return false;
        }
        match by {
            By::Check => state.checks += 1,
            By::Request if state.counted.is_none_or(|counted| counted <= began) => {
                state.requests += 1;
                state.counted = Some(now);
            }
            By::Request => {}
        }
        let confirmed = state.requests > 0 && state.checks > 0;
        let opens = state.breaker == Breaker::HalfOpen
            || (state.breaker == Breaker::Closed
                && (confirmed || state.requests >= STRIKES || state.checks >= STRIKES));
        if opens {
            state.turn(Breaker::Open);
        }
        opens
    }

    /// Whether a request may be sent now; `None` if not. Who gets the trial tells the outcome, or that there is none.
    pub fn leave(&self) -> Option<Leave> {
        if self.is_clean.load(Ordering::Acquire) {
            return Some(Leave::Given);
        }
        let mut state = self.state.lock();
        match state.breaker {
            Breaker::Closed => Some(Leave::Given),
            Breaker::Open if state.suspicion.is_none_or(|suspicion| suspicion.is_over(Instant::now())) => {
                state.turn(Breaker::HalfOpen);
                Some(Leave::Trial)
            }
            Breaker::Open | Breaker::HalfOpen => None,
        }
    }

    /// Notes that a trial ended. If nothing came of it, the next request is one.
    pub fn trial_ended(&self) {
        let mut state = self.state.lock();
        if state.breaker == Breaker::HalfOpen {
            state.turn(Breaker::Open);
        }
    }

    /// Whether no request is sent at the moment, not even as a trial.
    pub fn is_shut(&self) -> bool {
        if self.is_clean.load(Ordering::Acquire) {
            return false;
        }
        let state = self.state.lock();
        match state.breaker {
            Breaker::Closed => false,
            Breaker::Open => state.suspicion.is_some_and(|suspicion| !suspicion.is_over(Instant::now())),
            Breaker::HalfOpen => true,
        }
    }

    /// Whether the node failed a short while ago.
    pub fn is_suspect(&self) -> bool {
        if self.is_clean.load(Ordering::Acquire) {
            return false;
        }
        let state = self.state.lock();
        let is_suspect = state.suspicion.is_some_and(|suspicion| !suspicion.is_over(Instant::now()));
        is_suspect || state.breaker != Breaker::Closed
    }

    /// Whether the node failed, and has not been heard since.
    pub fn is_failing(&self) -> bool {
        !self.is_clean.load(Ordering::Acquire)
    }

    /// Ready when a request failed.
    pub async fn failure(&self) {
        self.failed.notified().await;
    }

    /// Since when the breaker is as it is, in UTC.
    pub fn since(&self) -> String {
        self.state.lock().since.to_string()
    }

    /// All of it, to be shown.
    pub fn shown(&self) -> Shown {
        let suspect = self.is_suspect();
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        let heard = Some(self.heard.load(Ordering::Relaxed)).filter(|heard| *heard > 0);
        let state = self.state.lock();
        Shown {
            state: state.breaker,
            since: state.since.to_string(),
            suspect,
            heard_ms_ago: heard.map(|heard| now.saturating_sub(heard) / 1000),
            last_failure: state.last_failure.clone(),
        }
    }

    fn was_heard_since(&self, began: Instant) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        // The microsecond is cut off.
        heard > 0 && self.epoch + Duration::from_micros(heard + 1) > began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(health: &Health, by: By) -> bool {
        health.was_late(by, Instant::now(), "late")
    }

    /// As if the time of the suspicion were over.
    fn wait(health: &Health) {
        let mut state = health.state.lock();
        if let Some(suspicion) = &mut state.suspicion {
            suspicion.since = suspicion.since.checked_sub(suspicion.lasts).unwrap();
        }
    }

    #[test]
    fn silence_opens_it_when_a_check_confirms_it_or_it_goes_on() {
        for (silent, opens_at) in [
            (vec![By::Request, By::Check], 1),
            (vec![By::Check, By::Request], 1),
            (vec![By::Request, By::Request, By::Request], 2),
            (vec![By::Check, By::Check, By::Check], 2),
        ] {
            let health = Health::default();
            for (index, by) in silent.into_iter().enumerate() {
                assert_eq!(health.leave(), Some(Leave::Given));
                assert_eq!(late(&health, by), index == opens_at);
            }
            assert_eq!((health.leave(), health.is_shut()), (None, true));
            assert!(health.was_heard());
            assert_eq!((health.leave(), health.is_shut()), (Some(Leave::Given), false));
        }
    }

    #[test]
    fn a_node_that_said_anything_meanwhile_is_not_silent() {
        let health = Health::default();
        for _ in 0..10 {
            let began = Instant::now();
            health.was_heard();
            assert!(!health.was_late(By::Request, began, "late") && !health.was_late(By::Check, began, "late"));
        }
        assert!(health.is_suspect() && !health.is_shut());
    }

    #[test]
    fn requests_that_wait_at_the_same_time_count_as_one() {
        let health = Health::default();
        let began = Instant::now();
        for _ in 0..10 {
            assert!(!health.was_late(By::Request, began, "late"));
        }
        assert!(!late(&health, By::Request) && late(&health, By::Request));
    }

    #[test]
    fn what_is_refused_costs_nothing_and_opens_nothing() {
        let health = Health::default();
        for _ in 0..10 {
            health.was_unreachable("refused");
            assert_eq!(health.leave(), Some(Leave::Given));
        }
        assert!(health.is_suspect());
        late(&health, By::Request);
        late(&health, By::Check);
        assert!(health.is_shut());
        health.was_unreachable("refused");
        assert!(!health.is_shut());
    }

    #[test]
    fn one_request_at_a_time_tries_whether_it_is_back() {
        let health = Health::default();
        assert!((0..3).any(|_| late(&health, By::Request)));
        wait(&health);
        assert!(!health.is_shut());
        assert_eq!((health.leave(), health.leave()), (Some(Leave::Trial), None));
        assert_eq!(health.shown().state, Breaker::HalfOpen);
        // Nothing came of it: the next one tries.
        health.trial_ended();
        assert_eq!((health.leave(), health.leave()), (Some(Leave::Trial), None));
        assert!(late(&health, By::Request), "still silent");
        health.trial_ended();
        assert_eq!(health.leave(), None);
        let lasts = health.state.lock().suspicion.unwrap().lasts;
        assert_eq!(lasts, SUSPICION * 2);
        wait(&health);
        assert_eq!(health.leave(), Some(Leave::Trial));
        assert!(health.was_heard());
        health.trial_ended();
        assert_eq!((health.leave(), health.leave()), (Some(Leave::Given), Some(Leave::Given)));
        let shown = health.shown();
        assert_eq!((shown.state, shown.suspect), (Breaker::Closed, false));
        assert_eq!(shown.last_failure.unwrap().cause, "late");
    }

    #[test]
    fn suspicion_grows_while_a_node_fails() {
        let mut now = Instant::now();
        let mut suspicion = None;
        let mut lasted = Vec::new();
        for _ in 0..8 {
            let grown = Suspicion::after_failure(suspicion, now);
            lasted.push(grown.lasts.as_secs());
            assert!(!Suspicion::after_failure(Some(grown), now + Duration::from_secs(1)).is_over(now));
            now = grown.since + grown.lasts;
            assert!(grown.is_over(now));
            suspicion = Some(grown);
        }
        assert_eq!(lasted, [5, 10, 20, 40, 80, 160, 300, 300]);
    }
}
