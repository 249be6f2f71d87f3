//! Events as columns: gives every event its texts and applies its planted fault.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::catalogue::Catalogue;
use super::error::GenerateError;
use super::faults::{Fault, Malformed};
use super::parquet_out::{field, timestamp};
use super::serving::Model;
use super::sessions::{Action, Event, Slice};
use crate::random::mix;

/// Rows of one batch.
pub(super) const BATCH: usize = 65_536;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        field("event_id", DataType::Utf8),
        field("event_time", timestamp()),
        field("user_id", DataType::Utf8),
        field("session_id", DataType::Utf8),
        field("event_type", DataType::Utf8),
        field("item_id", DataType::Utf8),
        field("query", DataType::Utf8),
        field("request_id", DataType::Utf8),
        field("model_id", DataType::Utf8),
        field("model_version", DataType::Utf8),
        field("surface", DataType::Utf8),
        field("rank", DataType::Int32),
        field("compute_ns", DataType::Int64),
        field("price", DataType::Decimal128(18, 4)),
        field("quantity", DataType::Int32),
        field("currency", DataType::Utf8),
    ]))
});

/// The columns of `events/`.
pub(super) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Names things of one file: numbers within it become ids that are unique in the whole export.
#[derive(Clone, Copy)]
pub(super) struct Ids {
    seed: u64,
    file: u64,
}

impl Ids {
    pub(super) fn new(seed: u64, slice: Slice) -> Self {
        Self {
            seed,
            file: (u64::from(slice.day) << 44) | (u64::from(slice.file) << 24),
        }
    }

    /// The number behind the id of an event: distinct for each, as [`mix`] is a bijection.
    pub(super) fn event(self, ordinal: usize) -> u64 {
        mix((self.file | ordinal as u64) ^ mix(self.seed))
    }

    fn session(self, number: u32) -> u64 {
        mix((self.file | u64::from(number)) ^ mix(self.seed ^ 1))
    }

    fn request(self, number: u32) -> u64 {
        mix((self.file | u64::from(number)) ^ mix(self.seed ^ 2))
    }
}

/// Writes `prefix` and 16 hexadecimal digits.
pub(super) fn hex_id(text: &mut String, prefix: char, value: u64) {
    text.clear();
    text.push(prefix);
    for shift in (0..16).rev() {
        text.push(char::from(
            b"0123456789abcdef"[(value >> (shift * 4) & 15) as usize],
        ));
    }
}

/// Writes `prefix` and `value` with at least `width` decimal digits.
pub(super) fn number_id(text: &mut String, prefix: char, value: u64, width: u32) {
    text.clear();
    text.push(prefix);
    let digits = (value.checked_ilog10().unwrap_or(0) + 1).max(width);
    for place in (0..digits).rev() {
        text.push(char::from(b'0' + (value / 10u64.pow(place) % 10) as u8));
    }
}

pub(super) fn user_id(text: &mut String, user: u64) {
    number_id(text, 'u', user, 7);
}

pub(super) fn item_id(text: &mut String, item: u64) {
    number_id(text, 'i', item, 6);
}

/// Columns under construction.
pub(super) struct EventBatch<'a> {
    catalogue: &'a Catalogue,
    ids: Ids,
    upgraded: bool,
    text: String,
    rows: usize,
    event_id: StringBuilder,
    event_time: TimestampMicrosecondBuilder,
    user_id: StringBuilder,
    session_id: StringBuilder,
    event_type: StringBuilder,
    item_id: StringBuilder,
    query: StringBuilder,
    request_id: StringBuilder,
    model_id: StringBuilder,
    model_version: StringBuilder,
    surface: StringBuilder,
    rank: Int32Builder,
    compute_ns: Int64Builder,
    price: Decimal128Builder,
    quantity: Int32Builder,
    currency: StringBuilder,
}

impl<'a> EventBatch<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, ids: Ids, upgraded: bool) -> Self {
        Self {
            catalogue,
            ids,
            upgraded,
            text: String::with_capacity(64),
            rows: 0,
            event_id: StringBuilder::new(),
            event_time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            user_id: StringBuilder::new(),
            session_id: StringBuilder::new(),
            event_type: StringBuilder::new(),
            item_id: StringBuilder::new(),
            query: StringBuilder::new(),
            request_id: StringBuilder::new(),
            model_id: StringBuilder::new(),
            model_version: StringBuilder::new(),
            surface: StringBuilder::new(),
            rank: Int32Builder::new(),
            compute_ns: Int64Builder::new(),
            price: Decimal128Builder::new().with_data_type(DataType::Decimal128(18, 4)),
            quantity: Int32Builder::new(),
            currency: StringBuilder::new(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the event with this position in its file.
    pub(super) fn append(&mut self, ordinal: usize, event: &Event) {
        self.rows += 1;
        let bad = match event.fault {
            Fault::Malformed(kind) => Some(kind),
            _ => None,
        };
        let id = self.ids.event(ordinal);
        hex_id(&mut self.text, 'e', id);
        self.event_id.append_value(&self.text);
        self.event_time.append_option(match bad {
            Some(Malformed::NullTime) => None,
            // A clock that was never set, or one that ran ahead: minutes into 1970, or into 2150 (180 years with 44 leap days).
            Some(Malformed::TimeOutOfRange) if id & 1 == 0 => Some((id % 3_600_000_000) as i64),
            Some(Malformed::TimeOutOfRange) => {
                Some((180 * 365 + 44) * 86_400_000_000 + (id % 3_600_000_000) as i64)
            }
            _ => Some(event.time),
        });
        if bad == Some(Malformed::NullUser) {
            self.user_id.append_null();
        } else {
            user_id(&mut self.text, u64::from(event.user));
            self.user_id.append_value(&self.text);
        }
        hex_id(&mut self.text, 's', self.ids.session(event.session));
        self.session_id.append_value(&self.text);
        self.event_type
            .append_value(if bad == Some(Malformed::UnknownEventType) {
                "hover"
            } else {
                event.action.name()
            });
        self.append_item(event, bad);
        self.append_recommended(event);
        self.append_money(event, bad);
    }

    fn append_item(&mut self, event: &Event, bad: Option<Malformed>) {
        if event.action == Action::Search {
            self.item_id.append_null();
            let item = &self.catalogue.items[event.item as usize];
            self.text.clear();
            match event.session % 4 {
                0 => self.text.push_str(item.niche()),
                1 => {
                    self.text.push_str(item.style());
                    self.text.push(' ');
                    self.text.push_str(item.noun());
                }
                2 => {
                    self.text.push_str(item.colour().unwrap_or(item.brand()));
                    self.text.push(' ');
                    self.text.push_str(item.noun());
                }
                _ => self.text.push_str(item.noun()),
            }
            self.text.make_ascii_lowercase();
            self.query.append_value(&self.text);
            return;
        }
        self.query.append_null();
        if bad == Some(Malformed::MissingItem) {
            self.item_id.append_null();
            return;
        }
        // Numbers from the catalogue's size on name items that it lacks.
        let beyond = if event.fault == Fault::UnknownItem {
            self.catalogue.items.len() as u64
        } else {
            0
        };
        item_id(&mut self.text, u64::from(event.item) + beyond);
        self.item_id.append_value(&self.text);
    }

    fn append_recommended(&mut self, event: &Event) {
        let Some(recommended) = event.recommended else {
            self.request_id.append_null();
            self.model_id.append_null();
            self.model_version.append_null();
            self.surface.append_null();
            self.rank.append_null();
            self.compute_ns.append_null();
            return;
        };
        let model: Model = recommended.model;
        hex_id(&mut self.text, 'r', self.ids.request(recommended.request));
        self.request_id.append_value(&self.text);
        self.model_id.append_value(model.id());
        self.model_version
            .append_value(model.version(self.upgraded));
        self.surface.append_value(recommended.surface.name());
        self.rank.append_value(i32::from(recommended.rank));
        self.compute_ns.append_option(
            (event.action == Action::Impression).then_some(i64::from(event.compute_ns)),
        );
    }

    fn append_money(&mut self, event: &Event, bad: Option<Malformed>) {
        if !event.action.is_priced() {
            self.price.append_null();
            self.quantity.append_null();
            self.currency.append_null();
            return;
        }
        let price = i128::from(self.catalogue.items[event.item as usize].cents) * 100;
        self.price
            .append_value(if bad == Some(Malformed::NegativePrice) {
                -price
            } else {
                price
            });
        self.quantity.append_option(match event.action {
            Action::Cart | Action::Purchase if bad == Some(Malformed::ZeroQuantity) => Some(0),
            Action::Cart | Action::Purchase => Some(i32::from(event.quantity)),
            _ => None,
        });
        self.currency
            .append_value(if bad == Some(Malformed::BadCurrency) {
                "XXX1"
            } else {
                "USD"
            });
    }

    /// The rows so far, leaving none.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, GenerateError> {
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.event_id.finish()),
            Arc::new(self.event_time.finish()),
            Arc::new(self.user_id.finish()),
            Arc::new(self.session_id.finish()),
            Arc::new(self.event_type.finish()),
            Arc::new(self.item_id.finish()),
            Arc::new(self.query.finish()),
            Arc::new(self.request_id.finish()),
            Arc::new(self.model_id.finish()),
            Arc::new(self.model_version.finish()),
            Arc::new(self.surface.finish()),
            Arc::new(self.rank.finish()),
            Arc::new(self.compute_ns.finish()),
            Arc::new(self.price.finish()),
            Arc::new(self.quantity.finish()),
            Arc::new(self.currency.finish()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}
