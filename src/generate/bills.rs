//! `usage/`, `billing/`, `ledger/` and `restated/`: day by day, one delivery per issuer and month.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::Progress;
use super::charges::{Amounts, Category, Charge, Commitment, Issuer, Target, month};
use super::cloud::{Day, EASTGRID, NORTHCLOUD};
use super::error::GenerateError;
use super::focus;
use super::ledger::FINANCE;
use super::prices::{Fixed, decimal_text};
use super::serving::{Model, Owner, Stage};
use super::spec::Spec;
use super::stream::{Domain, Stream};
use super::tax::tax;
use super::truth::DeliveryTotals;
use super::usage;

/// What every target costs on every day: the truth.
pub(super) type Costs = BTreeMap<(NaiveDate, Target), Amounts>;

/// The truth about the bills as delivered, and as they are once the restated delivery replaces its predecessor.
pub(super) struct Bill {
    pub(super) costs: Costs,
    pub(super) restated_costs: Costs,
    pub(super) restated: DeliveryTotals,
}

/// Charges of one month's days within the range.
struct Month {
    first: NaiveDate,
    /// The day after the last.
    end: NaiveDate,
    northcloud: Vec<Charge>,
    eastgrid: Vec<Charge>,
    ledger: Vec<Charge>,
}

/// Writes telemetry, bills and ledger; returns the truth and the totals of each delivery.
pub(super) fn write(
    spec: &Spec,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Bill, Vec<DeliveryTotals>), GenerateError> {
    let fixed = Fixed::new(spec.bill_size());
    let again = restated_month(spec);
    let mut costs = Costs::new();
    let mut deliveries = Vec::new();
    let mut restated: Option<(Vec<Charge>, Vec<Charge>)> = None;
    let mut open: Option<Month> = None;
    for (day, date) in (0u32..).zip(spec.dates()) {
        if let Some(done) = open.take_if(|m| month(m.first).0 != month(date).0) {
            close(
                spec,
                done,
                again,
                &mut costs,
                &mut deliveries,
                &mut restated,
            )?;
        }
        let telemetry = usage::day(spec, day, super::charges::midnight(date));
        usage::write(spec, date, &telemetry)?;
        let today = Day {
            date,
            upgraded: day >= spec.upgrade_day(),
            since_upgrade: day.checked_sub(spec.upgrade_day()),
            usage: &telemetry,
            fixed: &fixed,
        };
        let is_first = open.is_none();
        let month = open.get_or_insert_with(|| Month {
            first: date,
            end: date,
            northcloud: Vec::new(),
            eastgrid: Vec::new(),
            ledger: Vec::new(),
        });
        month.end = date + Days::new(1);
        month.northcloud.extend(today.northcloud());
        if is_first {
            month.northcloud.push(today.credit());
        }
        month.eastgrid.extend(today.eastgrid());
        month.ledger.extend(today.ledger());
        progress(Progress {
            stage: "billing",
            done: u64::from(day) + 1,
            total: u64::from(spec.days),
        });
    }
    if let Some(done) = open {
        close(
            spec,
            done,
            again,
            &mut costs,
            &mut deliveries,
            &mut restated,
        )?;
    }
    // `again` is a month of the range, so it has been closed above; without it nothing would be restated.
    let (before, after) = restated.unwrap_or_default();
    let mut restated_costs = costs.clone();
    book(&mut restated_costs, &before, -1);
    book(&mut restated_costs, &after, 1);
    let restated = totals(NORTHCLOUD, again, &after);
    Ok((
        Bill {
            costs,
            restated_costs,
            restated,
        },
        deliveries,
    ))
}

/// Taxes, writes and books a month.
fn close(
    spec: &Spec,
    mut month: Month,
    again: NaiveDate,
    costs: &mut Costs,
    deliveries: &mut Vec<DeliveryTotals>,
    restated: &mut Option<(Vec<Charge>, Vec<Charge>)>,
) -> Result<(), GenerateError> {
    let period = super::charges::month(month.first).0;
    let name = format!("billing_period={}", period.format("%Y-%m"));
    let mut stream = Stream::new(
        spec.seed,
        Domain::Bills,
        u64::from(
            month
                .first
                .format("%Y%m")
                .to_string()
                .parse::<u32>()
                .unwrap_or(0),
        ),
    );
    for charge in month
        .northcloud
        .iter_mut()
        .chain(&mut month.eastgrid)
        .chain(&mut month.ledger)
    {
        charge.quirk = stream.below(1_000) as u16;
    }
    if period == again {
        let untaxed = restate(&month);
        let changed = [
            untaxed.as_slice(),
            &[tax(&untaxed, NORTHCLOUD, month.first, month.end)],
        ]
        .concat();
        focus::write(
            &spec
                .out
                .join("restated/billing/northcloud")
                .join(&name)
                .join("part-00000.parquet"),
            &changed,
        )?;
        *restated = Some((Vec::new(), changed));
    }
    month
        .northcloud
        .push(tax(&month.northcloud, NORTHCLOUD, month.first, month.end));
    month
        .eastgrid
        .push(tax(&month.eastgrid, EASTGRID, month.first, month.end));
    for (issuer, charges) in [(NORTHCLOUD, &month.northcloud), (EASTGRID, &month.eastgrid)] {
        let path = spec
            .out
            .join("billing")
            .join(issuer.id)
            .join(&name)
            .join("part-00000.parquet");
        focus::write(&path, charges)?;
        book(costs, charges, 1);
        deliveries.push(totals(issuer, period, charges));
    }
    let ledger = spec
        .out
        .join("ledger")
        .join(format!("period={}", period.format("%Y-%m")))
        .join("part-00000.parquet");
    focus::write(&ledger, &month.ledger)?;
    book(costs, &month.ledger, 1);
    deliveries.push(totals(FINANCE, period, &month.ledger));
    if let Some((before, _)) = restated.as_mut().filter(|_| period == again) {
        *before = month.northcloud;
    }
    Ok(())
}

/// The month as a later delivery has it: half a dollar (at size 1) of the training instance, on one day in the middle, turns out to have
/// been spent for another model. The total stays, and with it the tax, but not its shares.
fn restate(month: &Month) -> Vec<Charge> {
    let mut charges = month.northcloud.clone();
    let middle = month.first + Days::new(((month.end - month.first).num_days() / 2) as u64);
    let position = charges.iter().position(|c| {
        c.day() == middle
            && c.category == Category::Usage
            && c.commitment == Commitment::None
            && c.tagged.is_some_and(|owner| owner.stage == Stage::Training)
    });
    if let Some(position) = position {
        let charge = &mut charges[position];
        let moved = Amounts {
            billed: charge.amounts.billed / 16 * 5,
            effective: charge.amounts.effective / 16 * 5,
        };
        let mut added = charge.clone();
        charge.amounts.billed -= moved.billed;
        charge.amounts.effective -= moved.effective;
        charges[position] = charges[position].clone().direct();
        added.amounts = moved;
        added.quantity = None;
        added.tagged = Some(Owner::new(Model::SimilarItems, "v3", Stage::Training));
        charges.insert(position + 1, added.direct());
    }
    charges
}

/// The last month that lies wholly in the range, else the one with the most days in it.
fn restated_month(spec: &Spec) -> NaiveDate {
    let mut days: BTreeMap<NaiveDate, i64> = BTreeMap::new();
    for date in spec.dates() {
        *days.entry(month(date).0).or_default() += 1;
    }
    let whole = days
        .iter()
        .rev()
        .find(|(first, count)| (month(**first).1 - **first).num_days() == **count);
    let fullest = days.iter().max_by_key(|(_, count)| **count);
    whole.or(fullest).map_or(spec.end, |(first, _)| *first)
}

fn book(costs: &mut Costs, charges: &[Charge], sign: i128) {
    for charge in charges {
        for (target, share) in &charge.shares {
            let signed = Amounts {
                billed: sign * share.billed,
                effective: sign * share.effective,
            };
            costs
                .entry((charge.day(), *target))
                .or_default()
                .add(signed);
        }
    }
    costs.retain(|_, amounts| *amounts != Amounts::default());
}

fn totals(issuer: Issuer, period: NaiveDate, charges: &[Charge]) -> DeliveryTotals {
    let mut sum = Amounts::default();
    for charge in charges {
        sum.add(charge.amounts);
    }
    DeliveryTotals {
        issuer: issuer.id.to_owned(),
        period: period.format("%Y-%m").to_string(),
        currency: "USD".to_owned(),
        rows: charges.len() as u64,
        billed: decimal_text(sum.billed),
        effective: decimal_text(sum.effective),
    }
}
