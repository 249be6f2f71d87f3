//! People: that ids become pseudonyms, that a person can be forgotten and nobody's money changes, that old days go, and that
//! no secret is told.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use recost::privacy::People;
use recost::privacy::search::Searched;
use recost::warehouse::{TABLES, Type};

use crate::shop::{NIGHT, Shop, copy, python, query, run_of, text, walk};
use crate::stores::{Fault, Kind as StoreKind, Server};

const KEY: &str = "test-key-0123456789abcdef-0123456789";
const BEFORE: &str = "2026-10-30";
/// Tables whose figures are money, or what money is divided by.
const MONEY: &[&str] = &[
    "charges",
    "allocations",
    "allocation_days",
    "largest_allocations",
    "model_costs",
    "served_days",
    "version_ledger",
    "recommendation_costs",
    "unit_costs",
    "reconciliation",
];

/// A shop whose models are quickly trained.
fn small() -> Shop {
    let shop = Shop::new();
    shop.edit("dim = 64, iterations = 10", "dim = 8, iterations = 1");
    shop
}

/// Runs the program with variables in its environment, and these lines on its standard input.
fn recost(dir: &Path, env: &[(&str, &str)], args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_recost"))
        .args(args)
        .current_dir(dir)
        .env_remove("RECOST_LOG")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn ok(out: &Output) -> String {
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(out.status.success(), "{said}");
    said
}

/// Appends lines to the pipeline file.
fn append(shop: &Shop, lines: &str) {
    let file = shop.file("pipeline.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, format!("{text}\n{lines}\n")).unwrap();
}

/// Where any of these ids is named in the warehouse and the report.
fn found(shop: &Shop, ids: &[&str]) -> Vec<(PathBuf, String)> {
    let people = People::new(ids.iter().copied(), &[]).unwrap();
    let mut searched = Searched::default();
    for folder in ["warehouse", "report"] {
        searched.folder(&shop.file(folder), &people).unwrap();
    }
    assert!(searched.files > 50 && searched.texts > 10_000);
    let hits = searched.hits.into_iter();
    hits.map(|hit| (hit.file, hit.place)).collect()
}

/// Hash of every file of the tables of money of the project in `dir`, by its path below the snapshot.
fn money(dir: &Path) -> BTreeMap<String, u64> {
    let current = dir.join("warehouse/current").canonicalize().unwrap();
    let mut files = BTreeMap::new();
    for table in MONEY {
        walk(&current.join(table), &mut |path| {
            let name = path.strip_prefix(&current).unwrap().to_string_lossy();
            let bytes = fs::read(path).unwrap();
            files.insert(name.into_owned(), xxhash_rust::xxh3::xxh3_64(&bytes));
        });
    }
    files
}

#[test]
fn ids_become_pseudonyms_before_anything_is_written_and_no_secret_is_told() {
    let shop = small();
    append(
        &shop,
        "[privacy]\npseudonymise = true\nkey = \"${SHOP_KEY}\"",
    );
    // A folder whose name is a secret, as of a mounted share.
    let vault = shop.file("hunter22-vault");
    fs::rename(shop.file("exports/users"), &vault).unwrap();
    shop.edit("exports/users/ds={date}", "${SHOP_VAULT}/ds={date}");
    let vault = vault.to_string_lossy().into_owned();
    let env = [
        ("SHOP_KEY", KEY),
        ("SHOP_VAULT", vault.as_str()),
        ("RECOST_LOG", "recost=debug,datafusion=info"),
    ];
    let run = |args: &[&str]| recost(shop.path(), &env, args, "");
    let mut told = String::new();
    let mut keep = |out: Output, code: i32| {
        let said = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{said}");
        told.push_str(&said);
        said
    };
    let night = ["--date", NIGHT];
    let with = |args: &[&'static str]| [args, &night[..]].concat();
    keep(run(&with(&["plan", "pipeline.toml"])), 0);
    keep(
        run(&with(&[
            "run",
            "pipeline.toml",
            "--device",
            "cpu",
            "--log-format",
            "json",
        ])),
        0,
    );
    keep(run(&with(&["status", "pipeline.toml", "--json"])), 0);
    keep(run(&with(&["plan", "pipeline.toml", "--json"])), 0);
    keep(run(&["report", "pipeline.toml", "--out", "report"]), 0);
    keep(run(&["explain", "pipeline.toml", "home-als"]), 0);
    // A night that fails on a file below the secret folder.
    let users = Path::new(&vault).join("ds=2026-10-31/part-00000.parquet");
    let whole = fs::read(&users).unwrap();
    fs::write(&users, &whole[..whole.len() / 2]).unwrap();
    let failed = keep(run(&with(&["run", "pipeline.toml", "--device", "cpu"])), 8);
    assert!(failed.contains("${SHOP_VAULT}"), "{failed}");
    fs::write(&users, whole).unwrap();
    let runs = "select stage, message, warnings, status from runs where status = 'failed'";
    let runs = keep(run(&["sql", "pipeline.toml", runs, "--format", "json"]), 0);
    assert!(runs.contains("${SHOP_VAULT}"), "{runs}");
    // A key that is none.
    let short = [
        ("SHOP_KEY", "0123456789abcdef-short"),
        ("SHOP_VAULT", vault.as_str()),
    ];
    let refused = recost(shop.path(), &short, &["plan", "pipeline.toml"], "");
    let said = keep(refused, 2);
    assert!(
        said.contains("has 22 bytes") && !said.contains("0123456789abcdef"),
        "{said}"
    );

    assert!(!told.contains(KEY), "the key was told");
    assert!(!told.contains("hunter22"), "the folder was told");
    for folder in ["warehouse", "report"] {
        walk(&shop.file(folder), &mut |path| {
            let bytes = fs::read(path).unwrap();
            for secret in [KEY, "hunter22"] {
                let held = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!held, "{} holds {secret}", path.display());
            }
        });
    }
    // And in what of them is packed.
    for table in TABLES {
        let texts = table.columns.iter().filter_map(|c| match c.ty {
            Type::Text => Some(format!("\"{}\"", c.name)),
            Type::TextList => Some(format!("array_to_string(\"{}\", ' ')", c.name)),
            Type::TextMap => Some(format!("array_to_string(map_values(\"{}\"), ' ')", c.name)),
            _ => None,
        });
        let holds = texts.map(|text| format!("{text} like '%hunter22%' or {text} like '%{KEY}%'"));
        let any = holds.collect::<Vec<_>>().join(" or ");
        if !any.is_empty() {
            let sql = format!("select count(*) as held from {} where {any}", table.name);
            let out = run(&["sql", "pipeline.toml", &sql, "--format", "csv"]);
            assert_eq!(text(&out.stdout).trim(), "held\n0", "{}", table.name);
        }
    }

    // The same person has one pseudonym in every table, the one that other systems work out.
    let plain = small();
    plain.run_ok();
    let ids =
        plain.query("select user_id from outcomes group by 1 order by count(*) desc, 1 limit 3");
    let shown = plain.query(&format!(
        "select request_id from events where user_id = '{}' and event_type = 'impression' order by event_id limit 1",
        ids[0]
    ));
    let sql = format!(
        "select user_id from events where request_id = '{}' limit 1",
        shown[0]
    );
    let out = recost(
        shop.path(),
        &env,
        &["sql", "pipeline.toml", &sql, "--format", "csv"],
        "",
    );
    let pseudonym = text(&out.stdout).lines().nth(1).unwrap().to_string();
    let ours = recost(
        shop.path(),
        &env[..2],
        &["pseudonym", "pipeline.toml"],
        &ids.join("\n"),
    );
    assert_eq!(text(&ours.stdout).lines().next().unwrap(), pseudonym);
    let code = format!(
        "import hmac\nprint(hmac.new(b'{KEY}', b'{}', 'sha256').hexdigest()[:32])",
        ids[0]
    );
    if let Some(out) = python(shop.path(), &["-c", &code]) {
        assert_eq!(text(&out.stdout).trim(), pseudonym);
    }
    for table in [
        "events",
        "users",
        "outcomes",
        "recommendations",
        "user_features",
    ] {
        let sql = format!("select count(*), count(distinct user_id) from {table}");
        let args = ["sql", "pipeline.toml", &sql, "--format", "csv"];
        let (ours, theirs) = (recost(shop.path(), &env, &args, ""), plain.recost(&args));
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{table}");
    }
    assert_eq!(money(shop.path()).len(), money(plain.path()).len());
    // What was quarantined, too.
    let mut named: Vec<String> = ids.clone();
    named.extend(plain.query("select distinct regexp_match(raw, '\"user_id\":\"([^\"]*)\"')[1] from quarantine where kind in ('events', 'users')"));
    named.retain(|id| !id.is_empty());
    assert!(named.len() > 3, "{named:?}");
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    assert!(!found(&plain, &named).is_empty());
    assert_eq!(found(&shop, &named), []);

    // Another key: the window is ingested again, and says so; who has the old one finds people in what stays.
    let other = KEY.replace("test", "next");
    let rotated = [
        ("SHOP_KEY", other.as_str()),
        ("SHOP_VAULT", vault.as_str()),
        ("OLD_KEY", KEY),
    ];
    let plan = recost(shop.path(), &rotated, &with(&["plan", "pipeline.toml"]), "");
    let said = ok(&plan);
    assert!(
        said.contains("clickstream 2026-10-18 to 2026-10-31 (14 intervals): read anew"),
        "{said}"
    );
    let lost = recost(
        shop.path(),
        &rotated,
        &["forget", "pipeline.toml", &ids[0]],
        "",
    );
    let said = text(&lost.stderr);
    assert_eq!(lost.status.code(), Some(2), "{said}");
    assert!(said.contains("previous_keys"), "{said}");
    shop.edit(
        "key = \"${SHOP_KEY}\"",
        "key = \"${SHOP_KEY}\"\nprevious_keys = [\"${OLD_KEY}\"]",
    );
    let forgotten = recost(
        shop.path(),
        &rotated,
        &["forget", "pipeline.toml", "-"],
        &format!("{}\n", ids[0]),
    );
    let said = ok(&forgotten);
    assert!(
        said.contains(": 0 hits") && !said.contains(&ids[0]),
        "{said}"
    );
    assert_eq!(found(&shop, &[&ids[0], &pseudonym]), []);
}

#[test]
fn a_forgotten_person_is_nowhere_stays_away_and_costs_nobody_a_cent() {
    let shop = small();
    let night = |dir: &Path, date: &str| {
        ok(&recost(dir, &[], &run_of(date), ""));
    };
    night(shop.path(), BEFORE);
    let twin = tempfile::TempDir::new().unwrap();
    copy(shop.path(), twin.path());
    fs::remove_dir_all(twin.path().join("warehouse")).unwrap();
    // Two snapshots, so that there is an older one.
    night(shop.path(), BEFORE);
    night(twin.path(), BEFORE);

    let by = |how: &str| {
        shop.query(&format!(
            "select user_id from outcomes where credited_by = '{how}' group by 1 order by count(*) desc, 1 limit 1"
        ))
    };
    let people: Vec<String> = [by("last_touch"), by("request")].concat();
    assert_eq!(people.len(), 2);
    let ids: Vec<&str> = people.iter().map(String::as_str).collect();
    let listed = format!("('{}')", people.join("', '"));
    let theirs = |table: &str| {
        shop.query(&format!(
            "select count(*) from {table} where user_id in {listed}"
        ))
    };
    let of_users = [
        "events",
        "users",
        "sessions",
        "interactions",
        "user_features",
        "user_factors",
        "recommendations",
        "outcomes",
    ];
    for table in of_users {
        assert_ne!(theirs(table), ["0"], "{table}");
    }
    assert!(!found(&shop, &ids).is_empty());
    let before = money(shop.path());
    let events = |dir: &Path| {
        query(
            dir,
            "select event_type, count(*) from events where event_type in ('impression', 'view') group by 1 order by 1",
        )
    };
    let (all, outcomes) = (
        events(shop.path()),
        shop.query("select count(*), sum(revenue) from outcomes"),
    );

    let said = ok(&recost(
        shop.path(),
        &[],
        &["forget", "pipeline.toml", "-"],
        &people.join("\n"),
    ));
    assert!(said.contains("2 people are forgotten"), "{said}");
    assert!(said.contains(": 0 hits"), "{said}");
    assert!(said.contains("removed the older snapshot"), "{said}");
    assert!(said.contains("files of the exports hold them"), "{said}");
    assert_eq!(found(&shop, &ids), []);
    for table in of_users {
        assert_eq!(theirs(table), ["0"], "{table}");
    }
    let snapshots = fs::read_dir(shop.file("warehouse/snapshots")).unwrap();
    assert_eq!(snapshots.count(), 1);
    // Money has the same bytes; what was shown still counts, what was looked at is gone.
    assert_eq!(money(shop.path()), before);
    let left = events(shop.path());
    assert_eq!(left[0], all[0]);
    assert_ne!(left[1], all[1]);
    assert_eq!(
        shop.query("select count(*), sum(revenue) from outcomes"),
        outcomes
    );
    let nobodys = "select count(session_id), count(query), count(*) filter (where price is not null and event_type <> 'purchase')
                   from events where user_id = '(forgotten)'";
    assert_eq!(shop.query(nobodys), ["0,0,0"]);
    // The model files are what `models` says.
    let hashes = shop.query("select file, file_hash from models order by 1");
    for (file, hash) in hashes.iter().filter_map(|line| line.split_once(',')) {
        let bytes =
            fs::read(shop.file(&format!("warehouse/current/models/ds={BEFORE}/{file}"))).unwrap();
        assert_eq!(
            format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)),
            hash,
            "{file}"
        );
    }

    // Again, there is nothing to do, and it says so.
    let said = ok(&recost(
        shop.path(),
        &[],
        &["forget", "pipeline.toml", ids[0]],
        "",
    ));
    assert!(
        said.contains("the published tables held nothing of them"),
        "{said}"
    );

    // Killed at any moment, it is done when it is given again, and in between the tables are one or the other.
    let third = shop.query("select user_id from outcomes where user_id <> '(forgotten)' group by 1 order by count(*) desc, 1 limit 1");
    let args = ["forget", "pipeline.toml", &third[0]];
    for wait in [20, 60, 120, 250, 500, 900] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_recost"))
            .args(args)
            .current_dir(shop.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        // It may have ended by then.
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(money(shop.path()), before, "after {wait} ms");
        assert_eq!(events(shop.path())[0], all[0]);
    }
    let said = ok(&recost(shop.path(), &[], &args, ""));
    assert!(said.contains(": 0 hits"), "{said}");
    assert_eq!(found(&shop, &[ids[0], ids[1], &third[0]]), []);

    // The next night reads every export of the window anew, and the one after the forgetting: nobody comes back, nobody is
    // trained on who is nobody, and each amount is that of the shop that forgot nobody.
    let mapping = shop.file("sql/sources/events/recost.sql");
    fs::create_dir_all(mapping.parent().unwrap()).unwrap();
    let shipped = include_str!("../../sql/sources/events/recost.sql");
    fs::write(mapping, format!("-- read anew\n{shipped}")).unwrap();
    night(shop.path(), NIGHT);
    night(twin.path(), NIGHT);
    assert_eq!(found(&shop, &ids), []);
    for table in [
        "interactions",
        "user_features",
        "user_factors",
        "recommendations",
        "sessions",
        "users",
    ] {
        let sql = format!(
            "select count(*) from {table} where user_id = '(forgotten)' or user_id in {listed}"
        );
        assert_eq!(shop.query(&sql), ["0"], "{table}");
    }
    // What is credited to showings of the night before the forgetting, and after, may have come after it.
    let settled = |dir: &Path| -> BTreeMap<String, u64> {
        let late = |name: &str| {
            let days = [BEFORE, NIGHT].map(|day| format!("unit_costs/ds={day}/"));
            days.iter().any(|day| name.starts_with(day))
        };
        let files = money(dir).into_iter();
        files.filter(|(name, _)| !late(name)).collect()
    };
    let (ours, theirs) = (settled(shop.path()), settled(twin.path()));
    let differ: Vec<&String> = ours
        .iter()
        .filter(|(name, hash)| theirs.get(*name) != Some(*hash))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(differ, Vec::<&String>::new());
    assert_eq!(ours.len(), theirs.len());
    let costs = "select ds, model_id, model_version, surface, currency, served, requests, run_cost, full_cost
                 from unit_costs order by 1, 2, 3, 4, 5";
    assert_eq!(shop.query(costs), query(twin.path(), costs));
}

#[test]
fn a_forgotten_person_is_in_no_store_and_who_is_still_there_is_told() {
    let shop = small();
    ok(&recost(shop.path(), &[], &run_of(NIGHT), ""));
    let people =
        shop.query("select user_id from outcomes group by 1 order by count(*) desc, 1 limit 2");
    let theirs = |id: &str| {
        let sql = format!("select count(*) from events where user_id = '{id}'");
        assert_ne!(shop.query(&sql), ["0"]);
        let mut held = None;
        let people = People::new([id], &[]).unwrap();
        walk(&shop.file("warehouse/current/events"), &mut |path| {
            let mut searched = Searched::default();
            searched.file(path, &people).unwrap();
            held = held
                .take()
                .or((!searched.hits.is_empty()).then(|| fs::read(path).unwrap()));
        });
        held.unwrap()
    };
    let forget = |id: &str, code: i32| {
        let out = recost(shop.path(), &[], &["forget", "pipeline.toml", id], "");
        let said = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{said}");
        said
    };
    let pending = || {
        let list = fs::read_to_string(shop.file("warehouse/forgotten/list")).unwrap();
        list.lines()
            .filter(|line| line.starts_with("pending "))
            .count()
    };

    // A mounted folder, in which an upload of just now was killed, a file of it in the middle.
    let mounted = shop.file("mounted");
    append(
        &shop,
        &format!("[store]\nurl = \"file://{}\"", mounted.display()),
    );
    ok(&shop.recost(&["sync", "pipeline.toml"]));
    let killed = mounted.join("snapshots/20990101T000000000Z-1/events/ds=2026-10-31");
    fs::create_dir_all(&killed).unwrap();
    let rows = theirs(&people[0]);
    for name in ["part-0.parquet", "part-1.parquet#1"] {
        fs::write(killed.join(name), &rows).unwrap();
    }
    let said = forget(&people[0], 0);
    assert!(
        said.contains(": 0 hits") && said.contains(" and file:///"),
        "{said}"
    );
    assert!(
        said.contains("/mounted/snapshots/20990101T000000000Z-1: who"),
        "{said}"
    );
    let mut searched = Searched::default();
    let forgotten = People::new([people[0].as_str()], &[]).unwrap();
    searched.folder(&mounted, &forgotten).unwrap();
    assert!(searched.files > 50 && searched.hits.is_empty());
    let snapshots = fs::read_dir(mounted.join("snapshots")).unwrap();
    assert_eq!((snapshots.count(), pending()), (1, 0));

    // A store that refuses to remove anything.
    let store = Server::start(StoreKind::S3);
    let file = format!("[store]\nurl = \"file://{}\"", mounted.display());
    shop.edit(&file, &store.config("1s"));
    ok(&shop.recost(&["sync", "pipeline.toml"]));
    let rows = theirs(&people[1]);
    store.put(
        "shop/snapshots/20990101T000000000Z-1/events/ds=2026-10-31/part-0.parquet",
        &rows,
    );
    store.rule(|r| (r.method == "POST").then_some(Fault::Status(403)));
    let said = forget(&people[1], 2);
    assert!(
        said.contains("the store may still have older ones"),
        "{said}"
    );
    assert_eq!(pending(), 1);
    store.heal();
    // What is in no snapshot is not ours to remove, and is told.
    store.put("shop/snapshots/loose.parquet", &rows);
    let said = forget(&people[1], 3);
    assert!(
        said.contains("s3://bucket/shop/snapshots/loose.parquet"),
        "{said}"
    );
    assert_eq!(pending(), 1);
    store.put("shop/snapshots/loose.parquet", b"nobody");
    let said = forget(&people[1], 0);
    assert!(
        said.contains(": 0 hits") && said.contains("s3://bucket/shop"),
        "{said}"
    );
    assert_eq!(pending(), 0);
    let there = store.keys().into_iter().filter_map(|key| {
        Some(
            key.strip_prefix("shop/snapshots/")?
                .split_once('/')?
                .0
                .to_string(),
        )
    });
    let there: std::collections::BTreeSet<String> = there.collect();
    let current = fs::read_link(shop.file("warehouse/current")).unwrap();
    assert_eq!(
        there.into_iter().collect::<Vec<_>>(),
        [current.file_name().unwrap().to_str().unwrap()]
    );
}

#[test]
fn old_days_go_with_the_night_and_money_stays() {
    let shop = small();
    append(
        &shop,
        "[retention]\nevents = \"62d\"\nrecommendations = \"62d\"",
    );
    shop.run_ok();
    let current = shop.file("warehouse/current").canonicalize().unwrap();
    for table in ["events", "recommendations", "unit_costs", "users"] {
        let (from, to) = (format!("ds={NIGHT}"), "ds=2026-07-01");
        copy(
            &current.join(table).join(from),
            &current.join(table).join(to),
        );
    }
    let out = shop.recost(&["plan", "pipeline.toml", "--date", NIGHT]);
    let said = ok(&out);
    assert!(
        said.contains("retention  drops events: 2026-07-01"),
        "{said}"
    );
    assert!(!said.contains("drops unit_costs"), "{said}");
    let forced = [
        "run",
        "pipeline.toml",
        "--date",
        NIGHT,
        "--device",
        "cpu",
        "--force",
    ];
    let said = ok(&shop.recost(&forced));
    assert!(
        said.contains("retention  recommendations: 2026-07-01"),
        "{said}"
    );
    let current = shop.file("warehouse/current").canonicalize().unwrap();
    let there = |table: &str| current.join(table).join("ds=2026-07-01").exists();
    assert!(!there("events") && !there("recommendations"));
    assert!(there("unit_costs") && there("users"));
    let noted = shop.query("select rows, message from runs where stage = 'retention'");
    assert_eq!(noted, ["2,events: 2026-07-01; recommendations: 2026-07-01"]);
    let said = ok(&shop.recost(&forced));
    assert!(!said.contains("retention"), "{said}");
}

#[test]
fn a_figure_over_fewer_people_than_the_smallest_group_is_in_no_table_and_nothing_else_changes() {
    let shop = |least: &str| {
        let shop = small();
        append(
            &shop,
            &format!(
                "[[models]]\nid = \"popular\"\nfamily = \"popular\"\n[privacy]\nmin_group = {least}"
            ),
        );
        shop.run_ok();
        shop
    };
    let plain = shop("0");
    let features = "select * from item_features";
    let counted = "recency_days is not null";
    let of = |shop: &Shop, which: &str| {
        shop.query(&format!("{features} where {which} order by item_id"))
    };
    let middle = format!(
        "select users from item_features where {counted} order by users, item_id limit 1 offset {}",
        of(&plain, counted).len() / 2
    );
    let k: usize = plain.query(&middle)[0].parse().unwrap();
    let popular = |shop: &Shop| {
        shop.query("select item_id from item_factors where model_id = 'popular' order by item_id")
    };
    let reached = |least: usize| {
        plain.query(&format!(
            "select item_id from interactions group by item_id having count(*) >= {least} order by item_id"
        ))
    };
    assert_eq!(popular(&plain), reached(1));
    let rest = |shop: &Shop| {
        let mut files = shop.published();
        // A table without a row has no folder, and then no promise.
        let aggregates = [
            "item_features/",
            "item_factors/",
            "evaluation/",
            "evaluation_pairs/",
            "contracts.json",
        ];
        files.retain(|(name, _)| !aggregates.iter().any(|a| name.starts_with(a)));
        files
    };
    let judged: usize = plain.query("select min(users) from evaluation")[0]
        .parse()
        .unwrap();
    for least in [k, judged + 1, 1_000_000] {
        let shop = shop(&least.to_string());
        let told = format!("not ({counted}) or users >= {least}");
        assert_eq!(of(&shop, "true"), of(&plain, &told));
        assert!(of(&shop, "true").len() < of(&plain, "true").len());
        assert_eq!(popular(&shop), reached(least));
        for (table, by) in [
            ("evaluation", "model_id, metric, k"),
            ("evaluation_pairs", "model_id, other_id, metric, k"),
        ] {
            let rows = |shop: &Shop, which: &str| {
                shop.query(&format!(
                    "select * from {table} where {which} order by {by}"
                ))
            };
            let told = format!("users >= {least}");
            assert_eq!(rows(&shop, "true"), rows(&plain, &told), "{table}");
        }
        let (now, before) = (rest(&shop), rest(&plain));
        let other: Vec<_> = now.iter().filter(|f| !before.contains(f)).collect();
        assert!(
            other.is_empty() && now.len() == before.len(),
            "{least}: {other:?}"
        );
        assert_eq!(money(shop.path()), money(plain.path()));
    }
    assert!(popular(&plain).len() > reached(k).len() && !reached(k).is_empty());
}
