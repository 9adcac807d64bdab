//! Upload sessions stay on the node that opened them, whatever becomes of the fleet meanwhile: the `Location` that a client
//! gets names the node, and onezot remembers nothing. What comes back is checked against the nodes that there are.

use crate::page::{query_value, without_parameters};
use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The query parameter that names the node. No registry has one of this name.
const NODE: &str = "_oz_node";

/// The `Location` of a session on the node of this name.
pub fn marked(location: &str, node: &str) -> Option<HeaderValue> {
    let separator = if location.contains('?') { '&' } else { '?' };
    let node = utf8_percent_encode(node, NON_ALPHANUMERIC);
    HeaderValue::from_str(&format!("{location}{separator}{NODE}={node}")).ok()
}

/// The name of the node that a target names, and the target without it; `None` if it names none.
pub fn marked_node(target: &str) -> Option<(String, String)> {
    let (path, query) = target.split_once('?')?;
    let node = query_value(query, NODE)?.into_owned();
    let rest = without_parameters(query, &[NODE]);
    Some((node, if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_else_the_location_has_stays() {
        let marked = |location: &str| marked(location, "zot-1").unwrap().to_str().unwrap().to_owned();
        assert_eq!(marked("/v2/a/blobs/uploads/1"), "/v2/a/blobs/uploads/1?_oz_node=zot%2D1");
        assert_eq!(marked("/v2/a/blobs/uploads/1?_state=x%2F"), "/v2/a/blobs/uploads/1?_state=x%2F&_oz_node=zot%2D1");
        assert_eq!(marked_node("/v2/a/blobs/uploads/1"), None);
        assert_eq!(marked_node("/v2/a/blobs/uploads/1?digest=sha256:00"), None);
        let found = marked_node("/v2/a/blobs/uploads/1?_state=x%2F&_oz_node=zot%2D1&digest=sha256:00").unwrap();
        assert_eq!(found, ("zot-1".to_owned(), "/v2/a/blobs/uploads/1?_state=x%2F&digest=sha256:00".to_owned()));
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in "[^\\s\"=\\p{Cc}]{1,20}", query in "([a-z]=[a-z%2F]{0,4}(&[a-z]=x){0,2})?") {
            let location = if query.is_empty() { "/x".to_owned() } else { format!("/x?{query}") };
            let marked = marked(&location, &name).unwrap();
            prop_assert_eq!(marked_node(marked.to_str().unwrap()), Some((name, location)));
        }
    }
}
