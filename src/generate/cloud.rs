//! What the two clouds charge on a day.

use chrono::NaiveDate;

use super::charges::{Amounts, Category, Charge, Commitment, Issuer, Product, midnight, month};
use super::prices::{BYTE_HOUR, CPU_NS, Fixed, GPU_NS, REQUEST};
use super::serving::{Model, Owner, Stage};
use super::usage::{
    FLEET, GATEWAY, GPU_NODE_1, GPU_NODE_2, HOUR, HOUR_NS, NODE_1_GPUS, NODE_2_GPUS, STORE, Usage,
};

pub(super) const NORTHCLOUD: Issuer = Issuer {
    id: "northcloud",
    legal_name: "Northcloud Inc.",
    prefix: "NC",
    account: "nc-400018",
    region: ("nc-north-1", "Northcloud North 1"),
};
pub(super) const EASTGRID: Issuer = Issuer {
    id: "eastgrid",
    legal_name: "Eastgrid GmbH",
    prefix: "EG",
    account: "eg-771-204",
    region: ("eg-fra", "Frankfurt"),
};

/// Cents a day at size 1 that the marketplace licence comes to.
const LICENCE: i128 = 210;

pub(super) const fn product(
    names: [&'static str; 3],
    resource: &'static str,
    resource_type: &'static str,
    description: &'static str,
) -> Product {
    Product {
        service_category: names[0],
        service_subcategory: names[1],
        service_name: names[2],
        publisher: None,
        resource_id: Some(resource),
        resource_type: Some(resource_type),
        description,
        unit: Some("Hours"),
        sku: Some(resource),
        source_kind: None,
    }
}

const MACHINES: [&str; 3] = ["Compute", "Virtual Machines", "Virtual Machines"];
const GPUS: [&str; 3] = ["Compute", "Virtual Machines", "GPU Nodes"];
const TRAINING_VM: &str = "i-0a4f19c2train";
const COMMITMENT: &str = "commitment-2026-gpu-1y";

/// A day's charges at both clouds.
pub(super) struct Day<'a> {
    pub(super) date: NaiveDate,
    pub(super) upgraded: bool,
    /// Days since the upgrade, 0 on the day itself.
    pub(super) since_upgrade: Option<u32>,
    pub(super) usage: &'a [Usage],
    pub(super) fixed: &'a Fixed,
}

impl Day<'_> {
    fn charge(&self, issuer: Issuer, product: Product) -> Charge {
        let start = midnight(self.date);
        Charge {
            issuer,
            product,
            category: Category::Usage,
            commitment: Commitment::None,
            period: month(self.date).0,
            start,
            end: start + 24 * HOUR,
            amounts: Amounts::default(),
            quantity: None,
            tagged: None,
            shares: Vec::new(),
            quirk: 0,
        }
    }

    /// A charge of this many cents that its tags, if any, own.
    pub(super) fn flat(
        &self,
        issuer: Issuer,
        product: Product,
        cents: i128,
        tagged: Option<Owner>,
    ) -> Charge {
        let amount = self.fixed.cents(cents);
        let amounts = Amounts {
            billed: amount,
            effective: amount,
        };
        Charge {
            amounts,
            tagged,
            quantity: Some(24),
            ..self.charge(issuer, product)
        }
        .direct()
    }

    fn rows(&self, resource: &'static str) -> impl Iterator<Item = &Usage> {
        self.usage
            .iter()
            .filter(move |row| row.resource == resource)
    }

    pub(super) fn serving(&self, model: Model, stage: Stage) -> Owner {
        Owner::serving(model, self.upgraded, stage)
    }

    pub(super) fn northcloud(&self) -> Vec<Charge> {
        let mut charges = Vec::new();
        let gpu = self.fixed.rate(GPU_NS);
        let node = |name, description| Product {
            unit: Some("GPU-Hours"),
            ..product(GPUS, name, "GPU node", description)
        };
        for hour in 0..24 {
            let base = self.charge(NORTHCLOUD, node(GPU_NODE_1, "GPU node, per GPU-hour"));
            let (start, end) = (base.start + hour * HOUR, base.start + (hour + 1) * HOUR);
            let base = Charge {
                start,
                end,
                quantity: Some(NODE_1_GPUS),
                ..base
            };
            charges.push(
                base.machine(
                    gpu,
                    self.rows(GPU_NODE_1)
                        .filter(|u| (start..end).contains(&u.start)),
                ),
            );
        }
        let base = self.charge(NORTHCLOUD, node(GPU_NODE_2, "GPU node, per GPU-hour"));
        charges.push(
            Charge {
                quantity: Some(24 * NODE_2_GPUS),
                ..base
            }
            .machine(gpu, self.rows(GPU_NODE_2)),
        );

        let training = Some(self.serving(Model::HomeAls, Stage::Training));
        let vm = product(
            MACHINES,
            TRAINING_VM,
            "Virtual machine",
            "Training instance, on demand",
        );
        charges.push(self.flat(NORTHCLOUD, vm, 160, training));
        charges.extend(self.commitment(vm, training));

        let gateway = Product {
            unit: Some("Requests"),
            ..product(
                ["Networking", "Network Connectivity", "Edge Gateway"],
                GATEWAY,
                "Gateway",
                "Requests handled at the edge",
            )
        };
        charges.push(
            self.charge(NORTHCLOUD, gateway)
                .pool(REQUEST, self.rows(GATEWAY), |u| u.requests),
        );
        charges.extend(self.licence());
        let support = Product {
            resource_id: None,
            resource_type: None,
            ..product(
                ["Management and Governance", "Support", "Business Support"],
                "support",
                "",
                "Support plan",
            )
        };
        charges.push(self.flat(NORTHCLOUD, support, 45, None));
        charges
    }

    /// A committed instance: the fee is billed and covers what was used of it and what was not.
    fn commitment(&self, vm: Product, owner: Option<Owner>) -> [Charge; 3] {
        let covered = |product, cents, tagged, commitment| {
            let amounts = Amounts {
                billed: 0,
                effective: self.fixed.cents(cents),
            };
            Charge {
                amounts,
                tagged,
                commitment,
                quantity: Some(24),
                ..self.charge(NORTHCLOUD, product)
            }
            .direct()
        };
        let used = Product {
            description: "Training instance, covered by a commitment",
            ..vm
        };
        let unused = product(GPUS, COMMITMENT, "Commitment", "Commitment not used");
        let fee = Charge {
            category: Category::Purchase,
            commitment: Commitment::Fee,
            amounts: Amounts {
                billed: self.fixed.cents(300),
                effective: 0,
            },
            quantity: Some(1),
            ..self.charge(
                NORTHCLOUD,
                Product {
                    description: "Commitment, fee of the day",
                    unit: Some("Days"),
                    ..unused
                },
            )
        };
        [
            covered(used, 240, owner, Commitment::Used),
            covered(unused, 60, None, Commitment::Unused),
            fee.direct(),
        ]
    }

    /// A licence bought by the month and recognised by the day.
    fn licence(&self) -> Vec<Charge> {
        let owner = Some(Owner::new(Model::SimilarItems, "v3", Stage::Deployment));
        let product = Product {
            publisher: Some("Vektor Labs"),
            unit: Some("Days"),
            ..product(
                [
                    "AI and Machine Learning",
                    "AI Platforms",
                    "Marketplace: Vektor Search",
                ],
                "lic-vektor-search",
                "Software licence",
                "Vektor Search licence, day's part",
            )
        };
        let amounts = Amounts {
            billed: 0,
            effective: self.fixed.cents(LICENCE),
        };
        let part = Charge {
            amounts,
            tagged: owner,
            quantity: Some(1),
            ..self.charge(NORTHCLOUD, product)
        };
        let mut charges = vec![part.direct()];
        let (first, next) = month(self.date);
        if self.date == first {
            let days = (next - first).num_days();
            let product = Product {
                description: "Vektor Search licence, monthly purchase",
                ..product
            };
            let purchase = Charge {
                category: Category::Purchase,
                end: midnight(next),
                amounts: Amounts {
                    billed: self.fixed.cents(LICENCE * i128::from(days)),
                    effective: 0,
                },
                tagged: owner,
                quantity: Some(days),
                ..self.charge(NORTHCLOUD, product)
            };
            charges.push(purchase.direct());
        }
        charges
    }

    /// Credit for an outage, granted once per invoice; smaller than what the same tags cost on any single day.
    pub(super) fn credit(&self) -> Charge {
        let owner = self.serving(Model::HomeAls, Stage::Training);
        let product = Product {
            unit: None,
            sku: None,
            ..product(
                MACHINES,
                TRAINING_VM,
                "Virtual machine",
                "Service credit for an outage of the month before",
            )
        };
        let mut charge = self.flat(NORTHCLOUD, product, -150, Some(owner));
        charge.category = Category::Credit;
        charge.quantity = None;
        charge
    }

    pub(super) fn eastgrid(&self) -> Vec<Charge> {
        let mut charges = Vec::new();
        let fleet = Product {
            unit: Some("Core-Hours"),
            ..product(
                ["Compute", "Containers", "Container Fleet"],
                FLEET,
                "Cluster",
                "Serving fleet",
            )
        };
        let mut hours: Vec<(i64, i64)> = self
            .rows(FLEET)
            .map(|u| (u.start, u.capacity_ns / HOUR_NS))
            .collect();
        hours.dedup();
        let quantity = Some(hours.iter().map(|h| h.1).sum());
        charges.push(
            Charge {
                quantity,
                ..self.charge(EASTGRID, fleet)
            }
            .machine(self.fixed.rate(CPU_NS), self.rows(FLEET)),
        );
        let store = Product {
            unit: Some("Byte-Hours"),
            ..product(
                ["Storage", "Object Storage", "Object Store"],
                STORE,
                "Bucket",
                "Stored bytes",
            )
        };
        charges.push(
            self.charge(EASTGRID, store)
                .pool(BYTE_HOUR, self.rows(STORE), |u| u.bytes),
        );

        let monitor = product(
            MACHINES,
            "eg-vm-monitor-01",
            "Virtual machine",
            "Monitoring instance",
        );
        for (model, cents) in [
            (Model::HomeAls, 70),
            (Model::SimilarItems, 40),
            (Model::Trending, 20),
        ] {
            charges.push(self.flat(
                EASTGRID,
                monitor,
                cents,
                Some(self.serving(model, Stage::Operations)),
            ));
        }
        let embed = product(
            MACHINES,
            "eg-vm-reembed-01",
            "Virtual machine",
            "Re-embedding of the catalogue for the new version",
        );
        let upgrade = Some(Owner::new(Model::HomeAls, "v8", Stage::Upgrade));
        match self.since_upgrade {
            Some(0) => charges.push(self.flat(EASTGRID, embed, 900, upgrade)),
            Some(1) => charges.push(self.flat(EASTGRID, embed, 350, upgrade)),
            _ => {}
        }
        let wiki = product(MACHINES, "vm-office-wiki", "Virtual machine", "Office wiki");
        charges.push(self.flat(EASTGRID, wiki, 55, None));
        charges
    }
}
