//! Every table that recost publishes. `recost tables`, `docs/tables.md` and the checks on write are made from this list.

use super::contract::{Check, Column, Partition, Table, Type};
use Check::{
    After, Currency, HasHappened, NotNegative, OneOf, PlausibleTime, Positive, RequiredWhen,
};
use Type::{
    Bool, Date, Float32, Float64, Int32, Int64, Money, Price, Residue, Text, TextList, TextMap,
    Timestamp, Vector, Whole,
};

/// The table of that name.
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|t| t.name == name)
}

const fn req(name: &'static str, ty: Type, doc: &'static str) -> Column {
    Column {
        name,
        ty,
        required: true,
        unit: "",
        doc,
        checks: &[],
        distinct: false,
    }
}

const fn opt(name: &'static str, ty: Type, doc: &'static str) -> Column {
    Column {
        required: false,
        ..req(name, ty, doc)
    }
}

impl Column {
    const fn unit(self, unit: &'static str) -> Column {
        Column { unit, ..self }
    }

    const fn distinct(self) -> Column {
        Column {
            distinct: true,
            ..self
        }
    }

    const fn check(self, checks: &'static [Check]) -> Column {
        Column { checks, ..self }
    }
}

const EVENT_TYPES: &[&str] = &["view", "search", "impression", "click", "cart", "purchase"];
const STAGES: &[&str] = &[
    "development",
    "training",
    "deployment",
    "operations",
    "upgrade",
];
const WITH_ITEM: &[&str] = &["view", "impression", "click", "cart", "purchase"];

const fn model_columns() -> [Column; 3] {
    [
        opt(
            "model_id",
            Text,
            "model that the amount belongs to; null for idle and unallocated",
        ),
        opt("model_version", Text, "version of the model, where known"),
        opt(
            "stage",
            Text,
            "development, training, deployment, operations or upgrade",
        ),
    ]
}
const MODEL: [Column; 3] = model_columns();

/// Currency and key of a closed period's costs, and their four amounts.
const fn keyed_costs() -> [Column; 10] {
    [
        req("currency", Text, "ISO 4217 code of the amounts"),
        req("target", Text, "model, idle or unallocated"),
        MODEL[0],
        MODEL[1],
        MODEL[2],
        req(
            "category",
            Text,
            "compute, storage, network, licence, labour, operations or other",
        ),
        req("usage_billed", Money, "BilledCost, usage basis").unit("currency"),
        req("usage_effective", Money, "EffectiveCost, usage basis").unit("currency"),
        req("allocation_billed", Money, "BilledCost, allocation basis").unit("currency"),
        req(
            "allocation_effective",
            Money,
            "EffectiveCost, allocation basis",
        )
        .unit("currency"),
    ]
}
const KEYED_COSTS: [Column; 10] = keyed_costs();

const ALLOCATION: &[Column] = &[
    req("row_id", Text, "row of charges, or the idle pool").distinct(),
    req("day", Date, "day on which the charge period starts"),
    req("currency", Text, "ISO 4217 code of the amounts"),
    req("issuer", Text, "who sent the bill"),
    req("target", Text, "model, idle or unallocated"),
    MODEL[0],
    MODEL[1],
    MODEL[2],
    opt("reason", Text, "why it is unallocated"),
    req(
        "category",
        Text,
        "compute, storage, network, licence, labour, operations or other",
    ),
    req(
        "charge_category",
        Text,
        "ChargeCategory of the bill row: Usage, Purchase, Tax, Credit, Adjustment",
    ),
    req("rule", Text, "rule that routed it"),
    req("rule_version", Text, "version of that rule"),
    opt(
        "driver",
        Text,
        "what the split is proportional to; null where nothing was split",
    ),
    opt(
        "via",
        Text,
        "cost pools that it came through, as a JSON list of pool, version, driver, weight and weight_total; null: none",
    ),
    opt("weight", Whole, "the target's share of weight_total"),
    opt("weight_total", Whole, "sum of the weights"),
    req("billed", Money, "BilledCost: what ties to the invoice").unit("currency"),
    req("effective", Money, "EffectiveCost: cost as incurred").unit("currency"),
    req(
        "basis",
        Text,
        "usage: what was used; allocation: idle moved on to those who used the machine",
    ),
];

/// The columns of an allocation, and more after them.
const fn allocation_and<const N: usize>(more: &[Column]) -> [Column; N] {
    let mut columns = [ALLOCATION[0]; N];
    let mut at = 0;
    while at < N {
        columns[at] = if at < ALLOCATION.len() {
            ALLOCATION[at]
        } else {
            more[at - ALLOCATION.len()]
        };
        at += 1;
    }
    columns
}

const LARGEST: [Column; ALLOCATION.len() + 9] = allocation_and(&[
    req(
        "place",
        Int32,
        "1 is the largest, by the size of effective, of its day, currency, target, model, version and stage",
    ),
    opt(
        "source",
        Text,
        "source of the charge; null where idle moves on, which is on no bill",
    ),
    opt("file", Text, "file of the charge"),
    opt("row", Int64, "row of that file, from 1"),
    opt("invoice_id", Text, "invoice of the charge"),
    opt("service_name", Text, "service that was paid for"),
    opt("resource_id", Text, "resource that was paid for"),
    opt("charge_billed", Money, "BilledCost of the whole charge").unit("currency"),
    opt(
        "charge_effective",
        Money,
        "EffectiveCost of the whole charge",
    )
    .unit("currency"),
]);

/// All tables, in the order in which the data flows.
pub static TABLES: &[Table] = &[
    Table {
        name: "events",
        grain: "clean event; ds is the day of the export that brought it",
        partition: Partition::Day,
        order: &[],
        columns: &[
            req("event_id", Text, "unique id of the event").distinct(),
            req("event_time", Timestamp, "when it happened").distinct().check(&[HasHappened]),
            req("user_id", Text, "who"),
            opt("session_id", Text, "visit that it belongs to"),
            req(
                "event_type",
                Text,
                "view, search, impression, click, cart or purchase",
            )
            .check(&[OneOf(EVENT_TYPES)]),
            opt("item_id", Text, "which item").check(&[RequiredWhen("event_type", WITH_ITEM)]),
            opt("query", Text, "text searched for"),
            opt(
                "request_id",
                Text,
                "response in which a recommendation was shown",
            ),
            opt("model_id", Text, "model that recommended"),
            opt("model_version", Text, "its version"),
            opt(
                "surface",
                Text,
                "where on the site: home, product, cart, email, …",
            ),
            opt("rank", Int32, "position in the list, from 1").check(&[Positive]),
            opt("compute_ns", Int64, "computing time of this recommendation").distinct()
                .unit("ns")
                .check(&[NotNegative]),
            opt("price", Price, "price of one piece")
                .unit("currency")
                .check(&[NotNegative]),
            opt("quantity", Int32, "pieces").check(&[Positive]),
            opt("currency", Text, "ISO 4217 code of price").check(&[Currency]),
        ],
    },
    Table {
        name: "items",
        grain: "item as of ds",
        partition: Partition::Day,
        order: &[],
        columns: &[
            req("item_id", Text, "unique id of the item").distinct(),
            opt("title", Text, "name shown in the shop").distinct(),
            opt("description", Text, "text shown in the shop").distinct(),
            opt("category", Text, "category"),
            opt("brand", Text, "brand"),
            opt("price", Price, "shelf price")
                .unit("currency")
                .check(&[NotNegative]),
            opt(
                "unit_cost",
                Price,
                "what a piece costs the shop; margins are made of it",
            )
            .unit("currency")
            .check(&[NotNegative]),
            opt("currency", Text, "ISO 4217 code of price and unit_cost").check(&[Currency]),
            opt("attributes", TextMap, "further properties"),
            opt("created_at", Timestamp, "when it came into the catalogue").distinct().check(&[PlausibleTime]),
        ],
    },
    Table {
        name: "users",
        grain: "user as of ds",
        partition: Partition::Day,
        order: &[],
        columns: &[
            req("user_id", Text, "unique id of the user").distinct(),
            opt("age_band", Text, "age band"),
            opt("gender", Text, "gender, where given"),
            opt("country", Text, "country"),
            opt("signup_date", Date, "first day as a customer"),
            opt("tags", TextList, "segments"),
        ],
    },
    Table {
        name: "charges",
        grain: "charge of an active bill or ledger delivery: a row, or a part of one",
        partition: Partition::BillingPeriod,
        order: &[],
        columns: super::tables_focus::CHARGES,
    },
    Table {
        name: "late_charges",
        grain: "row of a bill that came after its billing period was closed; restatements are made of them",
        partition: Partition::BillingPeriod,
        order: &[],
        columns: super::tables_focus::CHARGES,
    },
    Table {
        name: "superseded_charges",
        grain: "row of a bill that a newer delivery replaced",
        partition: Partition::BillingPeriod,
        order: &[],
        columns: super::tables_focus::CHARGES,
    },
    Table {
        name: "invoices",
        grain: "line of an issuer's invoice (FOCUS 1.4, Invoice Detail)",
        partition: Partition::BillingPeriod,
        order: &[],
        columns: super::tables_focus::INVOICES,
    },
    Table {
        name: "commitments",
        grain: "commitment as a delivery states it (FOCUS 1.3 and later, Contract Commitment)",
        partition: Partition::None,
        order: &[],
        columns: super::tables_focus::COMMITMENTS,
    },
    Table {
        name: "conformance",
        grain: "rule of the FOCUS specification × what it judges",
        partition: Partition::None,
        order: &[
            "rule", "subject", "unit", "issuer", "rows", "stated", "found",
        ],
        columns: &[
            req("rule", Text, "file of sql/conformance"),
            req(
                "subject",
                Text,
                "invoice, commitment, or charge that its provider has split",
            ),
            opt("issuer", Text, "who sent the bill"),
            req("unit", Text, "ISO 4217 code of the amounts, or `ratio`"),
            req("rows", Int64, "charges looked at"),
            req("stated", Money, "what it should be").unit("unit"),
            req("found", Money, "what the charges add up to").unit("unit"),
            req("difference", Money, "stated less found").unit("unit"),
            req("tolerance", Money, "by how much they may differ").unit("unit"),
            req("holds", Bool, "whether they differ by no more than that"),
        ],
    },
    Table {
        name: "deliveries",
        grain: "delivery of an interval of a source: ingested, incomplete, or replaced",
        partition: Partition::None,
        order: &["source", "interval", "name", "status", "delivery_id"],
        columns: &[
            req("source", Text, "name of the source in the pipeline file"),
            req("kind", Text, "table that it feeds"),
            req("interval", Text, "day, billing period, or `whole`"),
            opt(
                "name",
                Text,
                "file or manifest that it is known by, of an export whose deliveries add up",
            ),
            req(
                "status",
                Text,
                "active: its rows count; incomplete: not what its manifest says; superseded: a newer one took its place",
            ),
            opt("reason", Text, "why it is incomplete"),
            req(
                "partitions",
                TextList,
                "partitions of the table that it filled",
            ),
            req(
                "delivery_id",
                Text,
                "hash of the files, the mapping and the source's settings",
            ),
            req("content_hash", Text, "hash of the files' contents alone"),
            opt(
                "received_at",
                Timestamp,
                "when the newest of its files was written",
            ),
            req("files", Int64, "files read"),
            req("rows_in", Int64, "rows in the files"),
            req("rows_out", Int64, "rows published"),
            req(
                "rows_skipped",
                Int64,
                "rows that the mapping left out, or that belong to other intervals",
            ),
            req(
                "rows_duplicate",
                Int64,
                "rows dropped because an earlier row has the same key",
            ),
            req(
                "rows_late",
                Int64,
                "events that happened before the day of their export",
            ),
            opt(
                "late_days",
                TextList,
                "days on which they happened, up to 31 before that of the export",
            ),
            req("rows_quarantined", Int64, "rows rejected"),
            opt("rows_stated", Int64, "rows in the files, by its manifest"),
            opt(
                "columns",
                TextList,
                "columns of the files, each with a blank and its type",
            ),
            opt(
                "pseudonym_key",
                Text,
                "id of the key by which its users have pseudonyms; null where they have their own ids",
            ),
        ],
    },
    Table {
        name: "delivery_sums",
        grain: "delivery of charges × currency",
        partition: Partition::None,
        order: &["source", "interval", "delivery_id", "currency"],
        columns: &[
            req("source", Text, "name of the source in the pipeline file"),
            req("interval", Text, "day, billing period, or `whole`"),
            req("delivery_id", Text, "the delivery"),
            req("currency", Text, "ISO 4217 code of the amounts"),
            req("rows", Int64, "charges published"),
            req("billed", Money, "their BilledCost").unit("currency"),
            req("effective", Money, "their EffectiveCost").unit("currency"),
            req("rows_quarantined", Int64, "charges rejected"),
            opt(
                "quarantined_billed",
                Money,
                "their BilledCost; null where one of them cannot be read",
            )
            .unit("currency"),
            opt(
                "quarantined_effective",
                Money,
                "their EffectiveCost; null where one of them cannot be read",
            )
            .unit("currency"),
            opt("stated_billed", Money, "BilledCost by its manifest").unit("currency"),
            opt("stated_effective", Money, "EffectiveCost by its manifest").unit("currency"),
        ],
    },
    Table {
        name: "quarantine",
        grain: "rejected row",
        partition: Partition::Day,
        order: &["source", "file", "row"],
        columns: &[
            req("source", Text, "name of the source in the pipeline file"),
            req("kind", Text, "table that it would have fed"),
            req("interval", Text, "day, billing period, or `whole`"),
            req("delivery_id", Text, "delivery that brought it"),
            req(
                "file",
                Text,
                "path of the file, as the source's pattern gives it",
            ),
            req(
                "row",
                Int64,
                "row number in the file, from 1, a CSV's header not counted",
            ),
            req("column", Text, "column that is wrong"),
            req("reason", Text, "what is wrong with it"),
            req("raw", Text, "the row as it was delivered, as JSON"),
            opt(
                "currency",
                Text,
                "currency of a rejected charge, where readable",
            ),
            opt(
                "raw_billed",
                Text,
                "billed amount of a rejected charge, as delivered",
            ),
            opt(
                "raw_effective",
                Text,
                "effective amount of a rejected charge, as delivered",
            ),
            opt(
                "billed",
                Money,
                "billed amount of a rejected charge, where readable",
            )
            .unit("currency"),
            opt(
                "effective",
                Money,
                "effective amount of a rejected charge, where readable",
            )
            .unit("currency"),
        ],
    },
    Table {
        name: "exchange_rates",
        grain: "exchange rate; ds is the day from which it holds",
        partition: Partition::Day,
        order: &[],
        columns: &[
            req(
                "rate_id",
                Text,
                "unique id of the rate, which converted amounts keep",
            ),
            req("valid_from", Timestamp, "from when it holds").check(&[PlausibleTime]),
            req("from_currency", Text, "ISO 4217 code").check(&[Currency]),
            req("to_currency", Text, "ISO 4217 code").check(&[Currency]),
            req(
                "rate",
                Money,
                "what one unit of from_currency is worth in to_currency",
            )
            .check(&[Positive]),
        ],
    },
    Table {
        name: "usage",
        grain: "resource × model × version × stage × interval",
        partition: Partition::Day,
        order: &[],
        columns: &[
            req("usage_start", Timestamp, "start of the interval").check(&[PlausibleTime]),
            req("usage_end", Timestamp, "end of the interval")
                .check(&[After("usage_start"), PlausibleTime]),
            req("resource_id", Text, "resource, as the bill names it"),
            req("model_id", Text, "model that used it"),
            opt("model_version", Text, "its version"),
            req("stage", Text, "what for").check(&[OneOf(STAGES)]),
            opt("run_id", Text, "run that it was part of"),
            opt("gpu_ns", Int64, "GPU time used")
                .unit("ns")
                .check(&[NotNegative]),
            opt("cpu_ns", Int64, "CPU time used")
                .unit("ns")
                .check(&[NotNegative]),
            opt("bytes", Int64, "bytes stored or moved")
                .unit("bytes")
                .check(&[NotNegative]),
            opt("requests", Int64, "requests answered").check(&[NotNegative]),
            opt("reserved_ns", Int64, "time reserved, used or not")
                .unit("ns")
                .check(&[NotNegative]),
            opt(
                "capacity_ns",
                Int64,
                "time that the resource offered in the interval",
            )
            .unit("ns")
            .check(&[NotNegative]),
        ],
    },
    Table {
        name: "sessions",
        grain: "user × session in the window",
        partition: Partition::Day,
        order: &["user_id", "session_start"],
        columns: &[
            req("user_id", Text, "who"),
            req(
                "session_id",
                Text,
                "visit, from the export or made from gaps between events",
            ).distinct(),
            req("session_start", Timestamp, "first event").distinct(),
            req("session_end", Timestamp, "last event").distinct(),
            req("events", Int64, "events"),
            req("views", Int64, "product pages seen"),
            req("searches", Int64, "searches"),
            req("clicks", Int64, "clicks"),
            req("carts", Int64, "items put in the cart"),
            req("purchases", Int64, "items bought"),
        ],
    },
    Table {
        name: "interactions",
        grain: "user × item in the window",
        partition: Partition::Day,
        order: &["user_id", "item_id"],
        columns: &[
            req("user_id", Text, "who"),
            req("item_id", Text, "which item"),
            req(
                "weight",
                Float64,
                "sum of event-type weights, each halved every half-life",
            ).distinct(),
            req("events", Int64, "events that count"),
            req("bought", Bool, "whether one of them is a purchase"),
            req("last_time", Timestamp, "the newest of them").distinct(),
        ],
    },
    Table {
        name: "user_features",
        grain: "user seen in the window",
        partition: Partition::Day,
        order: &["user_id"],
        columns: &[
            req("user_id", Text, "who").distinct(),
            req("events", Int64, "events"),
            req("sessions", Int64, "visits"),
            req("views", Int64, "product pages seen"),
            req("searches", Int64, "searches"),
            req("impressions", Int64, "recommendations shown"),
            req("clicks", Int64, "clicks"),
            req("carts", Int64, "items put in the cart"),
            req("purchases", Int64, "items bought"),
            opt(
                "spend",
                Money,
                "money spent, in `currency`; null from 10²⁰ on, which no amount holds",
            )
            .unit("currency"),
            opt(
                "currency",
                Text,
                "currency of most purchases; spend counts those only",
            ),
            req("recency_days", Float64, "since the last event").unit("days").distinct(),
            opt(
                "conversion",
                Float64,
                "share of visits with a purchase; null without visits",
            ),
            opt(
                "price_band",
                Int32,
                "quartile of the mean price seen, in the currency seen most and among its users, 1 cheapest to 4",
            ),
            opt("country", Text, "country, from the user export"),
            opt("tags", TextList, "segments, from the user export"),
        ],
    },
    Table {
        name: "item_features",
        grain: "item seen in the window or in the catalogue",
        partition: Partition::Day,
        order: &["item_id"],
        columns: &[
            req("item_id", Text, "which item").distinct(),
            req(
                "users",
                Int64,
                "different users who viewed, clicked, put in the cart or bought it",
            ),
            req("views", Int64, "product pages seen"),
            req("impressions", Int64, "times recommended"),
            req("clicks", Int64, "clicks"),
            req("carts", Int64, "times put in the cart"),
            req("purchases", Int64, "times bought"),
            opt(
                "recency_days",
                Float64,
                "since the last event; null without events",
            )
            .unit("days"),
            opt(
                "conversion",
                Float64,
                "purchases per view; null without views",
            ),
            opt(
                "click_rate",
                Float64,
                "clicks per impression; null without impressions",
            ),
            opt(
                "price_band",
                Int32,
                "quartile of the price within its category and currency, 1 cheapest to 4",
            ),
            opt("category", Text, "category, from the catalogue"),
            opt("brand", Text, "brand, from the catalogue"),
            req("in_catalogue", Bool, "whether the newest catalogue has it"),
        ],
    },
    Table {
        name: "night_inputs",
        grain: "delivery by day that a night was made from: events of the window and late ones, the newest items and users",
        partition: Partition::Day,
        order: &["kind", "source", "interval"],
        columns: &[
            req("source", Text, "name of the source in the pipeline file"),
            req("kind", Text, "table that it feeds: events, items or users"),
            req("interval", Text, "the day delivered"),
            req(
                "content_hash",
                Text,
                "hash of the files' contents; another one in `deliveries` says that the night is stale",
            ),
            req(
                "history_days",
                Int32,
                "days of events that the night saw, itself the last",
            ),
            opt(
                "lateness_days",
                Int32,
                "days after it whose exports it took late events from, at most; 0 where it is null",
            ),
        ],
    },
    Table {
        name: "models",
        grain: "model version trained",
        partition: Partition::Day,
        order: &["model_id"],
        columns: &[
            req("model_id", Text, "id in the pipeline file"),
            req(
                "model_version",
                Text,
                "the day of the data that it was trained on",
            ),
            req("family", Text, "how it learns: als, bpr, ccl, item_item, logistic, popular, softmax or squared"),
            req("hyperparameters", Text, "JSON"),
            req("data_hash", Text, "hash of the interactions"),
            req("users", Int64, "users in the model"),
            req("items", Int64, "items in the model"),
            req("interactions", Int64, "user × item pairs"),
            req("device", Text, "device that trained it"),
            opt("dim", Int32, "length of its vectors; null where it has none"),
            opt("made_from", Text, "the model that it was made from, for one that was not trained itself"),
            opt("compression", Text, "JSON: how it was made from it"),
            req("bytes", Int64, "vectors or other parameters in the model file, without ids").unit("bytes"),
            req("file", Text, "model file, beside this table's Parquet"),
            req("file_hash", Text, "hash of the model file"),
            req(
                "seconds",
                Float64,
                "wall-clock seconds of training, of folding in, or of making it from another; differs from run to run",
            )
            .unit("s"),
            opt(
                "scoring_seconds",
                Float64,
                "wall-clock seconds of scoring, for all users; differs from run to run",
            )
            .unit("s"),
            opt("scored_users", Int64, "users whose lists were written"),
            opt("recommendations", Int64, "rows written into recommendations"),
            opt(
                "trained_on",
                Date,
                "the night on which its item vectors were learnt, or those of the model that it was made from: the version's own, or an earlier one into which the version was folded; null in versions written before there was this column",
            ),
            opt(
                "started_from",
                Text,
                "the version that a warm start began with, or that it was folded into; null where it began from nothing",
            ),
            opt(
                "agreement",
                Float64,
                "mean cosine of item vectors with those of `started_from`; near 1, vectors of the two versions can be compared",
            ),
            opt(
                "content_trust",
                Float64,
                "how many interactions the content of an item counts for in its vector, where `fusion` is set; 0 where it did not help",
            )
            .unit("interactions"),
            opt(
                "metrics",
                Text,
                "JSON: the run's evaluation of the model, such as {\"recall@20\":0.63}; null where it was not evaluated",
            ),
        ],
    },
    Table {
        name: "user_factors",
        grain: "user × model",
        partition: Partition::Day,
        order: &["model_id", "user_id"],
        columns: &[
            req("model_id", Text, "model"),
            req("user_id", Text, "who"),
            req("factors", Vector, "embedding"),
        ],
    },
    Table {
        name: "item_factors",
        grain: "item × model",
        partition: Partition::Day,
        order: &["model_id", "item_id"],
        columns: &[
            req("model_id", Text, "model"),
            req("item_id", Text, "which item"),
            req("factors", Vector, "embedding"),
        ],
    },
    Table {
        name: "item_neighbours",
        grain: "item × item that goes with it × model of the family item_item",
        partition: Partition::Day,
        order: &["model_id", "item_id", "neighbour_id"],
        columns: &[
            req("model_id", Text, "model"),
            req("item_id", Text, "an item of a user's history"),
            req("neighbour_id", Text, "the item that it speaks for"),
            req(
                "weight",
                Float32,
                "what it adds to the score of the neighbour; below 0 it speaks against it",
            ),
        ],
    },
    Table {
        name: "recommendations",
        grain: "user × model × rank",
        partition: Partition::Day,
        order: &["model_id", "user_id", "rank"],
        columns: &[
            req("user_id", Text, "for whom"),
            req("rank", Int32, "position, from 1"),
            req("item_id", Text, "which item"),
            req(
                "score",
                Float32,
                "the model's score; comparable within one list only",
            ),
            req("model_id", Text, "model"),
            req("model_version", Text, "its version"),
            req(
                "reason",
                Text,
                "what ranked it: `factors`, `content` where the user's vector is made of what the exports say, `neighbours`, or `popular`, also where the model knows nothing of the user",
            ),
            req(
                "because",
                TextList,
                "items of the user's history that add most to the score, the greatest first; where `reason` is `content`, the user's features, such as `age=25-34`; empty where it is `popular`",
            ),
            req(
                "because_shares",
                Vector,
                "their shares of all that the history, or the features, add",
            ),
        ],
    },
    Table {
        name: "evaluation",
        grain: "model version × metric × k",
        partition: Partition::Day,
        order: &["model_id", "metric", "k"],
        columns: &[
            req("model_id", Text, "model; `popularity` is the baseline"),
            req("model_version", Text, "its version"),
            req("family", Text, "how it learns: als, bpr, ccl, item_item, logistic, popular, softmax or squared"),
            req(
                "metric",
                Text,
                "recall, precision, f1, ndcg, map, mrr, hit_rate, novelty, popularity_lift, diversity, auc, coverage, gini, cold_recall or cold_ndcg",
            ),
            req("k", Int32, "length of the list that is judged; 0 for the whole ranking (auc)"),
            req(
                "value",
                Float64,
                "mean over users (coverage and gini: over the catalogue)",
            ),
            opt("low", Float64, "lower end of the 95 % bootstrap interval"),
            opt("high", Float64, "upper end of the 95 % bootstrap interval"),
            req("protocol", Text, "how the test was held out"),
            req("users", Int64, "users judged (diversity and auc: at most 2,000 of them)"),
        ],
    },
    Table {
        name: "evaluation_pairs",
        grain: "model × other model × metric × k, judged on the same users; in both directions",
        partition: Partition::Day,
        order: &["model_id", "other_id", "metric", "k"],
        columns: &[
            req("model_id", Text, "model; `popularity` is the baseline"),
            req("other_id", Text, "model that it is held against; `popularity` is the baseline"),
            req("model_version", Text, "version of both"),
            req("metric", Text, "as in evaluation; coverage and gini have no value per user"),
            req("k", Int32, "length of the list that is judged; 0 for the whole ranking (auc)"),
            req("difference", Float64, "mean over users of the model's value less the other's"),
            req("low", Float64, "lower end of the 95 % paired bootstrap interval"),
            req("high", Float64, "upper end of the 95 % paired bootstrap interval"),
            req("differs", Bool, "whether 0 lies outside of the interval"),
            req("users", Int64, "users judged"),
        ],
    },
    Table {
        name: "trials",
        grain: "search × rung × trial of `recost tune`",
        partition: Partition::Day,
        order: &["model_id", "search_id", "rung", "trial"],
        columns: &[
            req("model_id", Text, "model whose hyperparameters were searched"),
            req(
                "search_id",
                Text,
                "the same for the same data, space, seed and plan: such a search goes on where it stopped",
            ),
            req("family", Text, "how the model learns"),
            req("rung", Int32, "from 0; each has more passes and fewer trials than the one before"),
            req("trial", Int32, "number of the setting, from 0, which is what the model had"),
            req("settings", Text, "JSON: what is set from the family's defaults"),
            req("hyperparameters", Text, "JSON: every hyperparameter with its value"),
            req("passes", Int32, "passes over the interactions; 1 for a family that has none"),
            req("metric", Text, "what was to be high, such as ndcg@20"),
            opt("value", Float64, "mean over the users of the part held back; null where training diverged"),
            opt("low", Float64, "lower end of the 95 % bootstrap interval"),
            opt("high", Float64, "upper end of the 95 % bootstrap interval"),
            opt("users", Int64, "users judged"),
            req("started_at", Timestamp, "when the trial began"),
            req("seconds", Float64, "wall clock of training and judging").unit("s"),
            opt("cpu_ns", Int64, "CPU time, where the system tells").unit("ns"),
            req("state", Text, "done or diverged"),
        ],
    },
    Table {
        name: "allocations",
        grain: "charge × target (basis usage), and idle pool × target (basis allocation); all rows add up to the bill",
        partition: Partition::BillingPeriod,
        order: &[],
        columns: ALLOCATION,
    },
    Table {
        name: "allocation_days",
        grain: "day × target × model × version × stage × reason × category × rule × driver × basis × currency: allocations added up",
        partition: Partition::BillingPeriod,
        order: &[
            "day",
            "currency",
            "target",
            "model_id",
            "model_version",
            "stage",
            "reason",
            "category",
            "charge_category",
            "rule",
            "rule_version",
            "driver",
            "basis",
        ],
        columns: &[
            ALLOCATION[1],
            ALLOCATION[2],
            ALLOCATION[4],
            MODEL[0],
            MODEL[1],
            MODEL[2],
            ALLOCATION[8],
            ALLOCATION[9],
            ALLOCATION[10],
            ALLOCATION[11],
            ALLOCATION[12],
            ALLOCATION[13],
            ALLOCATION[19],
            req("parts", Int64, "allocations added up"),
            ALLOCATION[17],
            ALLOCATION[18],
        ],
    },
    Table {
        name: "largest_allocations",
        grain: "the 20 largest allocations of each day × currency × target × model × version × stage, with the row of the bill that each is of",
        partition: Partition::BillingPeriod,
        order: &[
            "day",
            "currency",
            "target",
            "model_id",
            "model_version",
            "stage",
            "place",
        ],
        columns: &LARGEST,
    },
    Table {
        name: "model_costs",
        grain: "day × target × model × version × stage × category × currency",
        partition: Partition::BillingPeriod,
        order: &[
            "day",
            "currency",
            "target",
            "model_id",
            "model_version",
            "stage",
            "category",
        ],
        columns: &[
            req("day", Date, "day on which the charge period starts"),
            req("currency", Text, "ISO 4217 code of the amounts"),
            req("target", Text, "model, idle or unallocated"),
            MODEL[0],
            MODEL[1],
            MODEL[2],
            req(
                "category",
                Text,
                "compute, storage, network, licence, labour, operations or other",
            ),
            req("usage_billed", Money, "BilledCost, usage basis").unit("currency"),
            req("usage_effective", Money, "EffectiveCost, usage basis").unit("currency"),
            req(
                "allocation_billed",
                Money,
                "BilledCost, allocation basis: with the share of idle",
            )
            .unit("currency"),
            req(
                "allocation_effective",
                Money,
                "EffectiveCost, allocation basis: with the share of idle",
            )
            .unit("currency"),
        ],
    },
    Table {
        name: "converted_costs",
        grain: "row of model_costs or restatements in the reporting currency, and the exchange difference of each currency",
        partition: Partition::BillingPeriod,
        order: &[
            "line",
            "day",
            "currency",
            "restated_period",
            "target",
            "model_id",
            "model_version",
            "stage",
            "category",
        ],
        columns: &[
            req("line", Text, "cost, restatement or exchange_difference"),
            req("day", Date, "day whose rate was taken"),
            req("currency", Text, "ISO 4217 code of the original amounts"),
            opt(
                "restated_period",
                Text,
                "of a restatement: the closed billing period that it is for",
            ),
            opt(
                "target",
                Text,
                "model, idle or unallocated; null for the exchange difference",
            ),
            MODEL[0],
            MODEL[1],
            MODEL[2],
            req("category", Text, "category of the cost"),
            req(
                "reporting_currency",
                Text,
                "ISO 4217 code of the converted amounts",
            ),
            opt(
                "rate_id",
                Text,
                "rate of exchange_rates; null where nothing was converted",
            ),
            req("rate", Money, "its value"),
            req("original_usage_billed", Money, "BilledCost, usage basis").unit("currency"),
            req(
                "original_usage_effective",
                Money,
                "EffectiveCost, usage basis",
            )
            .unit("currency"),
            req(
                "original_allocation_billed",
                Money,
                "BilledCost, allocation basis",
            )
            .unit("currency"),
            req(
                "original_allocation_effective",
                Money,
                "EffectiveCost, allocation basis",
            )
            .unit("currency"),
            req("usage_billed", Money, "BilledCost, usage basis").unit("reporting_currency"),
            req("usage_effective", Money, "EffectiveCost, usage basis").unit("reporting_currency"),
            req("allocation_billed", Money, "BilledCost, allocation basis")
                .unit("reporting_currency"),
            req(
                "allocation_effective",
                Money,
                "EffectiveCost, allocation basis",
            )
            .unit("reporting_currency"),
        ],
    },
    Table {
        name: "served_days",
        grain: "day × model × version × surface that showed recommendations",
        partition: Partition::Day,
        order: &["model_id", "model_version", "surface"],
        columns: &[
            req("model_id", Text, "model"),
            opt("model_version", Text, "its version"),
            opt("surface", Text, "where on the site"),
            req(
                "served",
                Int64,
                "recommendations shown: request × item, repeats not counted",
            ),
            req("requests", Int64, "responses in which they were shown"),
        ],
    },
    Table {
        name: "version_ledger",
        grain: "model × version × currency × day on which its cost to make moved",
        partition: Partition::None,
        order: &["model_id", "model_version", "currency", "day"],
        columns: &[
            req("day", Date, "the day"),
            req("model_id", Text, "model"),
            opt(
                "model_version",
                Text,
                "its version; null is the model's line for what names no version",
            ),
            req("currency", Text, "ISO 4217 code of the amounts"),
            req("opening", Money, "not recognised yet at the start of the day").unit("currency"),
            req(
                "incurred",
                Money,
                "development, training and upgrade of the day, EffectiveCost, allocation basis; restatements on the first day of the billing period that books them",
            )
            .unit("currency"),
            req(
                "transferred",
                Money,
                "from the line without a version to the version that went into service; 0 in sum",
            )
            .unit("currency"),
            req("recognised", Money, "the day's share, part of full_cost").unit("currency"),
            req("written_off", Money, "what was left when the version was retired").unit("currency"),
            req(
                "closing",
                Money,
                "opening + incurred + transferred - recognised - written_off",
            )
            .unit("currency"),
            req("life_unit", Text, "days (of service) or recommendations"),
            req("used", Int64, "units of the service life that the day used"),
            req("life_before", Int64, "units left before the day"),
            req("life_after", Int64, "units left after it"),
            req("policy", Text, "policy of the service life that held"),
        ],
    },
    Table {
        name: "recommendation_costs",
        grain: "recommendation served × currency of its model's cost",
        partition: Partition::Day,
        order: &["model_id", "currency", "request_id", "item_id"],
        columns: &[
            req("request_id", Text, "response in which it was shown"),
            req(
                "rank",
                Int32,
                "position in the list, from 1; 0 where the log has none",
            ),
            req("item_id", Text, "item shown"),
            req("model_id", Text, "model that recommended"),
            opt("model_version", Text, "its version"),
            opt("surface", Text, "where on the site"),
            req("currency", Text, "ISO 4217 code of the amounts"),
            opt("compute_ns", Int64, "computing time measured").distinct().unit("ns"),
            req(
                "run_cost",
                Money,
                "its share of deployment and operations, usage basis, without tax",
            )
            .unit("currency"),
            req(
                "making_cost",
                Money,
                "its share of what was recognised on the day of the cost to make the version",
            )
            .unit("currency"),
            req(
                "full_cost",
                Money,
                "run_cost + making_cost + its share of tax on running and of idle",
            )
            .unit("currency"),
        ],
    },
    Table {
        name: "outcomes",
        grain: "click or purchase that is credited to a recommendation; ds is the day on which that was shown",
        partition: Partition::Day,
        order: &["model_id", "request_id", "item_id", "event_time", "event_id"],
        columns: &[
            req("event_id", Text, "the event").distinct(),
            req("event_type", Text, "click or purchase"),
            req("event_time", Timestamp, "when it happened").distinct(),
            req("user_id", Text, "who"),
            req("item_id", Text, "which item"),
            req(
                "credited_by",
                Text,
                "request: the event names the response; last_touch: the last showing of the item to the user",
            ),
            req(
                "impression_time",
                Timestamp,
                "when it was shown; of several times, the last before the event",
            ).distinct(),
            req("request_id", Text, "response in which it was shown"),
            req(
                "rank",
                Int32,
                "position in the list, from 1; 0 where the log has none",
            ),
            req("model_id", Text, "model that recommended it"),
            opt("model_version", Text, "its version, that of the first showing"),
            opt("surface", Text, "where on the site it was shown first"),
            opt("currency", Text, "ISO 4217 code of the amounts"),
            opt("revenue", Money, "price × quantity of a purchase").unit("currency"),
            opt(
                "margin",
                Money,
                "(price - unit cost) × quantity, where the newest catalogue has a unit cost in this currency",
            )
            .unit("currency"),
            opt("margin_revenue", Money, "revenue of which margin is known").unit("currency"),
        ],
    },
    Table {
        name: "unit_costs",
        grain: "day × model × version × surface × currency",
        partition: Partition::Day,
        order: &["model_id", "model_version", "surface", "currency"],
        columns: &[
            req("model_id", Text, "model"),
            opt("model_version", Text, "its version"),
            opt("surface", Text, "where on the site"),
            req("currency", Text, "ISO 4217 code of the costs"),
            req(
                "served",
                Int64,
                "recommendations shown: request × item, repeats not counted",
            ),
            req("requests", Int64, "responses"),
            req("clicks", Int64, "recommendations clicked"),
            req(
                "purchases",
                Int64,
                "purchases credited to the recommendations",
            ),
            req("conversions", Int64, "recommendations bought, however often"),
            req("clicked_requests", Int64, "responses of which something was clicked"),
            req("converted_requests", Int64, "responses of which something was bought"),
            opt(
                "revenue",
                Money,
                "price × quantity of those purchases in this currency",
            )
            .unit("currency"),
            opt(
                "margin",
                Money,
                "what is left of it after the items' unit cost, where known",
            )
            .unit("currency"),
            opt("margin_revenue", Money, "revenue of which the margin is known").unit("currency"),
            req(
                "run_cost",
                Money,
                "deployment and operations, usage basis, without tax",
            )
            .unit("currency"),
            req("overhead_cost", Money, "tax on running, and the share of idle").unit("currency"),
            req(
                "making_cost",
                Money,
                "recognised of what the version cost to make",
            )
            .unit("currency"),
            req("full_cost", Money, "run_cost + overhead_cost + making_cost").unit("currency"),
            opt("run_cost_per_recommendation", Money, "run_cost / served, half-even; null where served is 0").unit("currency"),
            opt("run_cost_per_1000", Money, "run_cost × 1000 / served, half-even; null where served is 0").unit("currency"),
            opt("run_cost_per_request", Money, "run_cost / requests, half-even; null where requests is 0").unit("currency"),
            opt("run_cost_per_click", Money, "run_cost / clicks, half-even; null where clicks is 0").unit("currency"),
            opt("run_cost_per_conversion", Money, "run_cost / conversions, half-even; null where conversions is 0").unit("currency"),
            opt("full_cost_per_recommendation", Money, "full_cost / served, half-even; null where served is 0").unit("currency"),
            opt("full_cost_per_1000", Money, "full_cost × 1000 / served, half-even; null where served is 0").unit("currency"),
            opt("full_cost_per_request", Money, "full_cost / requests, half-even; null where requests is 0").unit("currency"),
            opt("full_cost_per_click", Money, "full_cost / clicks, half-even; null where clicks is 0").unit("currency"),
            opt("full_cost_per_conversion", Money, "full_cost / conversions, half-even; null where conversions is 0").unit("currency"),
            opt(
                "return_on_cost",
                Money,
                "revenue / full_cost, half-even; null where full_cost is 0",
            ),
            opt(
                "margin_on_cost",
                Money,
                "margin / full_cost, half-even; null where full_cost is 0",
            ),
        ],
    },
    Table {
        name: "frontier",
        grain: "model × basis × currency: what each model of the night is worth and costs; differs from run to run by its seconds",
        partition: Partition::Day,
        order: &["basis", "currency", "model_id"],
        columns: &[
            req("model_id", Text, "id in the pipeline file"),
            req("model_version", Text, "the version that is judged, of the night"),
            req("family", Text, "how it learns"),
            opt("dim", Int32, "length of its vectors"),
            opt("made_from", Text, "the model that it was made from"),
            opt("compression", Text, "JSON: how it was made from it"),
            req("bytes", Int64, "vectors or other parameters, without ids").unit("bytes"),
            opt("scoring_seconds_per_1000", Float64, "wall-clock seconds of scoring 1,000 users, this night").unit("s"),
            req(
                "basis",
                Text,
                "which recommendations the cost is of. served: those that were shown; written: those that nights wrote. Never compare one with the other",
            ),
            opt("k", Int32, "length of the list that is judged: the cut-off nearest to 20"),
            opt("recall", Float64, "recall at k; null where the model was not evaluated"),
            opt("recall_low", Float64, "lower end of its 95 % interval"),
            opt("recall_high", Float64, "upper end of its 95 % interval"),
            opt("ndcg", Float64, "NDCG at k"),
            opt("ndcg_low", Float64, "lower end of its 95 % interval"),
            opt("ndcg_high", Float64, "upper end of its 95 % interval"),
            opt("currency", Text, "ISO 4217 code of the amounts; null where no bill names the model yet"),
            opt("cost_from", Text, "served: first day that counts; written: first version"),
            opt("cost_to", Text, "served: last day that counts; written: last version"),
            opt(
                "own_cost",
                Money,
                "served: full_cost of unit_costs over the window; written: all that is attributed to the versions that nights of the window made, allocation basis",
            )
            .unit("currency"),
            opt(
                "parent_cost",
                Money,
                "written: what making the same versions of the model that it was made from cost; served: 0",
            )
            .unit("currency"),
            opt("cost", Money, "own_cost + parent_cost: the numerator").unit("currency"),
            opt("recommendations", Int64, "the denominator: shown, or written by the versions that the cost is of"),
            opt("cost_per_1000", Money, "cost × 1000 / recommendations, half-even").unit("currency"),
            opt(
                "dominated_by",
                Text,
                "of the models on the same basis in the same currency that cost no more and have no lower recall, one of them strictly: the best, then the cheapest; null for a point of the frontier",
            ),
            opt(
                "recall_differs",
                Bool,
                "whether that model's recall on the same users is other than this one's, by the paired interval of evaluation_pairs; where not, it is dominated by its cost",
            ),
        ],
    },
    Table {
        name: "reconciliation",
        grain: "currency × issuer × line",
        partition: Partition::BillingPeriod,
        order: &["currency", "issuer", "basis", "line"],
        columns: &[
            req("currency", Text, "ISO 4217 code of the amounts"),
            req("issuer", Text, "who sent the bill"),
            req("basis", Text, "usage or allocation"),
            req(
                "line",
                Text,
                "bill, attributed, idle, unallocated, difference; restated, quarantined and ingest_rounding beside them",
            ),
            req(
                "rows",
                Int64,
                "rows behind the line: of the bill, or allocations of its parts",
            ),
            opt(
                "billed",
                Money,
                "BilledCost; null where a quarantined amount cannot be read",
            )
            .unit("currency"),
            opt(
                "effective",
                Money,
                "EffectiveCost; null where a quarantined amount cannot be read",
            )
            .unit("currency"),
            opt(
                "billed_rounding",
                Residue,
                "on the line ingest_rounding: digits past 18 places, billed",
            ),
            opt(
                "effective_rounding",
                Residue,
                "on the line ingest_rounding: digits past 18 places, effective",
            ),
        ],
    },
    Table {
        name: "closes",
        grain: "billing period that was closed",
        partition: Partition::None,
        order: &["billing_period"],
        columns: &[
            req("billing_period", Text, "the period, YYYY-MM"),
            req("closed_at", Timestamp, "when it was closed"),
            req("run_id", Text, "run that closed it"),
            req("charges", Int64, "rows of its bills"),
            req(
                "hash",
                Text,
                "SHA-256 over its snapshot and the restatements booked in it",
            ),
        ],
    },
    Table {
        name: "snapshots",
        grain: "closed billing period × currency × target × model × version × stage × category, as it was when closed",
        partition: Partition::BillingPeriod,
        order: &[
            "currency",
            "target",
            "model_id",
            "model_version",
            "stage",
            "category",
        ],
        columns: &KEYED_COSTS,
    },
    Table {
        name: "late_allocations",
        grain: "charge × target of a closed billing period as its bills stand today",
        partition: Partition::BillingPeriod,
        order: &[],
        columns: ALLOCATION,
    },
    Table {
        name: "restatements",
        grain: "open billing period × closed period restated in it × currency × target × model × version × stage × category",
        partition: Partition::BillingPeriod,
        order: &[
            "restated_period",
            "currency",
            "target",
            "model_id",
            "model_version",
            "stage",
            "category",
        ],
        columns: &[
            req(
                "restated_period",
                Text,
                "closed billing period whose cost is another today",
            ),
            KEYED_COSTS[0],
            KEYED_COSTS[1],
            KEYED_COSTS[2],
            KEYED_COSTS[3],
            KEYED_COSTS[4],
            KEYED_COSTS[5],
            KEYED_COSTS[6],
            KEYED_COSTS[7],
            KEYED_COSTS[8],
            KEYED_COSTS[9],
        ],
    },
    Table {
        name: "runs",
        grain: "run × stage; written when a run starts and again when it ends, outside the snapshots",
        partition: Partition::None,
        order: &["run_id"],
        columns: &[
            req("run_id", Text, "id of the run"),
            req("ds", Date, "data interval"),
            req("stage", Text, "stage, or `run` for the whole"),
            req(
                "status",
                Text,
                "started, done, failed, interrupted by a signal, killed (its process died); a stage or run that is started \
                 goes on, or died since the last run began",
            ),
            req("started_at", Timestamp, "wall clock"),
            opt("ended_at", Timestamp, "wall clock"),
            opt("seconds", Float64, "duration").unit("s"),
            opt("rows", Int64, "rows written; of train and evaluate, models"),
            opt("rows_read", Int64, "of ingest, rows in the exports that it read"),
            opt("bytes_read", Int64, "of ingest, bytes of the exports that it read").unit("bytes"),
            opt(
                "peak_rss_bytes",
                Int64,
                "peak resident memory of the process so far",
            )
            .unit("bytes"),
            opt(
                "cpu_seconds",
                Float64,
                "CPU time of the process meanwhile, user and system; over seconds and threads it is how busy the cores were",
            )
            .unit("s"),
            opt(
                "spilled_bytes",
                Int64,
                "bytes that the process wrote to spill files meanwhile, for want of memory",
            )
            .unit("bytes"),
            opt("warnings", Text, "what somebody should look at, one a line"),
            opt("device", Text, "device that computed"),
            opt("message", Text, "what it did, or why it failed"),
            req("version", Text, "version of recost"),
            opt(
                "fingerprint",
                Text,
                "of a whole night: hash of all that its tables are made from beside the exports; a run for the same night \
                 with the same hash and no new export has nothing to do",
            ),
        ],
    },
];
