//! What `onezot explain` and `/explain` print: what is done with a request, in full.

use crate::budget::Budget;
use crate::config::Config;
use crate::graphql::{GraphQl, Planning};
use crate::onward::Sender;
use crate::plan::{self, Plan};
use crate::query;
use crate::scatter::{Ask, Terms};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

/// Explains a request. A body is taken for JSON, which is what GraphQL takes.
pub fn explain(config: &Config, method: &Method, target: &str, body: Vec<u8>) -> String {
    let fleet = config.fleet();
    let plan = plan::plan(&fleet, method, target.as_bytes());
    let mut text = plan::Explained { plan: &plan, fleet: &fleet, method, target }.to_string();
    if matches!(plan, Plan::Documents(_)) {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let sender = Sender::default();
        let (method, target, body) = (method.clone(), target.to_owned(), body.into());
        let share = Budget::new(0).share();
        let terms = Terms { partial: config.partial, until: tokio::time::Instant::now() };
        let ask = Ask { method, target, headers, sender, body, is_read: true, share, terms };
        match GraphQl::new(config).plan(&fleet, &ask) {
            Planning::Plan(_, plan) => {
                text.push_str(&query::Explained { plan: &plan, fleet: &fleet }.to_string());
            }
            Planning::Answer(_) => {}
        }
    } else if !body.is_empty() {
        text.push_str(&format!("body:  {} bytes, unchanged\n", body.len()));
    }
    text
}
