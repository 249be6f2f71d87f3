//! Confidence intervals of shares and of their differences.

use serde::Serialize;

/// The 0.975 quantile of the standard normal distribution: two-sided, 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// A share or a difference of shares with its two-sided 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub estimate: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// Whether 0 lies outside of it.
    pub fn leaves_out_zero(self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The share `hits / of` with Wilson's score interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927, 209–212; without
/// continuity correction). `None` of nothing.
pub fn share(hits: u64, of: u64) -> Option<Interval> {
    if of == 0 {
        return None;
    }
    let (n, z2) = (of as f64, Z * Z);
    let p = hits as f64 / n;
    let middle = (2.0 * n * p + z2) / (2.0 * (n + z2));
    let half = Z * (z2 + 4.0 * n * p * (1.0 - p)).sqrt() / (2.0 * (n + z2));
    Some(Interval {
        estimate: p,
        // At 0 and at all, one bound is exact, which rounding would miss.
        low: if hits == 0 { 0.0 } else { middle - half },
        high: if hits == of { 1.0 } else { middle + half },
    })
}

/// The difference `b − a` of two independent shares with the hybrid score interval (R. G. Newcombe, Statist. Med. 17,
/// 1998, 873–890, method 10): the Wilson bounds of each, combined. It holds what it promises with small counts, too, and
/// never leaves −1 to 1.
pub fn difference(a: Interval, b: Interval) -> Interval {
    let estimate = b.estimate - a.estimate;
    let root = |x: f64, y: f64| (x * x + y * y).sqrt();
    Interval {
        estimate,
        low: estimate - root(b.estimate - b.low, a.high - a.estimate),
        high: estimate + root(b.high - b.estimate, a.estimate - a.low),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rounded(interval: Interval) -> (String, String) {
        (
            format!("{:.4}", interval.low),
            format!("{:.4}", interval.high),
        )
    }

    #[test]
    fn the_bounds_of_a_share_are_where_it_is_z_standard_errors_away() {
        // Expected: the roots t of (p − t)² = z² · t · (1 − t) / n, worked out apart from this file with 60 decimal digits
        // (z by bisection of the error function's series). The counts are those of R. G. Newcombe, Statist. Med. 17, 1998,
        // 857–872, method 3.
        for (hits, of, low, high) in [
            (81, 263, "0.2553", "0.3662"),
            (15, 148, "0.0624", "0.1605"),
            (0, 20, "0.0000", "0.1611"),
            (1, 29, "0.0061", "0.1718"),
        ] {
            let found = rounded(share(hits, of).unwrap());
            assert_eq!(found, (low.into(), high.into()), "{hits}/{of}");
        }
        assert_eq!(share(0, 0), None);
    }

    #[test]
    fn the_bounds_of_a_difference_are_those_of_its_shares_combined() {
        // Expected, for p − q with the bounds (l, u) of p and (l', u') of q as above, with 60 decimal digits:
        // p − q − √((p − l)² + (u' − q)²) and p − q + √((u − p)² + (q − l')²). The counts are those of the paper that
        // `difference` names, method 10; its θ is first − second.
        for (first, second, low, high) in [
            ((56, 70), (48, 80), "0.0524", "0.3339"),
            ((9, 10), (3, 10), "0.1705", "0.8090"),
            ((6, 7), (2, 7), "0.0582", "0.8062"),
            ((5, 56), (0, 29), "-0.0381", "0.1926"),
            ((0, 10), (0, 20), "-0.1611", "0.2775"),
            ((0, 10), (0, 10), "-0.2775", "0.2775"),
            ((10, 10), (0, 20), "0.6791", "1.0000"),
            ((10, 10), (0, 10), "0.6075", "1.0000"),
        ] {
            let of = |(hits, of)| share(hits, of).unwrap();
            let found = rounded(difference(of(second), of(first)));
            assert_eq!(found, (low.into(), high.into()), "{first:?} − {second:?}");
        }
    }

    #[test]
    fn the_interval_holds_the_true_difference_about_as_often_as_it_says() {
        // Drawn with xorshift64*, seed fixed.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut uniform = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
        };
        for (p, q, n, m) in [
            (0.05, 0.06, 400, 500),
            (0.02, 0.02, 150, 90),
            (0.3, 0.5, 40, 60),
        ] {
            let trials = 4_000;
            let mut held = 0;
            for _ in 0..trials {
                let mut draw = |p: f64, n: u64| (0..n).filter(|_| uniform() < p).count() as u64;
                let (a, b) = (draw(p, n), draw(q, m));
                let d = difference(share(a, n).unwrap(), share(b, m).unwrap());
                held += u32::from(d.low <= q - p && q - p <= d.high);
            }
            let coverage = f64::from(held) / f64::from(trials);
            assert!((0.94..=0.985).contains(&coverage), "{p} {q}: {coverage}");
        }
    }
}
