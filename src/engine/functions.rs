//! Our SQL functions, registered in this one place.
//!
//! | function | gives |
//! |---|---|
//! | `as_of()` | the end of the run's data interval, a timestamp; nothing at or after it may be used |
//! | `period_start()`, `period_end()` | first instant of the month that is ingested, and of the next |
//! | `per(amount, n, count)` | amount × n / count, exact to 18 places, half-even; null where count is 0 |
//! | `ratio(a, b)` | a / b of two amounts, exact to 18 places, half-even; null where b is 0 or the ratio is beyond 10²⁰ |
//! | `times(amount, n)` | amount × n, n with up to 18 places; exact to 18 places, half-even |
//! | `depreciated(amount, from, months, until)` | what of an amount is written off by the day `until`, straight-line |
//! | `invoice_tolerance(currency, n)` | by how much n charges may differ from their invoice (FOCUS 1.4) |
//! | `setting('name')` | a number of the pipeline file |
//! | `quartile(place, count)` | 1 to 4: the band that `ntile(4)` gives to that place, 0 the first, of so many; null where there is no such place |
//! | `known(x)` | `x`, or null where a text is empty, blank, `NULL` or `(null)` |
//! | `json(x)` | a map, or a list of structs of key and value, as the text of a JSON object; a text as `known(x)` |
//! | `sha256_hex(x)` | SHA-256 of a text, as hexadecimal digits |
//! | `text(x)` | `x` as text: a double becomes its shortest decimal that reads back as the same double |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, StringViewArray, StringViewBuilder,
    StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use chrono::{Months, NaiveDate, TimeDelta};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use sha2::{Digest, Sha256};

use super::exact::Exact;
use super::{Options, interval_end_us};
use crate::error::{Error, nearest};
use crate::warehouse::Type;

pub(super) fn register(ctx: &SessionContext, options: &Options) {
    let settings = options
        .settings
        .iter()
        .map(|(name, value)| (name.clone(), value.to_bits()))
        .collect();
    let next = options
        .month
        .and_then(|m| m.checked_add_months(Months::new(1)));
    let first_instant = |day: NaiveDate| interval_end_us(day - TimeDelta::days(1));
    let any = || Signature::any(1, Volatility::Immutable);
    let functions = [
        Function {
            name: "as_of",
            signature: Signature::nullary(Volatility::Immutable),
            body: Body::AsOf(interval_end_us(options.date)),
        },
        Function {
            name: "setting",
            signature: Signature::string(1, Volatility::Immutable),
            body: Body::Setting(settings),
        },
        Function {
            name: "quartile",
            signature: Signature::exact(
                vec![DataType::Int64, DataType::Int64],
                Volatility::Immutable,
            ),
            body: Body::Quartile,
        },
        Function {
            name: "known",
            signature: any(),
            body: Body::Known,
        },
        Function {
            name: "json",
            signature: any(),
            body: Body::Json,
        },
        Function {
            name: "period_start",
            signature: Signature::nullary(Volatility::Immutable),
            body: Body::PeriodStart(options.month.map(first_instant)),
        },
        Function {
            name: "period_end",
            signature: Signature::nullary(Volatility::Immutable),
            body: Body::PeriodEnd(next.map(first_instant)),
        },
        Function {
            name: "sha256_hex",
            signature: any(),
            body: Body::Sha256,
        },
        Function {
            name: "text",
            signature: any(),
            body: Body::Text,
        },
    ];
    let exact = Exact::ALL.map(|exact| Function {
        name: exact.name(),
        signature: Signature::any(exact.arguments(), Volatility::Immutable),
        body: Body::Exact(exact),
    });
    for function in functions.into_iter().chain(exact) {
        ctx.register_udf(ScalarUDF::new_from_impl(function));
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    signature: Signature,
    body: Body,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Body {
    AsOf(i64),
    /// Bits of an `f64`, since a function must be comparable.
    Setting(BTreeMap<String, u64>),
    PeriodStart(Option<i64>),
    PeriodEnd(Option<i64>),
    Quartile,
    Known,
    Json,
    Exact(Exact),
    Sha256,
    Text,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(match (&self.body, args) {
            (Body::AsOf(_) | Body::PeriodStart(_) | Body::PeriodEnd(_), _) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            (Body::Setting(_), _) => DataType::Float64,
            (Body::Quartile, _) => DataType::Int32,
            (Body::Exact(_), _) => Type::Money.arrow(),
            (Body::Text | Body::Json | Body::Sha256, _) => DataType::Utf8View,
            (Body::Known, [ty]) if is_text(ty) => DataType::Utf8View,
            (Body::Known, [ty]) => ty.clone(),
            (Body::Known, _) => return exec_err!("known takes one argument"),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &self.body {
            Body::AsOf(us) => Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(
                Some(*us),
                Some("UTC".into()),
            ))),
            Body::Setting(settings) => setting(settings, &args.args),
            Body::Quartile => quartiles(&args),
            Body::Known => on_array(args, |array| {
                Ok(if is_text(array.data_type()) {
                    known(&to_text(array)?)
                } else {
                    Arc::clone(array)
                })
            }),
            Body::Json => on_array(args, |array| {
                Ok(if let Some(map) = array.as_map_opt() {
                    to_json(array, |row| Some(map.value(row)))?
                } else if let Some(list) = array.as_list_opt::<i32>() {
                    to_json(array, |row| list.value(row).as_struct_opt().cloned())?
                } else {
                    known(&to_text(array)?)
                })
            }),
            Body::PeriodStart(us) | Body::PeriodEnd(us) => month(*us),
            Body::Exact(exact) => exact.call(&args.args),
            Body::Sha256 => on_array(args, |array| Ok(sha256(&to_text(array)?))),
            Body::Text => on_array(args, to_text),
        }
    }
}

fn is_text(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn on_array(
    args: ScalarFunctionArgs,
    body: impl Fn(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    match args.args.first() {
        Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(body(array)?)),
        Some(ColumnarValue::Scalar(scalar)) => {
            let array = body(&scalar.to_array()?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &array, 0,
            )?))
        }
        None => exec_err!("one argument is needed"),
    }
}

fn month(us: Option<i64>) -> Result<ColumnarValue> {
    match us {
        Some(us) => Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(
            Some(us),
            Some("UTC".into()),
        ))),
        None => Err(Error::config(
            "period_start() and period_end() are for mappings of sources that are ingested by month",
        )
        .help("set `interval = \"month\"` for the source, or put {period} in its path")
        .into()),
    }
}

fn setting(settings: &BTreeMap<String, u64>, args: &[ColumnarValue]) -> Result<ColumnarValue> {
    let Some(ColumnarValue::Scalar(scalar)) = args.first() else {
        return exec_err!("setting() takes a name in quotes");
    };
    let name = scalar.try_as_str().flatten().unwrap_or_default();
    match settings.get(name) {
        Some(bits) => Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(
            f64::from_bits(*bits),
        )))),
        None => {
            let near = nearest(name, settings.keys().map(String::as_str));
            let hint = near.map_or(String::new(), |n| format!("; did you mean '{n}'?"));
            Err(Error::config(format!("there is no setting '{name}'{hint}")).into())
        }
    }
}

fn quartiles(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let [places, counts] = arrays.as_slice() else {
        return exec_err!("quartile takes a place and a count");
    };
    let places = places.as_primitive::<Int64Type>();
    let counts = counts.as_primitive::<Int64Type>();
    let pairs = places.iter().zip(counts);
    let bands: Int32Array = pairs.map(|(p, n)| quartile(p?, n?)).collect();
    Ok(ColumnarValue::Array(Arc::new(bands)))
}

/// The band, 1 to 4, of a place among `count` that are cut in four: the first `count % 4` bands have one more than the rest.
fn quartile(place: i64, count: i64) -> Option<i32> {
    if !(0..count).contains(&place) {
        return None;
    }
    let (size, longer) = (count / 4, count % 4);
    let band = if place < longer * (size + 1) {
        place / (size + 1)
    } else {
        (place - longer) / size
    };
    i32::try_from(band + 1).ok()
}

fn known(array: &ArrayRef) -> ArrayRef {
    let texts = array.as_string_view();
    Arc::new(
        texts
            .iter()
            .map(|t| {
                t.filter(|t| {
                    let t = t.trim();
                    !(t.is_empty()
                        || t.eq_ignore_ascii_case("null")
                        || t.eq_ignore_ascii_case("(null)"))
                })
            })
            .collect::<StringViewArray>(),
    )
}

fn sha256(array: &ArrayRef) -> ArrayRef {
    let digest = |text: &str| hex(&Sha256::digest(text.as_bytes()));
    let digests = array.as_string_view().iter().map(|t| t.map(digest));
    Arc::new(digests.collect::<StringViewArray>())
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Rows of keys and values, each as a JSON object with its keys in order.
fn to_json(rows: &ArrayRef, entries: impl Fn(usize) -> Option<StructArray>) -> Result<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(rows.len());
    for row in 0..rows.len() {
        if rows.is_null(row) {
            out.append_null();
            continue;
        }
        let Some(entries) = entries(row).filter(|e| e.num_columns() >= 2) else {
            return exec_err!("json takes a map, a list of structs of key and value, or a text");
        };
        // A map's entries are its keys and its values, in this order; a struct says which is which.
        let column = |name, at| entries.column_by_name(name).unwrap_or(entries.column(at));
        let keys = to_text(column("key", 0))?;
        let values = to_text(column("value", 1))?;
        let pairs = keys.as_string_view().iter().zip(values.as_string_view());
        let object: serde_json::Map<String, serde_json::Value> = pairs
            .filter_map(|(k, v)| Some((k?.to_string(), v.map(str::to_string).into())))
            .collect();
        out.append_value(serde_json::Value::Object(object).to_string());
    }
    Ok(Arc::new(out.finish()))
}

/// Any array as text. Doubles are written as the shortest decimal that reads back as the same double.
pub(crate) fn to_text(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::clone(array),
        DataType::Float64 | DataType::Float32 => {
            let doubles: ArrayRef = cast(array, &DataType::Float64)?;
            shortest(doubles.as_primitive::<Float64Type>())
        }
        _ => cast(array, &DataType::Utf8View)?,
    })
}

fn shortest(doubles: &Float64Array) -> ArrayRef {
    let mut out = StringViewBuilder::with_capacity(doubles.len());
    for value in doubles {
        out.append_option(value.map(|v| v.to_string()));
    }
    Arc::new(out.finish())
}
