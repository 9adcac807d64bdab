//! What stands beside the data: errors of whatever is converted or scanned on the way to the list.
//!
//! One zot converts the named image and all its relations (zot `pkg/extensions/search/resolver.go`, `getImageSummary`,
//! `PaginatedFullImageMeta2ImageSummaries`). The owner says that of its own; what onezot looked at besides, elsewhere and in
//! the owner's own answer, is more than that.

use super::Lineage;
use super::lists::Read;
use super::subject::Subjects;
use crate::answer;
use crate::document::Field;
use crate::graphql::response::Error;
use crate::items::{Merged, Named, converted};
use serde_json::json;
use std::collections::BTreeSet;

impl Lineage {
    /// The errors of the client's answer, as JSON. `hidden` is what was looked at and is not in the list.
    pub(super) fn errors(
        &self,
        field: &Field,
        subjects: &Subjects,
        answers: &[&[Read<'_>]],
        mut merged: Merged,
        hidden: Vec<Named>,
    ) -> Vec<String> {
        let all = answers.iter().flat_map(|answers| answers.iter()).flat_map(|(_, body)| body.errors.iter().flatten());
        let is_own = |error: &Error| error.root().is_some_and(|root| root == field.key);
        let (own, others): (Vec<&Error>, Vec<&Error>) = all.partition(|error| is_own(error));
        // Of the items that are converted, those that are looked at elsewhere too are told apart by their manifests.
        let converts: Vec<bool> = others.iter().map(|error| merged.converts(&error.message())).collect();
        merged.hidden.extend(hidden);
        let mut errors = Vec::new();
        // What the owner says twice, one zot says twice; what is asked for twice fails twice.
        let mut said = BTreeSet::new();
        for error in own {
            let message = error.message().into_owned();
            if merged.shows_error(&message) {
                errors.push(error.at_root(&field.key, field.location));
            }
            said.insert(message);
        }
        if !subjects.owner_knows {
            errors.extend(self.of_subject(field, subjects, &others));
        }
        for (error, converts) in others.into_iter().zip(converts) {
            let message = error.message().into_owned();
            let shows = if converted(&message).is_some() { converts } else { merged.shows_error(&message) };
            if shows && said.insert(message) {
                errors.push(error.at_root(&field.key, field.location));
            }
        }
        errors
    }

    /// What one zot says of the manifests of a digest that the owner does not know: it converts them under the name of the
    /// image.
    fn of_subject(&self, field: &Field, subjects: &Subjects, others: &[&Error]) -> Vec<String> {
        let image = self.operation.argument(field, "image");
        let image = image.as_ref().and_then(|image| image.as_str()).unwrap_or_default();
        let (repository, tag) = image.rsplit_once(':').unwrap_or((image, ""));
        let messages: Vec<String> = others.iter().map(|error| error.message().into_owned()).collect();
        let found = subjects.manifests.iter().filter_map(|subject| {
            let mut rests = messages.iter().filter_map(|message| converted(message)).map(|(_, rest)| rest);
            let rest = rests.find(|rest| rest.starts_with(&subject.digest))?;
            let message =
                format!("error generating history on tag {tag} in repo {repository}: manifest digest: {rest}");
            Some(answer::go_json(&json!({"message": message, "path": [field.key]})))
        });
        found.collect()
    }
}
