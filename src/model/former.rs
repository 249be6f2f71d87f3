//! Earlier versions of a model: which one a warm start begins with, and which one a fold-in holds.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use chrono::{Days, NaiveDate};

use super::file::{self, ModelFile};
use super::stage::{contract, path};
use crate::config::Model;
use crate::error::Result;
use crate::warehouse::store;

/// The key of a file's metadata with the night on which its item vectors were learnt.
pub const TRAINED_ON: &str = "trained_on";

/// Why a model without a history is trained.
pub const NONE: &str = "there is no earlier version";

/// The newest version of a model, of `until` or before.
///
/// # Errors
/// Those of reading its file.
pub fn newest(
    snapshot: &Path,
    model_id: &str,
    until: NaiveDate,
) -> Result<Option<(NaiveDate, ModelFile)>> {
    match newest_night(snapshot, model_id, until)? {
        None => Ok(None),
        Some(night) => Ok(Some((
            night,
            file::read(&path(snapshot, night, model_id)?)?,
        ))),
    }
}

/// So many nights, the last of which is `last`; `None` for no night.
pub fn nights(count: u32, last: NaiveDate) -> Option<RangeInclusive<NaiveDate>> {
    let first = last.checked_sub_days(Days::new(u64::from(count.checked_sub(1)?)))?;
    Some(first..=last)
}

/// What the night `date` of a model that is not trained every night folds into, as [`trained`] says it; `None` for one that is.
///
/// # Errors
/// Those of [`trained`], and hyperparameters out of range.
pub fn tonight(
    snapshot: &Path,
    model: &Model,
    date: NaiveDate,
) -> Result<Option<Result<NaiveDate, String>>> {
    let Some(nights) = between(model, date) else {
        return Ok(None);
    };
    let hyperparameters = model.family.configure(&model.params)?.hyperparameters()?;
    trained(snapshot, model, &hyperparameters, &nights).map(Some)
}

/// The nights before `date` from which on a model need not be trained again; `None` where it is trained every night.
pub fn between(model: &Model, date: NaiveDate) -> Option<RangeInclusive<NaiveDate>> {
    nights(model.train_every.checked_sub(1)?, date.pred_opt()?)
}

/// The night, among `nights`, on which what a model's newest version knows of items was learnt, where that version has the
/// hyperparameters of today, a JSON object; else the reason why there is none to fold into.
///
/// # Errors
/// Those of reading files.
pub fn trained(
    snapshot: &Path,
    model: &Model,
    hyperparameters: &str,
    nights: &RangeInclusive<NaiveDate>,
) -> Result<Result<NaiveDate, String>> {
    let Some(mut night) = newest_night(snapshot, &model.id, *nights.end())? else {
        return Ok(Err(NONE.into()));
    };
    // A night that was run again may have been folded in itself by then.
    loop {
        let path = path(snapshot, night, &model.id)?;
        if !path.exists() {
            return Ok(Err(format!("the version of {night} is gone")));
        }
        let metadata = file::read_metadata(&path)?;
        let said = |key: &str| metadata.get(key).map_or("", String::as_str);
        let learnt = trained_on(&metadata).unwrap_or(night);
        if learnt < night {
            night = learnt;
            continue;
        }
        if night < *nights.start() {
            return Ok(Err(format!("it was last trained on {night}")));
        }
        if said("family") != model.family.name() || !same(said("hyperparameters"), hyperparameters)
        {
            return Ok(Err(format!(
                "the version of {night} has another family or other hyperparameters"
            )));
        }
        return Ok(Ok(night));
    }
}

/// The night on which the item vectors of a file were learnt; `None` where its metadata say nothing of it.
pub fn trained_on(metadata: &BTreeMap<String, String>) -> Option<NaiveDate> {
    metadata.get(TRAINED_ON)?.parse().ok()
}

/// Days from the night on which the item vectors of a model's version were learnt to that version; 0 where there is none.
///
/// # Errors
/// Those of reading its file.
pub fn age(snapshot: &Path, model_id: &str, night: NaiveDate) -> Result<u64> {
    let path = path(snapshot, night, model_id)?;
    if !path.exists() {
        return Ok(0);
    }
    let learnt = trained_on(&file::read_metadata(&path)?).unwrap_or(night);
    Ok(u64::try_from((night - learnt).num_days()).unwrap_or(0))
}

/// Whether two JSON texts say the same.
fn same(one: &str, other: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(one).is_some() && parse(one) == parse(other)
}

fn newest_night(snapshot: &Path, model_id: &str, until: NaiveDate) -> Result<Option<NaiveDate>> {
    let dates = store::partitions(snapshot, contract("models")?)?;
    let nights = dates.iter().filter_map(|ds| ds.parse().ok());
    let mut nights: Vec<NaiveDate> = nights.filter(|night| *night <= until).collect();
    nights.sort_unstable();
    for night in nights.into_iter().rev() {
        if path(snapshot, night, model_id)?.exists() {
            return Ok(Some(night));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::Matrix;
    use crate::model::compress::Numbers;
    use crate::model::{Factors, Fitted};

    fn day(number: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 10, 10 + number).unwrap()
    }

    fn model() -> Model {
        toml::from_str("id = 'm'\nfamily = 'als'\ntrain_every = 3").unwrap()
    }

    const TODAY: &str = r#"{"dim":2,"alpha":1.0}"#;

    /// Versions of the nights, each with the night on which it was trained, as a file says it.
    fn snapshot(versions: &[(u32, Option<u32>, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for &(night, trained, hyperparameters) in versions {
            let path = path(dir.path(), day(night), "m").unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut metadata = BTreeMap::from([
                ("family".to_string(), "als".to_string()),
                ("hyperparameters".to_string(), hyperparameters.to_string()),
            ]);
            metadata.extend(trained.map(|night| (TRAINED_ON.into(), day(night).to_string())));
            let fitted = Fitted::Factors(Factors {
                users: Matrix::zeros(0, 2),
                items: Matrix::zeros(0, 2),
            });
            let file = ModelFile {
                fitted,
                numbers: Numbers::F32,
                user_ids: vec![],
                item_ids: vec![],
                content_items: vec![],
                metadata,
            };
            file::write(&path, &file).unwrap();
        }
        dir
    }

    fn found(dir: &tempfile::TempDir, night: u32) -> Result<NaiveDate, String> {
        let nights = nights(2, day(night - 1)).unwrap();
        trained(dir.path(), &model(), TODAY, &nights).unwrap()
    }

    #[test]
    fn nights_end_with_the_last_and_may_be_none() {
        assert_eq!(nights(0, day(5)), None);
        assert_eq!(nights(1, day(5)), Some(day(5)..=day(5)));
        assert_eq!(nights(3, day(5)), Some(day(3)..=day(5)));
    }

    #[test]
    fn a_fold_in_holds_what_the_newest_version_goes_back_to() {
        let other_order = r#"{"alpha":1.0,"dim":2}"#;
        let dir = snapshot(&[(1, Some(1), other_order), (2, Some(1), TODAY)]);
        assert_eq!(found(&dir, 2), Ok(day(1)));
        assert_eq!(found(&dir, 3), Ok(day(1)));
        assert_eq!(age(dir.path(), "m", day(2)).unwrap(), 1);
        assert_eq!(age(dir.path(), "m", day(1)).unwrap(), 0);
        assert_eq!(age(dir.path(), "m", day(9)).unwrap(), 0);
        // Three days after, it is trained again.
        let error = found(&dir, 4).unwrap_err();
        assert_eq!(error, "it was last trained on 2026-10-11");
        assert_eq!(found(&dir, 1), Err(NONE.into()));
    }

    #[test]
    fn a_version_that_says_nothing_was_trained_on_its_night() {
        assert_eq!(found(&snapshot(&[(1, None, TODAY)]), 2), Ok(day(1)));
    }

    #[test]
    fn another_setting_or_a_version_that_is_gone_is_nothing_to_fold_into() {
        let dir = snapshot(&[(1, None, r#"{"dim":2,"alpha":2.0}"#)]);
        let error = found(&dir, 2).unwrap_err();
        assert!(error.contains("other hyperparameters"), "{error}");
        let dir = snapshot(&[(2, Some(1), TODAY)]);
        let error = found(&dir, 3).unwrap_err();
        assert_eq!(error, "the version of 2026-10-11 is gone");
    }

    #[test]
    fn the_newest_version_is_one_of_that_night_or_before() {
        let dir = snapshot(&[(1, None, TODAY), (3, None, TODAY)]);
        let newest = |until| newest(dir.path(), "m", day(until)).unwrap().map(|v| v.0);
        assert_eq!(newest(2), Some(day(1)));
        assert_eq!(newest(3), Some(day(3)));
        let dir = snapshot(&[]);
        assert!(super::newest(dir.path(), "m", day(3)).unwrap().is_none());
    }
}
