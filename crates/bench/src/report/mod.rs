//! A run, told.

mod json;
mod svg;
mod table;

pub use json::json;
pub use svg::svg;
pub use table::table;

use serde::Serialize;

use crate::figures::median;
use crate::round::Round;

/// All rounds of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// What was asked for, as a user would say it again.
    pub command: String,
    /// Versions of what was measured.
    pub versions: Vec<String>,
    /// In the order in which they were run; those of the floor alternate with those of Postrider.
    pub rounds: Vec<Round>,
}

/// The two pipelines.
pub const POSTRIDER: &str = "postrider";
/// The least possible one.
pub const FLOOR: &str = "floor";

impl Run {
    /// Rounds of a pipeline.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Round> {
        self.rounds.iter().filter(move |round| round.name == name)
    }

    /// The median of a figure over those of a pipeline's rounds that have it.
    #[must_use]
    pub fn median(&self, name: &str, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        let figures = self.of(name).map(figure);
        median(figures.filter(|figure| figure.is_finite()).collect())
    }

    /// The median over pairs of rounds of Postrider's figure divided by the floor's.
    #[must_use]
    pub fn ratio(&self, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        let pairs = self.of(POSTRIDER).zip(self.of(FLOOR));
        median(
            pairs
                .map(|(ours, floor)| figure(ours) / figure(floor))
                .filter(|ratio| ratio.is_finite())
                .collect(),
        )
    }
}
