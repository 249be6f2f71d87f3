//! What a table promises: grain, columns, types, units, partitioning, order, and what a row must satisfy.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// The type of a column, as an analyst thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// UTF-8 text.
    Text,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// 32-bit float: scores and factors.
    Float32,
    /// 64-bit float: weights, metrics and seconds, never money.
    Float64,
    /// Truth value.
    Bool,
    /// An amount of money: decimal(38, 18).
    Money,
    /// What rounding took from an amount: decimal(38, 38).
    Residue,
    /// A shelf price: decimal(18, 4).
    Price,
    /// A whole number beyond 64 bits: decimal(38, 0).
    Whole,
    /// An instant in UTC, microseconds.
    Timestamp,
    /// A day.
    Date,
    /// Text to text.
    TextMap,
    /// A list of texts.
    TextList,
    /// A vector of 32-bit floats.
    Vector,
}

impl Type {
    /// The Arrow type in memory and (strings apart) in the file.
    pub fn arrow(self) -> DataType {
        match self {
            Type::Text => DataType::Utf8View,
            Type::Int32 => DataType::Int32,
            Type::Int64 => DataType::Int64,
            Type::Float32 => DataType::Float32,
            Type::Float64 => DataType::Float64,
            Type::Bool => DataType::Boolean,
            Type::Money => DataType::Decimal128(38, 18),
            Type::Residue => DataType::Decimal128(38, 38),
            Type::Price => DataType::Decimal128(18, 4),
            Type::Whole => DataType::Decimal128(38, 0),
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::Date => DataType::Date32,
            Type::TextMap => DataType::Map(
                Arc::new(Field::new(
                    "entries",
                    DataType::Struct(Fields::from(vec![
                        Field::new("key", DataType::Utf8, false),
                        Field::new("value", DataType::Utf8, true),
                    ])),
                    false,
                )),
                false,
            ),
            Type::TextList => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
            Type::Vector => DataType::List(Arc::new(Field::new("item", DataType::Float32, true))),
        }
    }

    /// The name shown in documentation.
    pub fn name(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Int32 => "int32",
            Type::Int64 => "int64",
            Type::Float32 => "float32",
            Type::Float64 => "float64",
            Type::Bool => "boolean",
            Type::Money => "decimal(38,18)",
            Type::Residue => "decimal(38,38)",
            Type::Price => "decimal(18,4)",
            Type::Whole => "decimal(38,0)",
            Type::Timestamp => "timestamp (UTC, µs)",
            Type::Date => "date",
            Type::TextMap => "map<text,text>",
            Type::TextList => "list<text>",
            Type::Vector => "list<float32>",
        }
    }
}

/// What a value of a source row must satisfy; a row that does not is quarantined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An ISO 4217 currency code.
    Currency,
    /// Zero or more.
    NotNegative,
    /// One or more.
    Positive,
    /// Present whenever the other column has one of these texts.
    RequiredWhen(&'static str, &'static [&'static str]),
    /// Not after the end of the run's interval, and not before 2000-01-01.
    HasHappened,
    /// Between the years 2000 and 2100.
    PlausibleTime,
    /// Later than the other timestamp column.
    After(&'static str),
    /// A JSON object, or absent.
    JsonObject,
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name, in snake_case; FOCUS names for billing.
    pub name: &'static str,
    /// Type.
    pub ty: Type,
    /// Whether every row has a value.
    pub required: bool,
    /// Unit of a number, or empty.
    pub unit: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// What a source row must satisfy.
    pub checks: &'static [Check],
    /// Whether values hardly repeat within a file.
    pub distinct: bool,
}

/// How a table is partitioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// One set of files, replaced whole.
    None,
    /// `ds=YYYY-MM-DD`.
    Day,
    /// `billing_period=YYYY-MM`.
    BillingPeriod,
}

impl Partition {
    /// The partition column's name.
    pub fn column(self) -> Option<&'static str> {
        match self {
            Partition::None => None,
            Partition::Day => Some("ds"),
            Partition::BillingPeriod => Some("billing_period"),
        }
    }

    /// The partition column as a field of the table's schema.
    pub fn field(self) -> Option<Field> {
        let ty = match self {
            Partition::None => return None,
            Partition::Day => DataType::Date32,
            Partition::BillingPeriod => DataType::Utf8View,
        };
        self.column().map(|name| Field::new(name, ty, false))
    }
}

/// The contract of one table.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Name of the table and of its folder.
    pub name: &'static str,
    /// One row per what.
    pub grain: &'static str,
    /// How its files are divided.
    pub partition: Partition,
    /// The columns by which each partition is sorted; empty where rows keep the order of the export.
    pub order: &'static [&'static str],
    /// The columns in the files, in order; the partition column is not among them.
    pub columns: &'static [Column],
}

impl Table {
    /// Schema of the files: all columns but the partition column.
    pub fn file_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields()))
    }

    /// Schema that queries see: the file's columns, then the partition column.
    pub fn schema(&self) -> SchemaRef {
        let mut fields = self.fields();
        fields.extend(self.partition.field());
        Arc::new(Schema::new(fields))
    }

    fn fields(&self) -> Vec<Field> {
        self.columns
            .iter()
            .map(|c| Field::new(c.name, c.ty.arrow(), !c.required))
            .collect()
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}
