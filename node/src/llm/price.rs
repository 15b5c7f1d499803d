//! What tokens cost, by a dated table of the configuration.

use super::chat::Usage;
use super::policy::Target;

/// Tokens that prices are given for.
const A_MILLION: u128 = 1_000_000;

/// What a model's tokens cost from a day on, in micro-dollars for a million of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Price {
    /// Which model; `*` stands for all models of a provider.
    pub target: Target,
    /// The first day, in days since 1970.
    pub since_day: i64,
    /// Read.
    pub input: u64,
    /// Read before; as the others where nothing is said.
    pub cached: Option<u64>,
    /// Written.
    pub output: u64,
}

/// All prices.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Prices(pub Vec<Price>);

impl Prices {
    /// The price of a model on a day: that of the model itself before that of its provider, and of these the newest.
    pub fn of(&self, provider: &str, model: &str, day: i64) -> Option<&Price> {
        let fits = |price: &&Price| {
            let target = &price.target;
            target.provider == provider && (target.model == model || target.model == "*") && price.since_day <= day
        };
        self.0.iter().filter(fits).max_by_key(|price| (price.target.model != "*", price.since_day))
    }
}

impl Price {
    /// What it comes to, in micro-dollars, rounded up.
    pub fn cost(&self, usage: &Usage) -> u64 {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let parts = [
            (usage.input_tokens - cached, self.input),
            (cached, self.cached.unwrap_or(self.input)),
            (usage.output_tokens, self.output),
        ];
        let sum: u128 = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
        u64::try_from(sum.div_ceil(A_MILLION)).unwrap_or(u64::MAX)
    }

    /// Both prices together, for comparing models.
    pub fn rank(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(target: &str, since_day: i64, input: u64) -> Price {
        Price { target: target.parse().unwrap(), since_day, input, cached: None, output: 4 * input }
    }

    #[test]
    fn the_newest_price_of_the_model_itself_counts() {
        let all =
            vec![price("a/*", 0, 1), price("a/m", 10, 2), price("a/m", 20, 3), price("a/*", 30, 4), price("b/m", 0, 5)];
        let prices = Prices(all);
        let of = |provider: &str, model: &str, day| prices.of(provider, model, day).map(|price| price.input);
        assert_eq!([of("a", "m", 9), of("a", "m", 10), of("a", "m", 25), of("a", "m", 99)], [1, 2, 3, 3].map(Some));
        assert_eq!(
            [of("a", "n", 29), of("a", "n", 30), of("b", "n", 99), of("c", "m", 99)],
            [Some(1), Some(4), None, None]
        );
    }

    #[test]
    fn a_cost_is_rounded_up_and_knows_what_was_read_before() {
        let price = Price { cached: Some(15_000), ..price("a/m", 0, 150_000) };
        let usage = |input_tokens, cached_tokens, output_tokens| Usage { input_tokens, cached_tokens, output_tokens };
        assert_eq!(price.cost(&usage(1_000_000, 0, 1_000_000)), 750_000);
        assert_eq!(price.cost(&usage(1, 0, 0)), 1);
        assert_eq!(price.cost(&usage(1_000_000, 1_000_000, 0)), 15_000);
        assert_eq!(price.cost(&usage(10, 20, 0)), 1, "no provider reads more before than in all");
        assert_eq!(price.cost(&usage(u64::MAX, 0, u64::MAX)), 13_835_058_055_282_163_712);
    }
}
