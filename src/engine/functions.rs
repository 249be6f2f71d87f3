//! Our SQL functions, registered in this one place.
//!
//! | function | gives |
//! |---|---|
//! | `as_of()` | the end of the run's data interval, a timestamp; nothing at or after it may be used |
//! | `converted(amount, rate)` | amount × rate, exact to 18 places, half-even; both decimals |
//! | `per(amount, n, count)` | amount × n / count, exact to 18 places, half-even; null where count is 0 |
//! | `ratio(a, b)` | a / b of two amounts, exact to 18 places, half-even; null where b is 0 or the ratio is beyond 10²⁰ |
//! | `setting('name')` | a number of the pipeline file |
//! | `known(x)` | `x`, or null where a text is empty, blank, `NULL` or `(null)` |
//! | `json(x)` | a map, or a list of structs of key and value, as the text of a JSON object; a text as `known(x)` |
//! | `sha256_hex(x)` | SHA-256 of a text, as hexadecimal digits |
//! | `text(x)` | `x` as text: a double becomes its shortest decimal that reads back as the same double |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, StringViewArray, StringViewBuilder,
    StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, TimeUnit, UInt64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use sha2::{Digest, Sha256};

use super::{Options, interval_end_us};
use crate::error::{Error, nearest};
use crate::money::Money;
use crate::warehouse::Type;

pub(super) fn register(ctx: &SessionContext, options: &Options) {
    let settings = options
        .settings
        .iter()
        .map(|(name, value)| (name.clone(), value.to_bits()))
        .collect();
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
            name: "per",
            signature: Signature::any(3, Volatility::Immutable),
            body: Body::Per,
        },
        Function {
            name: "converted",
            signature: Signature::any(2, Volatility::Immutable),
            body: Body::Converted,
        },
        Function {
            name: "ratio",
            signature: Signature::any(2, Volatility::Immutable),
            body: Body::Ratio,
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
    for function in functions {
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
    Known,
    Json,
    Per,
    Converted,
    Ratio,
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
            (Body::AsOf(_), _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            (Body::Setting(_), _) => DataType::Float64,
            (Body::Per | Body::Converted | Body::Ratio, _) => Type::Money.arrow(),
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
            Body::Per => per(&args),
            Body::Converted => converted(&args),
            Body::Ratio => ratio(&args),
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

/// Amount, factor and count, row by row.
fn per(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let [amounts, factors, counts] = arrays.as_slice() else {
        return exec_err!("per() takes an amount, a factor and a count");
    };
    let amounts = cast(amounts, &Type::Money.arrow())?;
    let (factors, counts) = (
        cast(factors, &DataType::UInt64)?,
        cast(counts, &DataType::UInt64)?,
    );
    let (amounts, factors, counts) = (
        amounts.as_primitive::<Decimal128Type>(),
        factors.as_primitive::<UInt64Type>(),
        counts.as_primitive::<UInt64Type>(),
    );
    let ratio = |row: usize| -> Result<Option<i128>> {
        if amounts.is_null(row) || factors.is_null(row) || counts.is_null(row) {
            return Ok(None);
        }
        let ratio = Money(amounts.value(row)).per(factors.value(row), counts.value(row));
        let ratio = ratio.map_err(|e| Error::check(e.to_string()))?;
        Ok(ratio.map(|m| m.0))
    };
    let ratios = (0..amounts.len())
        .map(ratio)
        .collect::<Result<Decimal128Array>>()?;
    Ok(ColumnarValue::Array(Arc::new(
        ratios.with_data_type(Type::Money.arrow()),
    )))
}

/// Amount and rate, row by row.
fn converted(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let [amounts, rates] = arrays.as_slice() else {
        return exec_err!("converted() takes an amount and a rate");
    };
    let (amounts, rates) = (
        cast(amounts, &Type::Money.arrow())?,
        cast(rates, &Type::Money.arrow())?,
    );
    let amounts = amounts.as_primitive::<Decimal128Type>().iter();
    let pairs = amounts.zip(rates.as_primitive::<Decimal128Type>());
    let one = |(amount, rate): (Option<i128>, Option<i128>)| -> Result<Option<i128>> {
        let Some((amount, rate)) = amount.zip(rate) else {
            return Ok(None);
        };
        let converted = Money(amount).converted(Money(rate));
        let converted = converted.map_err(|e| Error::check(e.to_string()))?;
        Ok(Some(converted.0))
    };
    let converted = pairs.map(one).collect::<Result<Decimal128Array>>()?;
    Ok(ColumnarValue::Array(Arc::new(
        converted.with_data_type(Type::Money.arrow()),
    )))
}

/// Two amounts, row by row.
fn ratio(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let [of, to] = arrays.as_slice() else {
        return exec_err!("ratio() takes two amounts");
    };
    let [of, to] = [of, to].map(|a| cast(a, &Type::Money.arrow()));
    let (of, to) = (of?, to?);
    let pairs = of.as_primitive::<Decimal128Type>().iter();
    // 38 digits is what the type holds.
    let fits = |m: &Money| m.0.unsigned_abs() < 10_u128.pow(38);
    let ratios: Decimal128Array = pairs
        .zip(to.as_primitive::<Decimal128Type>())
        .map(|(of, to)| Money(of?).over(Money(to?)).filter(fits).map(|m| m.0))
        .collect();
    Ok(ColumnarValue::Array(Arc::new(
        ratios.with_data_type(Type::Money.arrow()),
    )))
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
