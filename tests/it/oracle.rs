//! The program against an oracle of attribution that was written apart from it, in another language.

use std::path::Path;

use crate::shop::{python, text};

/// The first of these nights closes two months and restates both. More nights:
/// `python3 tests/oracle/attribution.py target/release/recost --nights 200 --seed 7`.
#[test]
fn every_table_of_random_nights_is_the_oracles() {
    let oracle = "tests/oracle/attribution.py";
    let args = [
        oracle,
        env!("CARGO_BIN_EXE_recost"),
        "--nights",
        "3",
        "--seed",
        "13",
    ];
    let Some(out) = python(Path::new(env!("CARGO_MANIFEST_DIR")), &args) else {
        return;
    };
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("all equal, to the last digit"), "{said}");
}
