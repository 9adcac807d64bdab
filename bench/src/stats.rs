//! Medians, spreads, and when a ratio is no finding.

use serde::Serialize;

/// A ratio is printed if half of its values, one for each round, lie within this part of their median.
pub const MOST_SPREAD: f64 = 0.25;
/// … and if there are that many rounds.
pub const FEWEST_ROUNDS: usize = 3;

/// The middle and the quartiles of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The first quartile.
    pub low: f64,
    /// The third quartile.
    pub high: f64,
}

impl Spread {
    /// Of some values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Spread { median: at(&sorted, 0.5)?, low: at(&sorted, 0.25)?, high: at(&sorted, 0.75)? })
    }
}

/// The value below which a part of the sorted values lies, between two of them in proportion.
pub fn at(sorted: &[f64], part: f64) -> Option<f64> {
    let place = part * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(low + (high - low) * place.fract())
}

/// What two things that were measured in the same rounds say about each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Ratio {
    /// The median of the rounds' ratios, with its quartiles.
    Found(Spread),
    /// The rounds differ too much from each other to say.
    TooNoisy(Spread),
    /// There are too few rounds, or one of the values is not positive.
    TooFew,
}

impl Ratio {
    /// The first by the second, round by round.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Ratio {
        let ratios: Option<Vec<f64>> = pairs.into_iter().map(|(a, b)| (a > 0.0 && b > 0.0).then(|| a / b)).collect();
        match ratios.filter(|ratios| ratios.len() >= FEWEST_ROUNDS).and_then(|ratios| Spread::of(&ratios)) {
            None => Ratio::TooFew,
            Some(spread) if spread.high - spread.low > MOST_SPREAD * spread.median => Ratio::TooNoisy(spread),
            Some(spread) => Ratio::Found(spread),
        }
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ratio::Found(Spread { median, low, high }) => write!(f, "**{median:.2}** [{low:.2}–{high:.2}]"),
            Ratio::TooNoisy(Spread { low, high, .. }) => write!(f, "too noisy [{low:.2}–{high:.2}]"),
            Ratio::TooFew => f.write_str("too few rounds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, low: 1.75, high: 3.25 });
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(at(&[1.0, 2.0, 3.0], 0.99), Some(2.98));
    }

    #[test]
    fn a_ratio_is_that_of_each_round_and_not_of_the_medians() {
        // The machine is slower from round to round; that cancels out.
        let Ratio::Found(spread) = Ratio::of([(2.0, 1.0), (20.0, 10.0), (200.0, 100.0)]) else { panic!() };
        assert_eq!(spread.median, 2.0);
    }

    #[test]
    fn what_scatters_is_not_told() {
        assert!(matches!(Ratio::of([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]), Ratio::TooNoisy(_)));
        assert!(matches!(Ratio::of([(1.0, 1.0), (1.1, 1.0), (1.2, 1.0)]), Ratio::Found(_)));
        assert_eq!(Ratio::of([(1.0, 1.0), (1.0, 1.0)]), Ratio::TooFew);
        assert_eq!(Ratio::of([(1.0, 1.0), (1.0, 0.0), (1.0, 1.0)]), Ratio::TooFew);
    }
}
