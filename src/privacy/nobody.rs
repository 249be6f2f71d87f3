//! What stays of a forgotten person: events that were paid for and counted, and are nobody's.
//!
//! Impressions are what costs are divided by, and clicks and purchases that name the response they came from are what
//! `unit_costs` counts. Their rows stay, without session, query and, where nothing was bought, price. All of them have the
//! same user, [`NOBODY`], so no two of them can be told to be of one person.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, Scalar, StringViewArray};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, filter_record_batch, nullif};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

/// The user of events that are nobody's.
pub const NOBODY: &str = "(forgotten)";
/// The events that somebody made: all that features, models and evaluation see.
pub const EVERYBODY_ELSE: &str = "user_id <> '(forgotten)'";

/// Columns that say what somebody did besides what was shown and bought.
const DETAILS: &[&str] = &["session_id", "query"];
/// Columns that only a purchase needs.
const OF_PURCHASES: &[&str] = &["price", "quantity", "currency"];

/// A text column, whatever its type in memory.
///
/// # Errors
/// When there is none of that name.
pub fn texts(batch: &RecordBatch, name: &str) -> Result<StringViewArray> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| Error::unexpected(format!("there is no column {name}")))?;
    Ok(cast(column, &DataType::Utf8View)?.as_string_view().clone())
}

/// [`texts`], all null where there is no such column.
fn texts_or_nulls(batch: &RecordBatch, name: &str) -> Result<StringViewArray> {
    match batch.column_by_name(name) {
        Some(_) => texts(batch, name),
        None => Ok(StringViewArray::new_null(batch.num_rows())),
    }
}

/// Events of which some are of forgotten people (`theirs`): those that count become nobody's, the others go.
/// `credited` gives the request of an event that names none and was credited to one.
///
/// # Errors
/// When a column is missing.
pub fn without(
    events: &RecordBatch,
    theirs: &BooleanArray,
    credited: &dyn Fn(&str) -> Option<String>,
) -> Result<Parted> {
    let kinds = texts(events, "event_type")?;
    let models = texts_or_nulls(events, "model_id")?;
    let requests = texts_or_nulls(events, "request_id")?;
    let ids = texts(events, "event_id")?;
    let mut stays = vec![true; events.num_rows()];
    let mut lent = vec![None; events.num_rows()];
    for row in (0..events.num_rows()).filter(|row| theirs.value(*row)) {
        stays[row] = match kinds.is_valid(row).then(|| kinds.value(row)) {
            Some("impression") => models.is_valid(row),
            Some("click" | "purchase") => {
                let own = requests.is_valid(row).then(|| requests.value(row));
                lent[row] = credited(ids.value(row)).filter(|to| own != Some(to));
                lent[row].is_none() && own.is_some()
            }
            _ => false,
        };
    }
    let emptied = emptied(events, theirs)?;
    let kept = filter_record_batch(&emptied, &BooleanArray::from(stays))?;
    let mask: BooleanArray = lent.iter().map(|l| Some(l.is_some())).collect();
    let requests: StringViewArray = lent.into_iter().collect();
    let lent = match mask.true_count() {
        0 => None,
        _ => {
            let with = replaced(&emptied, "request_id", Arc::new(requests))?;
            Some(filter_record_batch(&with, &mask)?)
        }
    };
    Ok(Parted { kept, lent })
}

/// Events without forgotten people.
pub struct Parted {
    /// Those of others, and those that are nobody's, in the order in which they came.
    pub kept: RecordBatch,
    /// Nobody's, too: those that name the request that they were credited to, which their export does not.
    pub lent: Option<RecordBatch>,
}

/// The batch with the rows of `theirs` made nobody's.
fn emptied(events: &RecordBatch, theirs: &BooleanArray) -> Result<RecordBatch> {
    let kinds = texts(events, "event_type")?;
    let bought: BooleanArray = (0..events.num_rows())
        .map(|row| Some(theirs.value(row) && kinds.value(row) != "purchase"))
        .collect();
    let mut batch = owned_by_nobody(events, theirs)?;
    for (names, mask) in [(DETAILS, theirs), (OF_PURCHASES, &bought)] {
        for name in names {
            if let Some(column) = batch.column_by_name(name) {
                let column = nullif(column, mask)?;
                batch = replaced(&batch, name, column)?;
            }
        }
    }
    Ok(batch)
}

/// The batch with [`NOBODY`] as the user of the rows of `theirs`.
///
/// # Errors
/// When it has no users.
pub fn owned_by_nobody(batch: &RecordBatch, theirs: &BooleanArray) -> Result<RecordBatch> {
    let nobody = Scalar::new(StringViewArray::from(vec![NOBODY]));
    let users = zip(theirs, &nobody, &texts(batch, "user_id")?)?;
    replaced(batch, "user_id", users)
}

/// The batch with another column in the place of one.
///
/// # Errors
/// When there is none of that name, or the new one is of another length.
pub fn replaced(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(f, old)| {
        let new = if f.name() == name { &column } else { old };
        (f.name().as_str(), Arc::clone(new), true)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
