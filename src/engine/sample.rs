//! Some of the values that pass, evenly over all of them however many there are.

/// Every so many of the values seen, never more than a number of them.
pub struct Sample<T> {
    most: usize,
    every: usize,
    seen: usize,
    kept: Vec<T>,
}

impl<T: Ord> Sample<T> {
    /// None yet, and at most `most`.
    pub fn of(most: usize) -> Self {
        Sample {
            most,
            every: 1,
            seen: 0,
            kept: vec![],
        }
    }

    /// Sees a value, which is made where it is kept.
    pub fn see(&mut self, value: impl FnOnce() -> T) {
        if self.seen.is_multiple_of(self.every) {
            if self.kept.len() == self.most {
                let mut odd = true;
                self.kept.retain(|_| {
                    odd = !odd;
                    !odd
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.kept.push(value());
            }
        }
        self.seen += 1;
    }

    /// Those kept, in order.
    pub fn sorted(mut self) -> Vec<T> {
        self.kept.sort_unstable();
        self.kept
    }
}

/// Where the second and each further of so many parts begins, which values in order divide evenly over.
pub fn borders<T>(sorted: &[T], parts: usize) -> impl Iterator<Item = &T> {
    (1..parts).filter_map(move |part| sorted.get(part * sorted.len() / parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_lies_evenly_over_all_that_was_seen() {
        let kept = |seen: usize| {
            let mut sample = Sample::of(8);
            (0..seen).for_each(|n| sample.see(|| n));
            sample.sorted()
        };
        assert_eq!(kept(0), [0_usize; 0]);
        assert_eq!(kept(5), [0, 1, 2, 3, 4]);
        assert_eq!(kept(8), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(kept(9), [0, 2, 4, 6, 8]);
        assert_eq!(kept(16), [0, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(kept(100), [0, 16, 32, 48, 64, 80, 96]);
    }
}
