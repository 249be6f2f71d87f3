//! Every fuzz target over its corpus and over seeded mutations of it, so that none rots between two long runs (`fuzz/run`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recost::fuzzing;

use crate::shop::files_below;

/// Mutated inputs of each target in the ordinary run; `RECOST_MUTANTS` says how many in a longer one.
const MUTANTS: usize = 300;

/// The targets, by the names of their functions.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), fuzzing::$name as fn(&[u8]))),*]
    };
}

/// A name and what it stands for.
type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = targets![
    contracts,
    csv,
    delivery_manifest,
    environment,
    finished_stages,
    focus,
    forgotten,
    mirror_state,
    model_file,
    numbers,
    parquet,
    pipeline,
    rules,
    run_ledger,
    store_objects,
    tags,
];

fn fuzz(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(below)
}

/// Names in a folder, without what comes after a point.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz(folder)).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_string();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_place_here() {
    let here: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names("corpus"), here);
    assert_eq!(names("fuzz_targets"), here);
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for name in &here {
        let program = fs::read_to_string(fuzz(&format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            program.contains(&format!("recost::fuzzing::{name}(data)")),
            "{name}"
        );
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Pcg64Mcg) {
    for _ in 0..random.random_range(1..5) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        let to = bytes.len().min(at + random.random_range(1..20));
        match random.random_range(0..8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => bytes.extend_from_within(at..to),
            3 | 4 => bytes[at] = b"\0\n\",-9{}[]=\xff"[random.random_range(0..12)],
            _ => bytes[at] ^= 1 << random.random_range(0..8),
        }
    }
}

#[test]
fn no_input_of_the_corpus_and_no_mutant_of_one_breaks_a_parser() {
    let number = |name: &str| Some(std::env::var(name).ok()?.parse::<u64>().unwrap());
    let mutants = number("RECOST_MUTANTS").map_or(MUTANTS, |n| n as usize);
    for (name, target) in TARGETS {
        let inputs: Vec<Vec<u8>> = files_below(&fuzz("corpus").join(name))
            .into_iter()
            .map(|(_, path)| fs::read(path).unwrap())
            .collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        println!("{name}");
        inputs.iter().for_each(|input| target(input));
        let mut random = Pcg64Mcg::seed_from_u64(number("RECOST_SEED").unwrap_or(1));
        for n in 0..mutants {
            let mut bytes = inputs[n % inputs.len()].clone();
            mutate(&mut bytes, &mut random);
            target(&bytes);
        }
    }
}
