//! Nights around which calendars and clocks are not as usual.

use std::fmt::Write as _;

use super::world::World;
use crate::shop::{query, text};

const HEADER: &str = "event_id,event_time,user_id,session_id,event_type,item_id,query,request_id,model_id,model_version,surface,rank,compute_ns,price,quantity,currency\n";

/// A project with a clickstream by day and nothing to train.
fn clicks(days: &[(&str, &[&str])]) -> World {
    let world = World::empty();
    let text = "name = \"Clicks\"\n[run]\nhistory_days = 2\n[report]\nafter_run = false\n[[sources]]\nname = \"clicks\"\n\
         kind = \"events\"\npath = \"events/{date}.csv\"\ndialect = \"recost\"\n";
    std::fs::write(world.file("pipeline.toml"), text).unwrap();
    std::fs::create_dir(world.file("events")).unwrap();
    for (day, times) in days {
        let mut csv = String::from(HEADER);
        for (n, time) in times.iter().enumerate() {
            writeln!(csv, "{day}-{n},{time},ana,,view,item-{n},,,,,,,,,,").unwrap();
        }
        std::fs::write(world.file(&format!("events/{day}.csv")), csv).unwrap();
    }
    world
}

/// The days of the published events with their number, after each night ran twice.
fn days(world: &World, nights: &[&str]) -> Vec<String> {
    for night in nights {
        for again in [false, true] {
            let out = world.run(night);
            assert!(out.status.success(), "{night}: {}", text(&out.stderr));
            let nothing = text(&out.stdout).starts_with("Nothing to do");
            assert_eq!(nothing, again, "{night}: {}", text(&out.stdout));
        }
    }
    let sql = "select cast(ds as varchar), count(*) from events group by 1 order by 1";
    query(world.path(), sql)
}

#[test]
fn the_year_turns_and_a_leap_day_is_a_day() {
    let world = clicks(&[
        (
            "2023-12-31",
            &["2023-12-31T23:59:59.999999Z", "2023-12-31T00:00:00Z"],
        ),
        ("2024-01-01", &["2024-01-01T00:00:00Z"]),
        ("2024-02-28", &["2024-02-28T23:59:59Z"]),
        (
            "2024-02-29",
            &["2024-02-29T00:00:00Z", "2024-02-29T23:59:59Z"],
        ),
        ("2024-03-01", &["2024-03-01T00:00:00Z"]),
    ]);
    let nights = [
        "2023-12-31",
        "2024-01-01",
        "2024-02-28",
        "2024-02-29",
        "2024-03-01",
    ];
    let found = days(&world, &nights);
    assert_eq!(
        found,
        [
            "2023-12-31,2",
            "2024-01-01,1",
            "2024-02-28,1",
            "2024-02-29,2",
            "2024-03-01,1"
        ]
    );
    let out = world.run("2023-02-29");
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}

/// Local times with their offset: on 31 March 2024 the hour after 01:59 is 03:00 in Berlin, on 27 October 02:30 comes twice.
#[test]
fn the_hours_that_a_change_of_the_clock_skips_and_repeats_are_told_apart() {
    let spring: &[&str] = &["2024-03-31T01:59:00+01:00", "2024-03-31T03:00:00+02:00"];
    let autumn: &[&str] = &["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"];
    let world = clicks(&[("2024-03-31", spring), ("2024-10-27", autumn)]);
    assert_eq!(
        days(&world, &["2024-03-31", "2024-10-27"]),
        ["2024-03-31,2", "2024-10-27,2"]
    );
    let times = "select to_char(event_time, '%H:%M:%S') as at from events order by event_time";
    let times = query(world.path(), times);
    let at = ["00:59:00", "01:00:00", "00:30:00", "01:30:00"];
    for (time, at) in times.iter().zip(at) {
        assert!(time.contains(at), "{times:?}");
    }
    assert_eq!(times.len(), 4);
}
