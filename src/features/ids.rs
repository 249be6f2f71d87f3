//! Lists of ids in order: what numbers the rows and columns of matrices.

/// Where each of `some` lies among `all`, both ascending; `None` where it is not there.
pub fn places(some: &[String], all: &[String]) -> Vec<Option<usize>> {
    let mut at = 0;
    let place = |id: &String| {
        while all.get(at).is_some_and(|other| other < id) {
            at += 1;
        }
        all.get(at).filter(|other| *other == id).map(|_| at)
    };
    some.iter().map(place).collect()
}

/// The ids of either list, ascending.
pub fn union(some: &[String], others: &[String]) -> Vec<String> {
    let mut all = [some, others].concat();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &str) -> Vec<String> {
        names.chars().map(String::from).collect()
    }

    #[test]
    fn ids_are_found_or_not() {
        let found = places(&ids("abdfz"), &ids("bcdf"));
        assert_eq!(found, [None, Some(0), Some(2), Some(3), None]);
        assert_eq!(places(&ids("ab"), &[]), [None, None]);
        assert!(places(&[], &ids("ab")).is_empty());
    }

    #[test]
    fn a_union_has_every_id_once_in_order() {
        assert_eq!(union(&ids("bd"), &ids("abc")), ids("abcd"));
        assert_eq!(union(&[], &[]), ids(""));
    }
}
