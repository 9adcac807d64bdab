//! `CVEDiffListForImages` of two images on two nodes.
//!
//! zot finds both images, scans both, and subtracts (zot `pkg/extensions/search/resolver.go`,
//! `getCVEDiffListForImages`); a node that has one of them gets no further than the other one's name. But each owner can
//! tell the difference of its own image with itself, and that has all but the difference: the image resolved to the digest
//! of a manifest, or why it is none, in zot's words and at the client's aliases. Then each owner lists what it finds in
//! that manifest, and the subtraction is done here.
//!
//! Here is what is asked; [`answers`] decides what the owners' answers come to, [`difference`] subtracts.

mod answers;
mod difference;

use super::{Asker, Composed, Recipe};
use crate::document::{Field, Operation, Root, Select, Unplannable, Upstream, Value, aliased, selected};
use crate::fleet::Fleet;
use crate::graphql::Outcome;
use crate::page::{InvalidPage, ListPage};
use crate::plan::To;
use crate::query::{self, Planned, RESERVED, hidden_field, text_of};
use crate::rules::{CVE_ORDERS, Sort};
use crate::scatter::{Failure, NodeAnswer};
use answers::Settled;
use difference::{Difference, Member, Part};
use serde_json::{Value as Json, json};
use std::fmt;
use std::sync::Arc;

/// The largest page of CVEs (zot `pkg/extensions/search/cve/pagination.go`, `maxCvePageLimit`).
const MOST_CVES: u64 = 4096;
/// The argument that names the first image.
const MINUEND: &str = "minuend";
/// The arguments by which CVEs are chosen, before the subtraction (zot `pkg/extensions/search/cve/cve.go`).
const FILTERS: [&str; 2] = ["searchedCVE", "excludedCVE"];

/// What is asked.
#[derive(Debug)]
pub struct CveDiff {
    operation: Arc<Operation>,
    /// The client's field, without its members.
    field: Field,
    /// The one that CVEs are taken of, and the one whose CVEs are taken away.
    images: [Image; 2],
    /// The members of the result, in the client's order.
    members: Vec<Member>,
    /// The key of the list with the hidden fields; `None` if nothing that the client selects depends on it.
    list: Option<String>,
    page: Result<ListPage, InvalidPage>,
}

/// What the two owners answered, in the order of the images.
type Answers = [Result<NodeAnswer, Failure>; 2];

/// One of the two images.
#[derive(Debug)]
struct Image {
    repository: String,
    owner: To,
    /// The difference of the image with itself.
    with_itself: Upstream,
    /// What is selected of what is found in it.
    found: Vec<Field>,
}

/// The members of the result, and the lists of CVEs that they need of either image.
struct Selected {
    members: Vec<Member>,
    list: Option<String>,
    found: [Vec<Field>; 2],
}

/// Plans the field; `subtrahend` is the argument that names the second image.
pub fn plan(
    fleet: &Fleet,
    operation: &Arc<Operation>,
    field: &Field,
    owner: &To,
    subtrahend: &'static str,
) -> Result<Composed, Unplannable> {
    let images = [MINUEND, subtrahend].map(|name| repository_of(operation.argument(field, name).as_ref()));
    let [Some(first), Some(second)] = images else {
        return Ok(Composed::MustFail(format!("the images of {:?} are none that a zot accepts", field.name)));
    };
    let other = To::Owner { owner: fleet.owner(&second), repository: second.clone() };
    // Without a repository the first image is an error, and the second one is looked for beside the first.
    // Two images of what lies on several nodes may be on two of them.
    let is_split = fleet.split(&first).is_some() || fleet.split(&second).is_some();
    if first.is_empty() || second.is_empty() || !is_split && query::same_node(owner, &other) {
        return Ok(Composed::OneNode);
    }
    let Selected { members, list, found } = match select(operation, field)? {
        Ok(selected) => selected,
        Err(name) => {
            let why = format!("the member {name:?} is none that this gateway knows how to compose");
            return Ok(Composed::MustFail(why));
        }
    };
    let argument = operation.argument(field, "requestedPage");
    let page = ListPage::in_orders(argument.as_ref(), Sort::Severity, CVE_ORDERS);
    let page = page.and_then(|page| if page.limit > MOST_CVES { Err(InvalidPage) } else { Ok(page) });
    let [of_first, of_second] = found;
    // A page that zot refuses is refused by the first image's owner.
    let with_itself = [(MINUEND, subtrahend, true), (subtrahend, MINUEND, false)]
        .map(|(image, in_place_of, paged)| with_itself(operation, field, image, in_place_of, paged));
    let [first_alone, second_alone] = with_itself;
    Ok(Composed::Recipe(Recipe::CveDiff(Box::new(CveDiff {
        operation: operation.clone(),
        field: Field { selections: Vec::new(), ..field.clone() },
        images: [
            Image { repository: first, owner: owner.clone(), with_itself: first_alone, found: of_first },
            Image { repository: second, owner: other, with_itself: second_alone, found: of_second },
        ],
        members,
        list,
        page,
    }))))
}

/// Takes the result apart; the name of a member that is not known, if there is one.
fn select(operation: &Operation, field: &Field) -> Result<Result<Selected, String>, Unplannable> {
    let mut selected = Selected { members: Vec::new(), list: None, found: [Vec::new(), Vec::new()] };
    let mut is_counted = false;
    for mut member in operation.fields_of(field)? {
        let part = match member.name.as_str() {
            // What the first owner says of the image with itself: the page is always 0 of 0.
            "Minuend" | "Page" | "__typename" => Part::Of(0),
            "Subtrahend" => Part::Of(1),
            "Summary" => {
                let counts = operation.fields_of(&member)?;
                if let Some(unknown) = counts.iter().find(|count| !difference::is_count(&count.name)) {
                    return Ok(Err(unknown.name.clone()));
                }
                is_counted = true;
                Part::Summary(counts.into_iter().map(|count| (count.key, count.name)).collect())
            }
            "CVEList" => Part::List(packages_of(operation, &member)?),
            _ => return Ok(Err(member.name)),
        };
        let is_list = matches!(part, Part::List(_));
        selected.members.push(Member { key: member.key.clone(), name: member.name.clone(), part });
        if is_list {
            if selected.list.is_none() {
                selected.list = Some(member.key.clone());
                member.selections.splice(0..0, hidden_fields(&["Id", "Severity"]));
            }
            selected.found[0].push(member);
        }
    }
    if selected.list.is_none() && is_counted {
        let key = format!("{RESERVED}list");
        selected.found[0].push(list_of(&key, &["Id", "Severity"]));
        selected.list = Some(key);
    }
    selected.found[1].extend(selected.list.as_ref().map(|key| list_of(key, &["Id"])));
    Ok(Ok(selected))
}

/// The repository of an image, if a zot accepts the image (zot `pkg/extensions/search/schema.graphql`, `ImageInput`).
/// What it does not accept it refuses with the whole request, so that it must see all of it.
fn repository_of(image: Option<&Json>) -> Option<String> {
    let is_text = |value: &Json| value.is_null() || text_of(value).is_some();
    let is_platform = |value: &Json| match value {
        Json::Object(platform) => {
            platform.iter().all(|(name, value)| matches!(&**name, "Os" | "Arch") && is_text(value))
        }
        value => value.is_null(),
    };
    let image = image?.as_object()?;
    let accepted = image.iter().all(|(name, value)| match name.as_str() {
        "Repo" | "Tag" => text_of(value).is_some(),
        "Digest" => is_text(value),
        "Platform" => is_platform(value),
        _ => false,
    });
    let repository = image.get("Repo").and_then(text_of);
    repository.filter(|_| accepted && image.contains_key("Tag"))
}

/// The keys of the lists of packages in a CVE, each with the keys of their paths.
fn packages_of(operation: &Operation, list: &Field) -> Result<Vec<(String, Vec<String>)>, Unplannable> {
    let mut packages = Vec::new();
    for member in operation.fields_of(list)?.iter().filter(|member| member.name == "PackageList") {
        let paths = operation.fields_of(member)?.into_iter().filter(|path| path.name == "PackagePath");
        let paths: Vec<String> = paths.map(|path| path.key).collect();
        if !paths.is_empty() {
            packages.push((member.key.clone(), paths));
        }
    }
    Ok(packages)
}

/// The client's field with one image in the place of the other one, too, and what it is resolved to.
fn with_itself(operation: &Operation, field: &Field, image: &str, in_place_of: &str, paged: bool) -> Upstream {
    let mut asked = field.clone();
    let image = field.arguments.iter().find(|(name, _)| name == image).map(|(_, value)| value);
    let other = asked.arguments.iter_mut().find(|(name, _)| name == in_place_of);
    if let (Some(image), Some((_, value))) = (image, other) {
        value.clone_from(image);
    }
    asked.arguments.retain(|(name, _)| paged || name != "requestedPage");
    asked.selections.insert(0, aliased(answers::RESOLVED, "Minuend", vec![selected("Digest", Vec::new())]));
    operation.print(&[asked])
}

fn list_of(key: &str, names: &[&str]) -> Field {
    Field { key: key.to_owned(), ..Field::new("CVEList", hidden_fields(names)) }
}

fn hidden_fields(names: &[&str]) -> Vec<Select> {
    names.iter().map(|name| hidden_field(name, Vec::new())).collect()
}

impl CveDiff {
    /// Asks the nodes, and puts together what they say.
    pub async fn answer(&self, asker: &Asker<'_>, _planned: &Planned) -> Outcome {
        let [first, second] = &self.images;
        let resolved = self.ask(asker, [&first.with_itself, &second.with_itself]).await;
        let results = match answers::decide(&resolved, &self.field) {
            Ok(results) => results,
            Err(settled) => return self.settled(settled, &resolved),
        };
        let Ok(page) = self.page else {
            let why = "the page is none that this gateway knows how to cut, though a node takes it";
            let error = json!({"message": why, "path": [self.field.key]}).to_string();
            return self.settled(Settled::Errors(vec![error]), &resolved);
        };
        let Some(list) = &self.list else {
            return self.written(difference::write(&self.members, results, None), &resolved);
        };
        let [Some(one), Some(other)] = results.map(answers::digest_of) else {
            return self.unusable(0, &resolved, "an image without a digest");
        };
        let documents = [self.list_of(first, &one), self.list_of(second, &other)];
        let found = self.ask(asker, [&documents[0], &documents[1]]).await;
        let difference = match answers::decide(&found, &self.field) {
            Ok(found) => Difference::of(list, found, page),
            Err(settled) => return self.settled(settled, &found),
        };
        match difference {
            Ok(difference) => self.written(difference::write(&self.members, results, Some(&difference)), &resolved),
            Err((which, error)) => self.unusable(which, &found, &error.to_string()),
        }
    }

    /// Asks both owners at the same time.
    async fn ask(&self, asker: &Asker<'_>, documents: [&Upstream; 2]) -> Answers {
        let [first, second] = &self.images;
        let (first, second) =
            tokio::join!(asker.one(&first.owner, documents[0]), asker.one(&second.owner, documents[1]));
        [first, second]
    }

    /// What is found in an image, and chosen by the client's filters.
    fn list_of(&self, image: &Image, digest: &str) -> Upstream {
        let name = Value::String(format!("{}@{digest}", image.repository));
        let filters = self.field.arguments.iter().filter(|(name, _)| FILTERS.contains(&name.as_str()));
        let arguments: Vec<_> = [("image".to_owned(), name)].into_iter().chain(filters.cloned()).collect();
        let root = Root { key: &self.field.key, name: "CVEListForImage", arguments: &arguments, members: &image.found };
        self.operation.print_roots(&[root])
    }

    /// What the client is told without a difference.
    fn settled(&self, settled: Settled, answers: &Answers) -> Outcome {
        let headers = answers[0].as_ref().ok().map(|answer| answer.headers.clone());
        match settled {
            Settled::Failed(failure) => Outcome::failed(vec![failure]),
            Settled::Refused => Outcome { refusal: answers[0].as_ref().ok().cloned(), ..Outcome::default() },
            Settled::Errors(errors) => Outcome { errors, headers, ..Outcome::default() },
            Settled::Nothing => {
                Outcome { value: Some(difference::nothing(&self.members)), headers, ..Outcome::default() }
            }
        }
    }

    /// A result.
    fn written(&self, value: Result<String, serde_json::Error>, answers: &Answers) -> Outcome {
        match value {
            Ok(value) => {
                let headers = answers[0].as_ref().ok().map(|answer| answer.headers.clone());
                Outcome { value: Some(value), headers, ..Outcome::default() }
            }
            Err(error) => self.unusable(0, answers, &error.to_string()),
        }
    }

    fn unusable(&self, which: usize, answers: &Answers, why: &str) -> Outcome {
        let failures = answers.get(which).and_then(|answer| answer.as_ref().ok()).map(|answer| answer.unusable(why));
        Outcome::failed(failures.into_iter().collect())
    }

    /// The owners of the two images.
    pub fn owners(&self) -> [&To; 2] {
        self.images.each_ref().map(|image| &image.owner)
    }

    /// What `onezot explain` prints.
    pub fn explain(&self, f: &mut fmt::Formatter<'_>, fleet: &Fleet) -> fmt::Result {
        for (image, which) in self.images.iter().zip(["first", "second"]) {
            writeln!(f, "  {which} image: {}", node_of(fleet, &image.owner))?;
            query::explain_upstream(f, &image.with_itself)?;
        }
        for (image, which) in self.images.iter().zip(["first", "second"]).filter(|_| self.list.is_some()) {
            writeln!(f, "  then of the {which} image: {}", node_of(fleet, &image.owner))?;
            query::explain_upstream(f, &self.list_of(image, &format!("<digest of the {which} image>")))?;
        }
        match &self.page {
            Ok(_) if self.list.is_none() => Ok(()),
            Ok(page) => writeln!(f, "  page:  {page}, of what only the first image has, cut here"),
            Err(InvalidPage) => writeln!(f, "  page:  none that a zot accepts, as the first image's owner says last"),
        }
    }
}

fn node_of(fleet: &Fleet, to: &To) -> String {
    let To::Owner { repository, owner } = to else { return String::new() };
    let name = fleet.nodes().get(owner.node).map_or("", |node| node.name.as_str());
    format!("{name}, owner of {repository:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_a_zot_refuses_have_no_repository() {
        for (image, repository) in [
            (json!({"Repo": "lib", "Tag": "1"}), Some("lib")),
            (json!({"Repo": "", "Tag": ""}), Some("")),
            (json!({"Repo": "lib", "Tag": 1, "Digest": null, "Platform": null}), Some("lib")),
            (json!({"Repo": 7, "Tag": "1", "Platform": {"Os": "linux", "Arch": null}}), Some("7")),
            (json!({"Repo": "lib", "Tag": "1", "Platform": {}}), Some("lib")),
            (json!({"Repo": "lib"}), None),
            (json!({"Tag": "1"}), None),
            (json!({"Repo": "lib", "Tag": null}), None),
            (json!({"Repo": null, "Tag": "1"}), None),
            (json!({"Repo": "lib", "Tag": "1", "Nope": null}), None),
            (json!({"Repo": "lib", "Tag": "1", "Digest": []}), None),
            (json!({"Repo": "lib", "Tag": "1", "Platform": "linux"}), None),
            (json!({"Repo": "lib", "Tag": "1", "Platform": {"Variant": "v7"}}), None),
            (json!("lib:1"), None),
            (json!(null), None),
        ] {
            assert_eq!(repository_of(Some(&image)).as_deref(), repository, "{image}");
        }
        assert_eq!(repository_of(None), None);
    }
}
