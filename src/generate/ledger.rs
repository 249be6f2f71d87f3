//! What is on no cloud bill: people's time, licences and owned hardware.

use chrono::{Datelike, Weekday};

use super::charges::{Charge, Issuer, Product};
use super::cloud::{Day, product};
use super::serving::{Model, Owner, Stage};

pub(super) const FINANCE: Issuer = Issuer {
    id: "finance",
    legal_name: "Finance department",
    prefix: "FIN",
    account: "ledger-10",
    region: ("office", "Office"),
};

impl Day<'_> {
    /// The ledger: people's time, licences and owned hardware.
    pub(super) fn ledger(&self) -> Vec<Charge> {
        let line = |name, kind, description| Product {
            source_kind: Some(kind),
            sku: None,
            ..product(
                ["Other", "Other (Other)", "Internal cost"],
                name,
                "Internal",
                description,
            )
        };
        let labour = line("timesheet", "labour", "Timesheet");
        let developed = if self.upgraded {
            Owner::new(Model::SimilarItems, "v3", Stage::Development)
        } else {
            Owner::new(Model::HomeAls, "v8", Stage::Development)
        };
        let mut charges = Vec::new();
        let weekday = self.date.weekday();
        if !matches!(weekday, Weekday::Sat | Weekday::Sun) {
            let hours = if self.upgraded { 2_500 } else { 4_000 };
            charges.push(self.flat(FINANCE, labour, hours, Some(developed)));
            charges.push(self.flat(
                FINANCE,
                labour,
                1_200,
                Some(self.serving(Model::HomeAls, Stage::Operations)),
            ));
            charges.push(self.flat(
                FINANCE,
                labour,
                600,
                Some(self.serving(Model::SimilarItems, Stage::Operations)),
            ));
        }
        if weekday == Weekday::Mon {
            charges.push(self.flat(
                FINANCE,
                labour,
                300,
                Some(self.serving(Model::Trending, Stage::Operations)),
            ));
        }
        let workstation = line(
            "asset-0147",
            "hardware",
            "Workstation, straight-line depreciation over 36 months",
        );
        charges.push(self.flat(FINANCE, workstation, 310, Some(developed)));
        let labelling = line(
            "lic-labelling",
            "licence",
            "Labelling tool, day's part of the annual licence",
        );
        charges.push(self.flat(
            FINANCE,
            labelling,
            180,
            Some(Owner::new(Model::SimilarItems, "v3", Stage::Training)),
        ));
        for charge in &mut charges {
            if charge.product.source_kind != Some("labour") {
                charge.product.unit = Some("Days");
                charge.quantity = Some(1);
            } else {
                charge.quantity = None;
            }
        }
        charges
    }
}
