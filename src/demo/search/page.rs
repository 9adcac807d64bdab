//! Sorting and paging (`pkg/extensions/search/pagination`).

use super::{Failure, Page};
use crate::demo::ties::Shuffle;
use crate::demo::time::{self, Time};
use std::cmp::{Ordering, Reverse};

/// Orders that zot has for images and repositories. Its complaint about any other one speaks of repositories.
const ORDERS: [&str; 5] = ["ALPHABETIC_ASC", "ALPHABETIC_DSC", "RELEVANCE", "UPDATE_TIME", "DOWNLOADS"];

/// What can be sorted.
pub trait Sortable {
    /// By what it is called.
    fn name(&self) -> (&str, &str);
    /// When it was last changed.
    fn updated(&self) -> Time;
    /// How often it was pulled.
    fn downloads(&self) -> i64;
    /// How good it fits; images are sorted by name instead.
    fn rank(&self) -> Option<i64>;
}

/// Sorts by what zot sorts by; ties are broken by the order in which the items came.
fn compare<T: Sortable>(sort: &str, one: &T, other: &T) -> Ordering {
    match sort {
        "ALPHABETIC_DSC" => other.name().cmp(&one.name()),
        "UPDATE_TIME" => {
            // What has no time comes last.
            let key = |item: &T| Some(item.updated()).filter(|&time| !time::is_zero(time));
            Reverse(key(one)).cmp(&Reverse(key(other)))
        }
        "DOWNLOADS" => other.downloads().cmp(&one.downloads()),
        "RELEVANCE" if one.rank().is_some() => one.rank().cmp(&other.rank()),
        _ => one.name().cmp(&other.name()),
    }
}

/// What zot says of a page before it sorts anything.
pub fn check(page: &Page, orders: &[&str], what: &str) -> Result<(), Failure> {
    if page.limit < 0 {
        return Err("pagination limit has negative value".into());
    }
    if page.offset < 0 {
        return Err("pagination offset has negative value".into());
    }
    if !orders.contains(&&*page.sort) {
        let sort = &page.sort;
        let complaint = "is not supported the pagination sort criteria is not supported";
        return Err(format!("sorting {what} by '{sort}' {complaint}").into());
    }
    Ok(())
}

/// The part of some sorted items that is on the page. Without limit and offset that is all; an offset alone leaves nothing.
pub fn cut<T>(page: &Page, mut items: Vec<T>) -> Result<Vec<T>, Failure> {
    if items.is_empty() {
        return Ok(items);
    }
    let (mut start, mut end) = (page.offset, page.offset.wrapping_add(page.limit));
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if start >= length {
        (start, end) = (length, length);
    }
    end = end.min(length);
    if start == 0 && end == 0 {
        return Ok(items);
    }
    // An overflow makes the end negative: zot falls over that.
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return Err(Failure::Panic) };
    if start > end {
        return Err(Failure::Panic);
    }
    items.truncate(end);
    Ok(items.split_off(start))
}

/// A page of items, and how many there are altogether.
pub fn of<T: Sortable>(page: &Page, mut items: Vec<T>, mut ties: Shuffle) -> Result<(Vec<T>, usize), Failure> {
    let total = items.len();
    ties.order(&mut items);
    items.sort_by(|one, other| compare(&page.sort, one, other));
    Ok((cut(page, items)?, total))
}

/// Checks a page of images or repositories.
pub fn check_common(page: &Page) -> Result<(), Failure> {
    check(page, &ORDERS, "repos")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_as_zot_cuts_them() {
        let page = |limit, offset| Page { limit, offset, sort: "RELEVANCE".to_owned() };
        let items = || (0..5).collect::<Vec<i32>>();
        assert_eq!(cut(&page(0, 0), items()).unwrap(), items());
        assert_eq!(cut(&page(2, 1), items()).unwrap(), [1, 2]);
        assert_eq!(cut(&page(0, 2), items()).unwrap(), [] as [i32; 0]);
        assert_eq!(cut(&page(9, 4), items()).unwrap(), [4]);
        assert_eq!(cut(&page(2, 9), items()).unwrap(), [] as [i32; 0]);
        assert_eq!(cut(&page(i64::MAX, 1), items()), Err(Failure::Panic));
        assert_eq!(cut(&page(i64::MAX, 1), Vec::<i32>::new()).unwrap(), [] as [i32; 0]);
    }

    #[test]
    fn a_page_that_makes_no_sense_is_refused_in_this_order() {
        let page = |limit, offset, sort: &str| check_common(&Page { limit, offset, sort: sort.to_owned() });
        assert_eq!(page(-1, -1, "STARS"), Err("pagination limit has negative value".into()));
        assert_eq!(page(0, -1, "STARS"), Err("pagination offset has negative value".into()));
        let unsupported = "sorting repos by 'STARS' is not supported the pagination sort criteria is not supported";
        assert_eq!(page(0, 0, "STARS"), Err(unsupported.into()));
        assert_eq!(page(0, 0, "DOWNLOADS"), Ok(()));
    }
}
