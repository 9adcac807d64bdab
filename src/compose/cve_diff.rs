//! `CVEDiffListForImages` of two images on two nodes.

use super::{Asker, Composed};
use crate::document::{Field, Operation, Unplannable};
use crate::fleet::Fleet;
use crate::graphql::Outcome;
use crate::plan::To;
use crate::query::Planned;
use std::fmt;
use std::sync::Arc;

/// What is asked.
#[derive(Debug)]
pub struct CveDiff {}

/// Plans the field; `subtrahend` is the argument that names the second image.
pub fn plan(
    _fleet: &Fleet,
    _operation: &Arc<Operation>,
    _field: &Field,
    _owner: &To,
    _subtrahend: &'static str,
) -> Result<Composed, Unplannable> {
    Ok(Composed::OneNode)
}

impl CveDiff {
    /// Asks the nodes, and puts together what they say.
    pub async fn answer(&self, _asker: &Asker<'_>, _planned: &Planned) -> Outcome {
        Outcome::default()
    }

    /// What `onezot explain` prints.
    pub fn explain(&self, _f: &mut fmt::Formatter<'_>, _fleet: &Fleet) -> fmt::Result {
        Ok(())
    }
}
