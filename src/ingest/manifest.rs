//! What the manifest of a delivery says: its files, and perhaps how many rows and which sums they hold.
//!
//! | form | files | also read |
//! |---|---|---|
//! | AWS Data Exports (CUR 2.0) | `dataFiles` | `billingPeriod.start` |
//! | AWS, older reports | `reportKeys` | `billingPeriod.start` |
//! | Azure exports | `blobs[].blobName` | `dataRowCount` |
//! | JSON of any other issuer | `files`: names, or objects with `name` and `rows` | `billing_period`, `rows`, `sums[]` of `currency`, `billed`, `effective` |
//! | CSV of any other issuer | `file` | `rows`, `currency`, `billed`, `effective` |

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::money::{Currency, Money};

/// What a manifest says of its delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The files, as it names them: paths or keys of an object store.
    pub files: Vec<String>,
    /// Billing period `YYYY-MM`.
    pub period: Option<String>,
    /// Rows in the files.
    pub rows: Option<u64>,
    /// Sums by currency.
    pub sums: BTreeMap<String, Stated>,
}

/// The sums that a manifest states for one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stated {
    /// Σ billed.
    pub billed: Option<Money>,
    /// Σ effective.
    pub effective: Option<Money>,
}

impl Manifest {
    /// Reads a manifest; the ending of its name says whether it is a CSV.
    ///
    /// # Errors
    /// What is wrong with it, to be said after its name.
    pub fn read(path: &Path, text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty".into());
        }
        let csv = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let manifest = if csv {
            from_csv(text)
        } else {
            let json = serde_json::from_str(text.trim_start_matches('\u{feff}'))
                .map_err(|e| format!("is no JSON: {e}"))?;
            from_json(&json)
        }?;
        if manifest.files.is_empty() {
            return Err("names no file".into());
        }
        Ok(manifest)
    }

    fn add(
        &mut self,
        currency: &str,
        billed: Option<Money>,
        effective: Option<Money>,
    ) -> Result<(), String> {
        if billed.is_none() && effective.is_none() {
            return Ok(());
        }
        let code = Currency::parse(currency).map_err(|e| e.to_string())?;
        let stated = self.sums.entry(code.code().to_string()).or_default();
        for (sum, more) in [
            (&mut stated.billed, billed),
            (&mut stated.effective, effective),
        ] {
            let Some(more) = more else { continue };
            let before = sum.unwrap_or_default();
            *sum = Some(before.checked_add(more).map_err(|e| e.to_string())?);
        }
        Ok(())
    }
}

fn from_json(json: &Value) -> Result<Manifest, String> {
    let listed = ["dataFiles", "reportKeys", "blobs", "files"];
    let Some((key, entries)) = listed
        .iter()
        .find_map(|k| Some((*k, json.get(k)?.as_array()?)))
    else {
        return Err(format!("has no list of files ({})", listed.join(", ")));
    };
    let mut manifest = Manifest::default();
    let mut counted = Some(0);
    for entry in entries {
        let name = ["name", "blobName", "file", "key"];
        let name = entry
            .as_str()
            .or_else(|| name.iter().find_map(|k| entry.get(k)?.as_str()));
        let name = name
            .ok_or_else(|| format!("has an entry of {key} without the name of a file: {entry}"))?;
        manifest.files.push(name.to_string());
        let rows = ["rows", "dataRowCount"].iter().find_map(|k| entry.get(k));
        counted = added(counted, rows.map(whole).transpose()?)?;
    }
    let total = ["rows", "dataRowCount"].iter().find_map(|k| json.get(k));
    manifest.rows = total.map(whole).transpose()?.or(counted);
    let period = json
        .get("billing_period")
        .or_else(|| json.get("billingPeriod"));
    manifest.period = period.and_then(|p| month(p.get("start").unwrap_or(p).as_str()?));
    for sum in json
        .get("sums")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let currency = sum
            .get("currency")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let amount = |key| sum.get(key).map(exact).transpose();
        manifest.add(currency, amount("billed")?, amount("effective")?)?;
    }
    Ok(manifest)
}

fn from_csv(text: &str) -> Result<Manifest, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let head = reader.headers().map_err(|e| e.to_string())?.clone();
    let at = |name: &str| head.iter().position(|h| h.eq_ignore_ascii_case(name));
    let file = at("file").ok_or("has no column `file`")?;
    let (rows, currency, billed, effective) =
        (at("rows"), at("currency"), at("billed"), at("effective"));
    let mut manifest = Manifest::default();
    let mut counted = Some(0);
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        let field = |at: Option<usize>| at.and_then(|i| record.get(i)).filter(|t| !t.is_empty());
        let name = field(Some(file)).ok_or("has a line without the name of a file")?;
        // A file of several currencies has a line for each.
        if !manifest.files.iter().any(|f| f == name) {
            manifest.files.push(name.to_string());
        }
        let lines = field(rows).map(|t| {
            t.parse::<u64>()
                .map_err(|_| format!("has a row count that is none: {t}"))
        });
        counted = added(counted, lines.transpose()?)?;
        let amount = |at| field(at).map(money).transpose();
        manifest.add(
            field(currency).unwrap_or_default(),
            amount(billed)?,
            amount(effective)?,
        )?;
    }
    manifest.rows = counted;
    Ok(manifest)
}

/// The sum of two counts that are both known.
fn added(so_far: Option<u64>, more: Option<u64>) -> Result<Option<u64>, String> {
    let Some((a, b)) = so_far.zip(more) else {
        return Ok(None);
    };
    let sum = a.checked_add(b);
    sum.map(Some)
        .ok_or_else(|| "has row counts whose sum is none".into())
}

fn whole(value: &Value) -> Result<u64, String> {
    value
        .as_u64()
        .ok_or_else(|| format!("has a row count that is none: {value}"))
}

fn exact(value: &Value) -> Result<Money, String> {
    match value {
        Value::String(text) => money(text),
        Value::Number(n) if n.is_i64() => money(&n.to_string()),
        other => Err(format!(
            "has the sum {other}; write it as a text, a number of JSON is not exact"
        )),
    }
}

fn money(text: &str) -> Result<Money, String> {
    let (amount, residue) = Money::parse(text).map_err(|e| e.to_string())?;
    if residue.0 != 0 {
        return Err(format!("has a sum of more than 18 decimal places: {text}"));
    }
    Ok(amount)
}

/// The month of `2026-10-01…`, `20261001T…` or `2026-10`.
fn month(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).take(6).collect();
    let (year, month) = (digits.get(..4)?, digits.get(4..6)?);
    Some(format!("{year}-{month}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Manifest, String> {
        Manifest::read(Path::new("Manifest.json"), text)
    }

    #[test]
    fn the_forms_of_the_clouds_name_their_files() {
        let aws = json(
            r#"{"executionId": "e", "billingPeriod": {"start": "20261001T000000.000Z", "end": "20261101T000000.000Z"},
                "dataFiles": ["s3://bucket/cur/data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet"]}"#,
        )
        .unwrap();
        assert_eq!(
            aws.files,
            ["s3://bucket/cur/data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet"]
        );
        assert_eq!((aws.period.as_deref(), aws.rows), (Some("2026-10"), None));
        let older = json(r#"{"reportKeys": ["cur/20261001-20261101/id/cur-1.csv.gz"]}"#).unwrap();
        assert_eq!(older.files, ["cur/20261001-20261101/id/cur-1.csv.gz"]);
        let azure = json(
            r#"{"blobCount": 2, "dataRowCount": 39,
                "blobs": [{"blobName": "x/part_0_0001.csv", "dataRowCount": 28}, {"blobName": "x/part_1_0001.csv", "dataRowCount": 11}]}"#,
        )
        .unwrap();
        assert_eq!(azure.files, ["x/part_0_0001.csv", "x/part_1_0001.csv"]);
        assert_eq!(azure.rows, Some(39));
    }

    #[test]
    fn the_own_forms_state_rows_and_exact_sums_by_currency() {
        let money = |t: &str| Some(Money::parse(t).unwrap().0);
        let wanted = BTreeMap::from([
            (
                "EUR".to_string(),
                Stated {
                    billed: money("0.1"),
                    effective: None,
                },
            ),
            (
                "USD".to_string(),
                Stated {
                    billed: money("408366.108651877701158"),
                    effective: money("-7"),
                },
            ),
        ]);
        let own = json(
            r#"{"files": [{"name": "a.csv", "rows": 2}, {"name": "b.csv", "rows": 1}], "billing_period": "2026-10",
                "sums": [{"currency": "USD", "billed": "408366.108651877701158", "effective": -7}, {"currency": "EUR", "billed": "0.1"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (own.rows, own.period.as_deref()),
            (Some(3), Some("2026-10"))
        );
        assert_eq!(own.sums, wanted);
        let csv = Manifest::read(
            Path::new("m.csv"),
            "file,rows,currency,billed,effective\na.csv,1,USD,408366.108651877701158,-7\na.csv,1,EUR,0.1,\nb.csv,1,,,\n",
        )
        .unwrap();
        assert_eq!(csv.files, ["a.csv", "b.csv"]);
        assert_eq!((csv.rows, &csv.sums), (Some(3), &wanted));
        // A file without its count leaves the whole uncounted.
        let some = Manifest::read(Path::new("m.csv"), "file,rows\na.csv,1\nb.csv,\n").unwrap();
        assert_eq!(some.rows, None);
    }

    #[test]
    fn what_is_no_manifest_says_so() {
        for (text, says) in [
            ("", "is empty"),
            ("{", "is no JSON"),
            ("{}", "has no list of files"),
            (r#"{"files": []}"#, "names no file"),
            (r#"{"files": [7]}"#, "without the name of a file: 7"),
            (
                r#"{"files": ["a"], "rows": -1}"#,
                "has a row count that is none: -1",
            ),
            (
                r#"{"files": ["a"], "sums": [{"currency": "USD", "billed": 0.1}]}"#,
                "is not exact",
            ),
            (
                r#"{"files": ["a"], "sums": [{"currency": "Euro", "billed": "1"}]}"#,
                "is not a currency",
            ),
            (
                r#"{"files": [{"name": "a", "rows": 18446744073709551615}, {"name": "b", "rows": 1}]}"#,
                "has row counts whose sum is none",
            ),
        ] {
            let said = json(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
        for (text, says) in [
            ("name\na.csv\n", "has no column `file`"),
            ("file\n", "names no file"),
            (
                "file,rows\na.csv,many\n",
                "has a row count that is none: many",
            ),
            ("file,currency,billed\na.csv,USD,x\n", "is not an amount"),
        ] {
            let said = Manifest::read(Path::new("m.csv"), text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
