//! Finds repeated keys without sorting or shuffling the rows.
//!
//! A first pass over the key column alone hashes every key; the few hashes that occur twice ([`Seen`](super::seen::Seen))
//! mark the rows that *may* repeat. Only those rows are set aside in the second pass, compared by their full keys, and of each key the first row
//! in (interval, file, row) order stays.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::compact;
use crate::error::Result;

/// The hash of a key within a scope; keys of different scopes never count as repeated (but for a chance collision, which
/// the comparison of full keys undoes).
pub fn hash(key: &str, scope: u64) -> u64 {
    // A scope as the seed is not enough: keys of some bytes with running numbers would then meet those of the next scope.
    xxh3_64(key.as_bytes()) ^ xxh3_64(&scope.to_le_bytes())
}

/// Rows whose key may repeat, of one file.
#[derive(Debug)]
pub struct Held {
    /// Scope of the keys.
    pub scope: u64,
    /// Place of the file in (interval, file) order.
    pub file: usize,
    /// The rows, in file order, with the contract's columns.
    pub rows: RecordBatch,
}

/// Splits a batch into the rows that are surely unique and those that may repeat.
///
/// # Errors
/// Those of the filter.
pub fn set_aside(
    batch: &RecordBatch,
    key: &str,
    scope: u64,
    repeated: &HashSet<u64>,
) -> Result<(RecordBatch, Option<RecordBatch>)> {
    let Some(keys) = batch.column_by_name(key).filter(|_| !repeated.is_empty()) else {
        return Ok((batch.clone(), None));
    };
    let keys = keys.as_string_view();
    let held: BooleanArray = (0..keys.len())
        .map(|row| Some(repeated.contains(&hash(keys.value(row), scope))))
        .collect();
    if held.true_count() == 0 {
        return Ok((batch.clone(), None));
    }
    let free = filter_record_batch(batch, &arrow::compute::not(&held)?)?;
    // What is held stays for long, and must not hold on to the texts of all the others.
    Ok((free, Some(compact(&filter_record_batch(batch, &held)?)?)))
}

/// Of the rows set aside, those that stay: the first of each key, unless the key is among `before`. For each file (in
/// the order of `held`) the rows that stay, and how many do not.
///
/// # Errors
/// Those of the filter.
pub fn resolve(
    held: &[Held],
    key: &str,
    before: &HashSet<String>,
) -> Result<Vec<(RecordBatch, u64)>> {
    let mut order: Vec<usize> = (0..held.len()).collect();
    order.sort_by_key(|i| held[*i].file);
    let mut taken: HashSet<(u64, &str)> = HashSet::new();
    let mut stays: BTreeMap<usize, BooleanArray> = BTreeMap::new();
    for i in order {
        let Some(keys) = held[i].rows.column_by_name(key) else {
            continue;
        };
        let keys = keys.as_string_view();
        let mask = (0..keys.len())
            .map(|row| {
                let key = keys.value(row);
                Some(!before.contains(key) && taken.insert((held[i].scope, key)))
            })
            .collect();
        stays.insert(i, mask);
    }
    held.iter()
        .enumerate()
        .map(|(i, part)| {
            let Some(mask) = stays.get(&i) else {
                return Ok((part.rows.clone(), 0));
            };
            let rows = filter_record_batch(&part.rows, mask)?;
            let dropped = (part.rows.num_rows() - rows.num_rows()) as u64;
            Ok((rows, dropped))
        })
        .collect()
}

/// One batch of many.
///
/// # Errors
/// When the schemas differ.
pub fn concat(batches: &[RecordBatch]) -> Result<Option<RecordBatch>> {
    match batches.first() {
        None => Ok(None),
        Some(first) => Ok(Some(concat_batches(&first.schema(), batches)?)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringViewArray};
    use std::sync::Arc;

    fn batch(keys: &[&str]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(StringViewArray::from(keys.to_vec()));
        RecordBatch::try_from_iter([("k", keys)]).unwrap()
    }

    fn held(file: usize, scope: u64, keys: &[&str]) -> Held {
        Held {
            scope,
            file,
            rows: batch(keys),
        }
    }

    #[test]
    fn running_numbers_of_one_scope_do_not_meet_those_of_another() {
        let of = |scope| {
            (0..2000)
                .map(move |n| hash(&format!("i{n:06}"), scope))
                .collect::<HashSet<u64>>()
        };
        assert!(of(739_919).is_disjoint(&of(739_920)));
    }

    #[test]
    fn the_first_row_in_file_order_stays_whatever_order_the_files_are_given_in() {
        let parts = [held(1, 0, &["a", "b"]), held(0, 0, &["a", "a", "c"])];
        let kept = resolve(&parts, "k", &HashSet::from(["c".to_string()])).unwrap();
        assert_eq!(kept[0], (batch(&["b"]), 1));
        assert_eq!(kept[1], (batch(&["a"]), 2));
    }

    #[test]
    fn the_same_key_in_two_scopes_is_no_repetition() {
        let parts = [held(0, 1, &["a"]), held(1, 2, &["a"])];
        let kept = resolve(&parts, "k", &HashSet::new()).unwrap();
        assert!(
            kept.iter()
                .all(|(rows, dropped)| rows.num_rows() == 1 && *dropped == 0)
        );
    }

    #[test]
    fn rows_with_a_marked_hash_are_set_aside() {
        let marked = HashSet::from([hash("b", 7)]);
        let (free, aside) = set_aside(&batch(&["a", "b", "c"]), "k", 7, &marked).unwrap();
        assert_eq!(free, batch(&["a", "c"]));
        assert_eq!(aside.unwrap(), batch(&["b"]));
    }
}
