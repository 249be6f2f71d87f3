//! Model files: what was fitted, ids and metadata in one safetensors file, the same bytes for the same model.
//!
//! Tensors: `user_factors` and `item_factors` `[n, dim]`, f32 or f16, or i8 with `user_scales` and `item_scales` f32 `[n]`;
//! or `neighbour_ends` u64 `[items]`, `neighbour_items` u32 and
//! `neighbour_weights` f32 (a sparse matrix by rows) with `weight_power` f32 `[1]`; or `popularity` f32 `[items]`. Beside
//! factors there may be `content_items` u8 `[items]`: 1 where the vector was made of content. Ids as
//! `user_ids`, `item_ids` (u8, all texts joined) with `*_id_ends` (u64, where each text ends). Metadata is one JSON object with sorted keys under the key `recost`:
//! safetensors writes several keys in hash order, which differs from run to run.

use super::compress::numbers::{Numbers, from_f16, from_int8, to_f16, to_int8};
use super::popular::Popular;
use super::{Factors, Fitted, ModelError, Neighbours};
use crate::compute::Matrix;
use crate::features::csr::Csr;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::Path;

/// Bytes of a header at most, as the format has it.
const LONGEST_HEADER: u64 = 100_000_000;
/// The format that this program writes and reads.
const FORMAT: &str = "2";
const KEY: &str = "recost";
const FORMAT_KEY: &str = "format";
const CONTENT_ITEMS: &str = "content_items";

/// What a file holds: row `i` of a table belongs to id `i`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// What ranks items.
    pub fitted: Fitted,
    /// How the numbers of factors are stored; factors hold them to the digit when they were made coarse by
    /// [`Numbers::coarsen`].
    pub numbers: Numbers,
    /// `[users]`; empty where users have nothing of their own in the file.
    pub user_ids: Vec<String>,
    /// `[items]`.
    pub item_ids: Vec<String>,
    /// `[items]`: whose vectors were made of content and not learnt; empty where all were learnt.
    pub content_items: Vec<bool>,
    /// Family, hyperparameters, data hash and the like; the key `format` is the file's own.
    pub metadata: BTreeMap<String, String>,
}

impl ModelFile {
    /// What is wrong with the numbers of rows and ids.
    fn check(&self) -> Result<(), String> {
        let (users, items) = match &self.fitted {
            Fitted::Factors(factors) => {
                let (users, items) = (&factors.users, &factors.items);
                if users.cols() != items.cols() {
                    return Err(format!(
                        "users have {} dimensions, items {}",
                        users.cols(),
                        items.cols()
                    ));
                }
                (users.rows(), items.rows())
            }
            Fitted::Neighbours(neighbours) => (0, neighbours.weights.rows()),
            Fitted::Popular(popular) => (0, popular.scores().len()),
        };
        for (rows, ids, what) in [
            (users, &self.user_ids, "users"),
            (items, &self.item_ids, "items"),
        ] {
            if rows != ids.len() {
                return Err(format!("{} ids for {rows} {what}", ids.len()));
            }
        }
        if !self.content_items.is_empty() && self.content_items.len() != items {
            return Err(format!(
                "{} marks of content for {items} items",
                self.content_items.len()
            ));
        }
        Ok(())
    }
}

/// Writes `model` whole and durably. Returns the bytes of what was fitted, without ids.
///
/// # Errors
/// Ids that do not fit what was fitted, and those of the disk.
pub fn write(path: &Path, model: &ModelFile) -> Result<u64, ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    model.check().map_err(corrupt)?;
    let mut metadata = model.metadata.clone();
    metadata.insert(FORMAT_KEY.to_owned(), FORMAT.to_owned());
    let metadata = serde_json::to_string(&metadata).map_err(|error| corrupt(error.to_string()))?;
    let mut tensors = vec![];
    for (names, ids) in [
        (["user_ids", "user_id_ends"], &model.user_ids),
        (["item_ids", "item_id_ends"], &model.item_ids),
    ] {
        let (text, ends) = join(ids);
        tensors.push((names[0], Dtype::U8, vec![text.len()], Cow::Owned(text)));
        tensors.push((names[1], Dtype::U64, vec![ids.len()], Cow::Owned(ends)));
    }
    if !model.content_items.is_empty() {
        let marks = model.content_items.iter().map(|&made| u8::from(made));
        let items = vec![model.content_items.len()];
        tensors.push((CONTENT_ITEMS, Dtype::U8, items, Cow::Owned(marks.collect())));
    }
    let of_ids = tensors.len();
    let floats = |values| little_endian(values, f32::to_le_bytes);
    match &model.fitted {
        Fitted::Factors(factors) => {
            for ([name, scales_name], table) in [
                (["user_factors", "user_scales"], &factors.users),
                (["item_factors", "item_scales"], &factors.items),
            ] {
                let shape = vec![table.rows(), table.cols()];
                match model.numbers {
                    Numbers::F32 => tensors.push((name, Dtype::F32, shape, floats(table.data()))),
                    Numbers::F16 => {
                        let halves = Cow::Owned(to_f16(table.data()));
                        tensors.push((name, Dtype::F16, shape, halves));
                    }
                    Numbers::Int8 => {
                        let (integers, scales) = to_int8(table);
                        let integers = bytemuck::cast_slice(&integers).to_vec();
                        let scales = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
                        tensors.push((name, Dtype::I8, shape, Cow::Owned(integers)));
                        let rows = vec![table.rows()];
                        tensors.push((scales_name, Dtype::F32, rows, Cow::Owned(scales)));
                    }
                }
            }
        }
        Fitted::Neighbours(neighbours) => {
            let weights = &neighbours.weights;
            let entries = vec![weights.nnz()];
            let ends = little_endian(&weights.indptr()[1..], u64::to_le_bytes);
            let items = little_endian(weights.indices(), u32::to_le_bytes);
            let power = Cow::Owned(neighbours.weight_power.to_le_bytes().to_vec());
            tensors.extend([
                ("neighbour_ends", Dtype::U64, vec![weights.rows()], ends),
                ("neighbour_items", Dtype::U32, entries.clone(), items),
                (
                    "neighbour_weights",
                    Dtype::F32,
                    entries,
                    floats(weights.values()),
                ),
                ("weight_power", Dtype::F32, vec![1], power),
            ]);
        }
        Fitted::Popular(popular) => {
            let scores = popular.scores();
            tensors.push(("popularity", Dtype::F32, vec![scores.len()], floats(scores)));
        }
    }
    let bytes = tensors[of_ids..].iter().map(|tensor| tensor.3.len() as u64);
    let bytes = bytes.sum();
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| {
            Ok((*name, TensorView::new(*dtype, shape.clone(), data)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| corrupt(error.to_string()))?;
    let header = HashMap::from([(KEY.to_owned(), metadata)]);
    let io = |source| ModelError::Io {
        path: path.to_owned(),
        source,
    };
    safetensors::serialize_to_file(views, Some(header), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => io(source),
        error => corrupt(error.to_string()),
    })?;
    let file = std::fs::File::open(path).map_err(io)?;
    file.sync_all().map_err(io)?;
    Ok(bytes)
}

/// Reads a file back; a file cut short, altered in its header or of another format is an error that says so.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::Corrupt`] and [`ModelError::Version`].
pub fn read(path: &Path) -> Result<ModelFile, ModelError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &bytes)
}

/// What the bytes of the file `path` say.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<ModelFile, ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let (_, header) =
        SafeTensors::read_metadata(bytes).map_err(|error| corrupt(error.to_string()))?;
    let json = header.metadata().as_ref().and_then(|m| m.get(KEY));
    let metadata = parse_metadata(path, json)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| corrupt(error.to_string()))?;
    let tensors = Tensors(&tensors);
    let model = ModelFile {
        fitted: tensors.fitted().map_err(corrupt)?,
        numbers: tensors.numbers(),
        user_ids: tensors.ids("user").map_err(corrupt)?,
        item_ids: tensors.ids("item").map_err(corrupt)?,
        content_items: tensors.content_items().map_err(corrupt)?,
        metadata,
    };
    model.check().map_err(corrupt)?;
    Ok(model)
}

/// Reads the metadata of a file alone.
///
/// # Errors
/// Those of [`read`], but for what only the tensors show.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    let file = std::fs::File::open(path).map_err(|source| ModelError::Io {
        path: path.to_owned(),
        source,
    })?;
    parse_header(path, file)
}

/// The metadata of the file `path`, of which no more is read than its header.
///
/// # Errors
/// Those of [`read_metadata`].
pub(crate) fn parse_header(
    path: &Path,
    mut file: impl std::io::Read,
) -> Result<BTreeMap<String, String>, ModelError> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => ModelError::Corrupt {
            path: path.to_owned(),
            reason: "it ends within its header".into(),
        },
        _ => ModelError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let corrupt = |reason: String| ModelError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    // Eight bytes with the length of the header, and a JSON object.
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(io)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(corrupt(format!("a header of {length} bytes")));
    }
    let mut header = vec![];
    file.take(length).read_to_end(&mut header).map_err(io)?;
    let header: serde_json::Value =
        serde_json::from_slice(&header).map_err(|error| corrupt(error.to_string()))?;
    parse_metadata(path, header["__metadata__"][KEY].as_str())
}

fn parse_metadata(
    path: &Path,
    json: Option<impl AsRef<str>>,
) -> Result<BTreeMap<String, String>, ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let json = json.ok_or_else(|| corrupt("no metadata of this program".to_owned()))?;
    let mut metadata: BTreeMap<String, String> =
        serde_json::from_str(json.as_ref()).map_err(|error| corrupt(error.to_string()))?;
    let found = metadata.remove(FORMAT_KEY).unwrap_or_default();
    if found != FORMAT {
        return Err(ModelError::Version {
            path: path.to_owned(),
            found,
            wanted: FORMAT,
        });
    }
    Ok(metadata)
}

/// The tensors of a file; an error is the reason why it is no model file.
struct Tensors<'a>(&'a SafeTensors<'a>);

impl<'a> Tensors<'a> {
    fn get(&self, name: &str, dtype: Dtype, rank: usize) -> Result<TensorView<'a>, String> {
        let view = self.0.tensor(name).map_err(|error| error.to_string())?;
        if view.dtype() != dtype || view.shape().len() != rank {
            return Err(format!("{name} is {:?} {:?}", view.dtype(), view.shape()));
        }
        Ok(view)
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>, String> {
        let view = self.get(name, Dtype::F32, 1)?;
        Ok(numbers(view.data(), f32::from_le_bytes))
    }

    /// The format of factors.
    fn numbers(&self) -> Numbers {
        match self.0.tensor("item_factors").map(|view| view.dtype()) {
            Ok(Dtype::F16) => Numbers::F16,
            Ok(Dtype::I8) => Numbers::Int8,
            // `table` says what is wrong with others.
            _ => Numbers::F32,
        }
    }

    fn table(&self, side: &str) -> Result<Matrix, String> {
        let stored = self.numbers();
        let dtype = match stored {
            Numbers::F32 => Dtype::F32,
            Numbers::F16 => Dtype::F16,
            Numbers::Int8 => Dtype::I8,
        };
        let view = self.get(&format!("{side}_factors"), dtype, 2)?;
        let (rows, cols) = (view.shape()[0], view.shape()[1]);
        let values = match stored {
            Numbers::F32 => numbers(view.data(), f32::from_le_bytes),
            Numbers::F16 => from_f16(view.data()),
            Numbers::Int8 => {
                let scales = self.floats(&format!("{side}_scales"))?;
                if scales.len() != rows {
                    return Err(format!("{} scales for {rows} {side}s", scales.len()));
                }
                from_int8(bytemuck::cast_slice(view.data()), &scales, cols)
            }
        };
        Matrix::new(rows, cols, values).map_err(|error| error.to_string())
    }

    fn ids(&self, side: &str) -> Result<Vec<String>, String> {
        let ends = self.get(&format!("{side}_id_ends"), Dtype::U64, 1)?;
        let text = self.get(&format!("{side}_ids"), Dtype::U8, 1)?;
        split(text.data(), ends.data()).ok_or_else(|| format!("the ids of {side}s are damaged"))
    }

    fn content_items(&self) -> Result<Vec<bool>, String> {
        if !self.0.names().contains(&CONTENT_ITEMS) {
            return Ok(vec![]);
        }
        let marks = self.get(CONTENT_ITEMS, Dtype::U8, 1)?;
        Ok(marks.data().iter().map(|&mark| mark != 0).collect())
    }

    fn fitted(&self) -> Result<Fitted, String> {
        let has = |name: &str| self.0.names().contains(&name);
        if has("popularity") {
            return Ok(Fitted::Popular(Popular::new(self.floats("popularity")?)));
        }
        if has("neighbour_ends") {
            let ends = self.get("neighbour_ends", Dtype::U64, 1)?;
            let items = self.get("neighbour_items", Dtype::U32, 1)?;
            let mut indptr = vec![0];
            indptr.extend(numbers(ends.data(), u64::from_le_bytes));
            let count = indptr.len() - 1;
            let items = numbers(items.data(), u32::from_le_bytes);
            let weights = self.floats("neighbour_weights")?;
            let power = self.floats("weight_power")?;
            return Ok(Fitted::Neighbours(Neighbours {
                weights: Csr::new(count, count, indptr, items, weights)
                    .map_err(|error| error.to_string())?,
                weight_power: power.first().copied().ok_or("weight_power is empty")?,
            }));
        }
        Ok(Fitted::Factors(Factors {
            users: self.table("user")?,
            items: self.table("item")?,
        }))
    }
}

/// Numbers from their bytes; what is left over is no number.
fn numbers<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&b| from(b)).collect()
}

fn little_endian<T: bytemuck::Pod, const N: usize>(
    values: &[T],
    to: fn(T) -> [u8; N],
) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(values.iter().flat_map(|&v| to(v)).collect())
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
    use crate::compute::testing::{csr, matrix};
    use std::fs;

    fn factors() -> Fitted {
        Fitted::Factors(Factors {
            users: matrix(7, 5, 1),
            items: matrix(11, 5, 2),
        })
    }

    fn neighbours() -> Fitted {
        Fitted::Neighbours(Neighbours {
            weights: csr(11, 11, 3, 1),
            weight_power: 0.5,
        })
    }

    fn model(fitted: Fitted) -> ModelFile {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}-{i}-é")).collect();
        let users = if matches!(fitted, Fitted::Factors(_)) {
            7
        } else {
            0
        };
        ModelFile {
            fitted,
            numbers: Numbers::F32,
            user_ids: names("u", users),
            item_ids: names("", 11),
            content_items: vec![],
            metadata: (0..20)
                .map(|i| (format!("key{i}"), format!("\"{i}\"")))
                .collect(),
        }
    }

    fn coarse(numbers: Numbers) -> ModelFile {
        let mut users = matrix(7, 5, 1);
        users.data_mut()[10..15].fill(0.0);
        let fitted = Fitted::Factors(Factors {
            users: numbers.coarsen(&users).unwrap(),
            items: numbers.coarsen(&matrix(11, 5, 2)).unwrap(),
        });
        ModelFile {
            numbers,
            ..model(fitted)
        }
    }

    /// One of each kind.
    fn models() -> [ModelFile; 5] {
        let popular = Popular::new((0..11u8).map(f32::from).collect());
        let [mut a, b, c] = [factors(), neighbours(), Fitted::Popular(popular)].map(model);
        a.content_items = (0..11).map(|item| item % 4 == 1).collect();
        [a, b, c, coarse(Numbers::F16), coarse(Numbers::Int8)]
    }

    #[test]
    fn coarse_numbers_take_a_half_and_a_quarter_of_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let bytes = |model: &ModelFile| write(&path, model).unwrap();
        assert_eq!(bytes(&model(factors())), 18 * 5 * 4);
        assert_eq!(bytes(&coarse(Numbers::F16)), 18 * 5 * 2);
        assert_eq!(bytes(&coarse(Numbers::Int8)), 18 * (5 + 4));
        assert!(fs::metadata(&path).unwrap().len() > 18 * 9);
    }

    #[test]
    fn scales_that_are_too_few_or_missing_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        write(&path, &coarse(Numbers::Int8)).unwrap();
        let whole = fs::read(&path).unwrap();
        let renamed = String::from_utf8_lossy(&whole).find("user_scales").unwrap();
        let mut broken = whole.clone();
        broken[renamed] = b'x';
        fs::write(&path, &broken).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, ModelError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn what_is_written_is_read_back_and_its_bytes_are_always_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        for model in models() {
            write(&path, &model).unwrap();
            let first = fs::read(&path).unwrap();
            assert_eq!(read(&path).unwrap(), model);
            assert_eq!(read_metadata(&path).unwrap(), model.metadata);
            for _ in 0..5 {
                write(&path, &model).unwrap();
                assert_eq!(fs::read(&path).unwrap(), first);
            }
        }
    }

    #[test]
    fn a_model_without_rows_is_a_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty.safetensors");
        let empty = ModelFile {
            fitted: Fitted::Factors(Factors {
                users: Matrix::zeros(0, 5),
                items: Matrix::zeros(0, 5),
            }),
            numbers: Numbers::Int8,
            user_ids: Vec::new(),
            item_ids: Vec::new(),
            content_items: vec![],
            metadata: BTreeMap::new(),
        };
        write(&path, &empty).unwrap();
        assert_eq!(read(&path).unwrap(), empty);
    }

    #[test]
    fn a_file_cut_short_anywhere_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        for model in models() {
            write(&path, &model).unwrap();
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
    }

    #[test]
    fn damage_never_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        for model in models() {
            write(&path, &model).unwrap();
            let whole = fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x81;
                fs::write(&path, &damaged).unwrap();
                // Damage inside the numbers or an id's text is another valid model.
                if let Ok(found) = read(&path) {
                    assert!(found.check().is_ok());
                }
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
        safetensors::serialize_to_file(none, header(r#"{"format": "1"}"#), &path).unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            matches!(&error, ModelError::Version { found, .. } if found == "1"),
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
        let mut fewer = model(factors());
        fewer.user_ids.pop();
        assert!(write(&dir.path().join("a"), &fewer).is_err());
        let mut fewer = model(neighbours());
        fewer.item_ids.pop();
        assert!(write(&dir.path().join("a"), &fewer).is_err());
    }
}
