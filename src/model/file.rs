//! Model files: factors, ids and metadata in one safetensors file, the same bytes for the same model.
//!
//! Tensors: `user_factors` and `item_factors` `[n, dim]` f32; ids as `user_ids`, `item_ids` (u8, all texts joined) with
//! `*_id_ends` (u64, where each text ends). Metadata is one JSON object with sorted keys under the key `recost`:
//! safetensors writes several keys in hash order, which differs from run to run.

use super::{Factors, ModelError};
use crate::compute::Matrix;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The format that this program writes and reads.
const FORMAT: &str = "1";
const KEY: &str = "recost";
const FORMAT_KEY: &str = "format";

/// What a file holds: row `i` of a table belongs to id `i`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// User and item factors.
    pub factors: Factors,
    /// `[users]`.
    pub user_ids: Vec<String>,
    /// `[items]`.
    pub item_ids: Vec<String>,
    /// Family, hyperparameters, data hash and the like; the key `format` is the file's own.
    pub metadata: BTreeMap<String, String>,
}

/// Writes `model` whole and durably: into a file beside `path`, which is then renamed over it.
pub fn write(path: &Path, model: &ModelFile) -> Result<(), ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let Factors { users, items } = &model.factors;
    for (table, ids, what) in [
        (users, &model.user_ids, "users"),
        (items, &model.item_ids, "items"),
    ] {
        if table.rows() != ids.len() {
            let (rows, ids) = (table.rows(), ids.len());
            return Err(corrupt(format!("{ids} ids for {rows} {what}")));
        }
    }
    let mut metadata = model.metadata.clone();
    metadata.insert(FORMAT_KEY.to_owned(), FORMAT.to_owned());
    let metadata = serde_json::to_string(&metadata).map_err(|error| corrupt(error.to_string()))?;
    let (user_ids, user_ends) = join(&model.user_ids);
    let (item_ids, item_ends) = join(&model.item_ids);
    let (user_factors, item_factors) = (little_endian(users.data()), little_endian(items.data()));
    let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data);
    let tensors = [
        (
            "user_factors",
            Dtype::F32,
            vec![users.rows(), users.cols()],
            &user_factors[..],
        ),
        (
            "item_factors",
            Dtype::F32,
            vec![items.rows(), items.cols()],
            &item_factors[..],
        ),
        (
            "user_id_ends",
            Dtype::U64,
            vec![users.rows()],
            &user_ends[..],
        ),
        (
            "item_id_ends",
            Dtype::U64,
            vec![items.rows()],
            &item_ends[..],
        ),
        ("user_ids", Dtype::U8, vec![user_ids.len()], &user_ids[..]),
        ("item_ids", Dtype::U8, vec![item_ids.len()], &item_ids[..]),
    ]
    .into_iter()
    .map(|(name, dtype, shape, data)| Ok((name, view(dtype, &shape, data)?)))
    .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
    .map_err(|error| corrupt(error.to_string()))?;
    let header = HashMap::from([(KEY.to_owned(), metadata)]);
    let io = |source| ModelError::Io {
        path: path.to_owned(),
        source,
    };
    safetensors::serialize_to_file(tensors, Some(header), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => io(source),
        error => corrupt(error.to_string()),
    })?;
    let file = std::fs::File::open(path).map_err(io)?;
    file.sync_all().map_err(io)
}

/// Reads a file back; a file cut short, altered in its header or of another format is an error that says so.
pub fn read(path: &Path) -> Result<ModelFile, ModelError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
        path: path.to_owned(),
        source,
    })?;
    let corrupt = |reason: String| ModelError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|error| corrupt(error.to_string()))?;
    let json = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(KEY))
        .ok_or_else(|| corrupt("no metadata of this program".to_owned()))?;
    let mut metadata: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))?;
    let found = metadata.remove(FORMAT_KEY).unwrap_or_default();
    if found != FORMAT {
        return Err(ModelError::Version {
            path: path.to_owned(),
            found,
            wanted: FORMAT,
        });
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| corrupt(error.to_string()))?;
    let tensor = |name: &str, dtype: Dtype, rank: usize| {
        let view = tensors
            .tensor(name)
            .map_err(|error| corrupt(error.to_string()))?;
        if view.dtype() != dtype || view.shape().len() != rank {
            return Err(corrupt(format!(
                "{name} is {:?} {:?}",
                view.dtype(),
                view.shape()
            )));
        }
        Ok(view)
    };
    let factors = |name: &str| {
        let view = tensor(name, Dtype::F32, 2)?;
        let values = view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect();
        Ok::<_, ModelError>(Matrix::new(view.shape()[0], view.shape()[1], values)?)
    };
    let ids = |side: &str| {
        let ends = tensor(&format!("{side}_id_ends"), Dtype::U64, 1)?;
        let text = tensor(&format!("{side}_ids"), Dtype::U8, 1)?;
        split(text.data(), ends.data())
            .ok_or_else(|| corrupt(format!("the ids of {side}s are damaged")))
    };
    let model = ModelFile {
        factors: Factors {
            users: factors("user_factors")?,
            items: factors("item_factors")?,
        },
        user_ids: ids("user")?,
        item_ids: ids("item")?,
        metadata,
    };
    let Factors { users, items } = &model.factors;
    if users.rows() != model.user_ids.len()
        || items.rows() != model.item_ids.len()
        || users.cols() != items.cols()
    {
        return Err(corrupt("tables and ids do not fit each other".to_owned()));
    }
    Ok(model)
}

fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
}

fn join(ids: &[String]) -> (Vec<u8>, Vec<u8>) {
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(8 * ids.len());
    for id in ids {
        text.extend_from_slice(id.as_bytes());
        ends.extend_from_slice(&(text.len() as u64).to_le_bytes());
    }
    (text, ends)
}

fn split(text: &[u8], ends: &[u8]) -> Option<Vec<String>> {
    let mut start = 0;
    let mut ids = Vec::with_capacity(ends.len() / 8);
    for &end in ends.as_chunks().0 {
        let end = usize::try_from(u64::from_le_bytes(end)).ok()?;
        let id = std::str::from_utf8(text.get(start..end)?).ok()?;
        ids.push(id.to_owned());
        start = end;
    }
    (start == text.len()).then_some(ids)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::matrix;
    use std::fs;

    fn model() -> ModelFile {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}-{i}-é")).collect();
        ModelFile {
            factors: Factors {
                users: matrix(7, 5, 1),
                items: matrix(11, 5, 2),
            },
            user_ids: names("u", 7),
            item_ids: names("", 11),
            metadata: (0..20)
                .map(|i| (format!("key{i}"), format!("\"{i}\"")))
                .collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_its_bytes_are_always_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        write(&path, &model()).unwrap();
        let first = fs::read(&path).unwrap();
        assert_eq!(read(&path).unwrap(), model());
        for _ in 0..5 {
            write(&path, &model()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), first);
        }
    }

    #[test]
    fn a_model_without_rows_is_a_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty.safetensors");
        let empty = ModelFile {
            factors: Factors {
                users: Matrix::zeros(0, 5),
                items: Matrix::zeros(0, 5),
            },
            user_ids: Vec::new(),
            item_ids: Vec::new(),
            metadata: BTreeMap::new(),
        };
        write(&path, &empty).unwrap();
        assert_eq!(read(&path).unwrap(), empty);
    }

    #[test]
    fn a_file_cut_short_anywhere_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        write(&path, &model()).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let error = read(&path).unwrap_err();
            assert!(
                matches!(error, ModelError::Corrupt { .. }),
                "{length}: {error}"
            );
        }
    }

    #[test]
    fn damage_to_the_header_or_the_ids_never_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        write(&path, &model()).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x81;
            fs::write(&path, &damaged).unwrap();
            // Damage inside the factors or an id's text is another valid model.
            if let Ok(found) = read(&path) {
                assert_eq!(found.factors.users.rows(), found.user_ids.len());
            }
        }
    }

    #[test]
    fn other_files_and_other_versions_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let missing = read(&path).unwrap_err();
        assert!(matches!(missing, ModelError::Io { .. }), "{missing}");
        let header = |json: &str| Some(HashMap::from([(KEY.to_owned(), json.to_owned())]));
        let none: [(&str, TensorView<'_>); 0] = [];
        safetensors::serialize_to_file(none, header(r#"{"format": "2"}"#), &path).unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            matches!(&error, ModelError::Version { found, .. } if found == "2"),
            "{error}"
        );
        let none: [(&str, TensorView<'_>); 0] = [];
        safetensors::serialize_to_file(none, None, &path).unwrap();
        assert!(matches!(
            read(&path).unwrap_err(),
            ModelError::Corrupt { .. }
        ));
    }

    #[test]
    fn ids_that_do_not_fit_the_factors_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = model();
        model.user_ids.pop();
        assert!(write(&dir.path().join("a"), &model).is_err());
    }
}
