//! A given split of interactions: `train.txt` and `test.txt`, one user a line, the user's number, then the numbers of the
//! items, all counted from 0.

use recost::features::csr::Csr;
use std::path::Path;

type Failure = Box<dyn std::error::Error>;

/// Seed of the bootstrap, and of the share held out.
pub use recost::evaluate::bootstrap::SEED;

/// The training part and the test part of `folder`, `[users, items]`; with a `holdout`, that share of the training part in
/// place of the test.
pub fn read(folder: &Path, holdout: f64) -> Result<(Csr, Csr), Failure> {
    let train = pairs(&folder.join("train.txt"))?;
    let (train, test) = if holdout > 0.0 {
        let held = |at: u64| ((mix(at) >> 11) as f64 / (1u64 << 53) as f64) < holdout;
        let numbered = train.into_iter().zip(0u64..);
        let (test, train): (Vec<_>, Vec<_>) = numbered.partition(|&(_, at)| held(at));
        let pairs = |part: Vec<((u32, u32), u64)>| part.into_iter().map(|(pair, _)| pair).collect();
        (pairs(train), pairs(test))
    } else {
        (train, pairs(&folder.join("test.txt"))?)
    };
    let all = || train.iter().chain(&test);
    let users = all().map(|p| p.0 as usize + 1).max().unwrap_or(0);
    let items = all().map(|p| p.1 as usize + 1).max().unwrap_or(0);
    let matrix = |pairs: &[(u32, u32)]| {
        let cells: Vec<_> = pairs.iter().map(|&(u, i)| (u, i, 1.0)).collect();
        Csr::from_triplets(users, items, &cells)
    };
    Ok((matrix(&train)?, matrix(&test)?))
}

/// A random number for a place.
pub fn mix(place: u64) -> u64 {
    recost::random::nth((place ^ SEED).wrapping_sub(1))
}

/// Every (user, item) of a file.
fn pairs(path: &Path) -> Result<Vec<(u32, u32)>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut pairs = vec![];
    for (line, text) in text.lines().enumerate() {
        let mut numbers = text.split_whitespace().map(|word| {
            word.parse::<u32>()
                .map_err(|e| format!("{}:{}: `{word}`: {e}", path.display(), line + 1))
        });
        let Some(user) = numbers.next().transpose()? else {
            continue;
        };
        for item in numbers {
            pairs.push((user, item?));
        }
    }
    Ok(pairs)
}
