//! `usage/`: hourly telemetry of the shared resources, per model, version and stage.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use chrono::NaiveDate;

use super::error::GenerateError;
use super::parquet_out::write_once;
use super::serving::{Model, Owner, Stage};
use super::snapshots::batch;
use super::spec::Spec;
use super::stream::{Domain, Stream};

pub(super) const GPU_NODE_1: &str = "gpu-node-1";
pub(super) const GPU_NODE_2: &str = "gpu-node-2";
pub(super) const FLEET: &str = "serving-fleet";
pub(super) const STORE: &str = "feature-store";
pub(super) const GATEWAY: &str = "edge-gateway";

pub(super) const HOUR: i64 = 3_600_000_000;
pub(super) const HOUR_NS: i64 = 3_600_000_000_000;
pub(super) const NODE_1_GPUS: i64 = 2;
pub(super) const NODE_2_GPUS: i64 = 4;
/// Fleet cores by day and at night.
const CORES: [i64; 2] = [32, 16];

/// One row of `usage/`: what one owner used of one resource in one hour.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    /// µs since the epoch at which the hour begins.
    pub(super) start: i64,
    pub(super) resource: &'static str,
    pub(super) owner: Owner,
    pub(super) gpu_ns: i64,
    pub(super) cpu_ns: i64,
    pub(super) bytes: i64,
    pub(super) requests: i64,
    pub(super) reserved_ns: i64,
    /// Capacity of the whole resource in the hour; 0 where the resource has none.
    pub(super) capacity_ns: i64,
}

impl Usage {
    fn new(start: i64, resource: &'static str, owner: Owner) -> Self {
        Self {
            start,
            resource,
            owner,
            gpu_ns: 0,
            cpu_ns: 0,
            bytes: 0,
            requests: 0,
            reserved_ns: 0,
            capacity_ns: 0,
        }
    }

    /// What counts as busy on a machine: the greater of what was reserved and what was used.
    pub(super) fn busy_ns(&self) -> i64 {
        self.reserved_ns.max(self.gpu_ns).max(self.cpu_ns)
    }
}

/// All telemetry of the day with this index.
pub(super) fn day(spec: &Spec, day: u32, midnight: i64) -> Vec<Usage> {
    let mut stream = Stream::new(spec.seed, Domain::Usage, u64::from(day));
    let mut rows = Vec::new();
    let upgraded = day >= spec.upgrade_day();
    let bytes = daily_bytes(spec, upgraded, &mut stream);
    for hour in 0..24 {
        let start = midnight + hour * HOUR;
        node_1(&mut rows, start, hour, upgraded, &mut stream);
        node_2(
            &mut rows,
            start,
            hour,
            upgraded,
            day == spec.upgrade_day(),
            &mut stream,
        );
        fleet(
            &mut rows,
            start,
            hour,
            upgraded,
            spec.events_of_day(day),
            &mut stream,
        );
        rows.extend(bytes.iter().map(|(owner, bytes)| Usage {
            bytes: *bytes,
            ..Usage::new(start, STORE, *owner)
        }));
    }
    rows
}

/// This percentage of `capacity`, not rounded to anything round.
fn part(capacity: i64, low: i64, high: i64, stream: &mut Stream) -> i64 {
    let percent = stream.between(low * 1_000, high * 1_000 - 1);
    capacity / 100_000 * percent + stream.between(0, 999)
}

/// Inference: nothing at all between three and four in the morning, when the caches are rebuilt elsewhere.
fn node_1(rows: &mut Vec<Usage>, start: i64, hour: i64, upgraded: bool, stream: &mut Stream) {
    let capacity_ns = NODE_1_GPUS * HOUR_NS;
    let home = Usage {
        capacity_ns,
        ..Usage::new(
            start,
            GPU_NODE_1,
            Owner::serving(Model::HomeAls, upgraded, Stage::Deployment),
        )
    };
    if hour == 3 {
        // A machine without work still has a row: its capacity is all idle.
        rows.push(home);
        return;
    }
    let (low, high) = if (7..23).contains(&hour) {
        (30, 60)
    } else {
        (6, 20)
    };
    rows.push(Usage {
        gpu_ns: part(capacity_ns, low, high, stream),
        reserved_ns: capacity_ns / 100 * 35,
        ..home
    });
    let similar = Owner::serving(Model::SimilarItems, upgraded, Stage::Deployment);
    rows.push(Usage {
        gpu_ns: part(capacity_ns, low / 4, high / 3, stream),
        capacity_ns,
        ..Usage::new(start, GPU_NODE_1, similar)
    });
}

/// Training at night, development by day, the re-embedding of an upgrade in the evening; otherwise nothing.
fn node_2(
    rows: &mut Vec<Usage>,
    start: i64,
    hour: i64,
    upgraded: bool,
    upgrade: bool,
    stream: &mut Stream,
) {
    let capacity_ns = NODE_2_GPUS * HOUR_NS;
    let mut add = |owner, gpu_ns, reserved_ns| {
        rows.push(Usage {
            gpu_ns,
            reserved_ns,
            capacity_ns,
            ..Usage::new(start, GPU_NODE_2, owner)
        });
    };
    let home = Owner::serving(Model::HomeAls, upgraded, Stage::Training);
    match hour {
        1..=3 => add(home, part(capacity_ns, 55, 80, stream), 0),
        4 => {
            add(home, part(capacity_ns, 10, 30, stream), 0);
            add(
                Owner::serving(Model::SimilarItems, upgraded, Stage::Training),
                part(capacity_ns, 30, 60, stream),
                0,
            );
        }
        9..=16 => {
            let owner = if upgraded {
                Owner::serving(Model::SimilarItems, upgraded, Stage::Development)
            } else {
                Owner::new(Model::HomeAls, "v8", Stage::Development)
            };
            let reserved = if stream.chance(0.5) {
                capacity_ns / 4
            } else {
                0
            };
            add(owner, part(capacity_ns, 8, 40, stream), reserved);
        }
        18..=22 if upgrade => add(
            Owner::new(Model::HomeAls, "v8", Stage::Upgrade),
            part(capacity_ns, 60, 80, stream),
            0,
        ),
        _ => add(home, 0, 0),
    }
}

/// Request handling on shared cores, and the same requests at the gateway before it.
fn fleet(
    rows: &mut Vec<Usage>,
    start: i64,
    hour: i64,
    upgraded: bool,
    events: u64,
    stream: &mut Stream,
) {
    let day_time = (6..22).contains(&hour);
    let capacity_ns = CORES[usize::from(!day_time)] * HOUR_NS;
    let loads = [
        (Model::HomeAls, 15, 35, 45, 0),
        (Model::SimilarItems, 8, 20, 30, 0),
        (Model::Trending, 1, 6, 25, 4),
    ];
    for (model, low, high, per_thousand_events, reserved) in loads {
        let owner = Owner::serving(model, upgraded, Stage::Deployment);
        let share = if day_time { 5 } else { 2 };
        let expected = (events as i64 * per_thousand_events / 1_000) * share / 96;
        let requests = expected * stream.between(70, 130) / 100 + stream.between(1, 3);
        rows.push(Usage {
            cpu_ns: part(capacity_ns, low, high, stream),
            requests,
            reserved_ns: capacity_ns / 100 * reserved,
            capacity_ns,
            ..Usage::new(start, FLEET, owner)
        });
        rows.push(Usage {
            requests,
            ..Usage::new(start, GATEWAY, owner)
        });
    }
}

fn daily_bytes(spec: &Spec, upgraded: bool, stream: &mut Stream) -> Vec<(Owner, i64)> {
    let gigabytes = [
        (Model::HomeAls, Stage::Training, 60),
        (Model::HomeAls, Stage::Deployment, 20),
        (Model::SimilarItems, Stage::Training, 10),
        (Model::SimilarItems, Stage::Deployment, 35),
        (Model::Trending, Stage::Deployment, 1),
    ];
    gigabytes
        .into_iter()
        .map(|(model, stage, size)| {
            let bytes = size * spec.bill_size() * stream.between(980_000_000, 1_020_000_000);
            (Owner::serving(model, upgraded, stage), bytes)
        })
        .collect()
}

/// Writes one day's telemetry.
pub(super) fn write(spec: &Spec, date: NaiveDate, rows: &[Usage]) -> Result<(), GenerateError> {
    let time = |f: fn(&Usage) -> i64| -> ArrayRef {
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(rows.iter().map(f)).with_timezone("UTC"),
        )
    };
    let text = |f: fn(&Usage) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(f)))
    };
    let number = |f: fn(&Usage) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(f)))
    };
    let columns = vec![
        ("usage_start", time(|u| u.start)),
        ("usage_end", time(|u| u.start + HOUR)),
        ("resource_id", text(|u| u.resource)),
        ("model_id", text(|u| u.owner.model)),
        ("model_version", text(|u| u.owner.version)),
        ("stage", text(|u| u.owner.stage.name())),
        ("gpu_ns", number(|u| u.gpu_ns)),
        ("cpu_ns", number(|u| u.cpu_ns)),
        ("bytes", number(|u| u.bytes)),
        ("requests", number(|u| u.requests)),
        ("reserved_ns", number(|u| u.reserved_ns)),
        ("capacity_ns", number(|u| u.capacity_ns)),
    ];
    let path = spec
        .out
        .join("usage")
        .join(format!("ds={date}"))
        .join("part-00000.parquet");
    write_once(&path, &batch(columns)?, &[])
}
