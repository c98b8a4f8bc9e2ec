//! A run, told.

mod beside;
mod json;
mod svg;
mod table;

pub use json::json;
pub use svg::svg;
pub use table::table;

use serde::Serialize;

use crate::backlog::Backlog;
use crate::figures::median;
use crate::idle::Idle;
use crate::pages::Paged;
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
    /// What its processes used before anything was sent.
    pub idle: Vec<Idle>,
    /// What was accepted before workers ran; then the one round is the steady one to compare with.
    pub backlog: Option<Backlog>,
    /// First pages of lists, after everything else.
    pub pages: Vec<Paged>,
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

    /// How fast the backlog was worked off, of the steady rate.
    #[must_use]
    pub fn drain_ratio(&self) -> Option<f64> {
        let steady = self.median(POSTRIDER, |round| round.figures.delivered_per_second)?;
        let drained = self.backlog.as_ref()?.drained_per_second;
        Some(drained / steady).filter(|ratio| ratio.is_finite())
    }

    /// Whether everything arrived that was accepted.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let backlog = self.backlog.iter().map(|backlog| &backlog.round);
        let mut rounds = self.rounds.iter().chain(backlog);
        rounds.all(|round| round.figures.lost == 0)
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
