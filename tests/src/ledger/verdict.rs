//! What came out.

use std::fmt;

use tokio::time::Instant;

use super::history::Pair;

/// What holding a history against the promises yields.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    /// Events.
    pub accepted: usize,
    /// Requests.
    pub received: usize,
    /// Pairs, by how they ended.
    pub delivered: usize,
    pub dead: usize,
    pub canceled: usize,
    /// Accepted, never received, and nobody says that it was given up.
    pub lost: Vec<Pair>,
    pub duplicated: Vec<Duplicate>,
    /// Never accepted, or not for that endpoint.
    pub unexpected: Vec<Pair>,
    /// An attempt before its schedule allowed it.
    pub early: Vec<Pair>,
    pub late: Vec<Pair>,
    /// Pairs that have not come to an end.
    pub unended: Vec<Pair>,
    /// Said to be delivered without a 2xx, or given up after one.
    pub contradicted: Vec<Pair>,
    /// Requests whose signature is not valid.
    pub invalid: Vec<Pair>,
    pub faults: usize,
    /// Requests that a fault touched: under way when it came, or answered right before. No more may be repeated.
    pub touched: usize,
}

/// A request that repeats another.
#[derive(Debug, Clone)]
pub struct Duplicate {
    pub pair: Pair,
    /// When the repeated one arrived.
    pub first: Instant,
    pub again: Instant,
    /// Whether a fault explains it.
    pub excused: bool,
}

impl Verdict {
    /// Duplicates that no fault explains.
    #[must_use]
    pub fn unexcused(&self) -> Vec<&Duplicate> {
        let duplicates = self.duplicated.iter();
        duplicates.filter(|duplicate| !duplicate.excused).collect()
    }

    /// Panics unless everything that is promised was kept.
    pub fn assert_kept(&self) {
        let broken = [
            ("lost", self.lost.len()),
            ("repeated without cause", self.unexcused().len()),
            ("unexpected", self.unexpected.len()),
            ("early", self.early.len()),
            ("late", self.late.len()),
            ("without an end", self.unended.len()),
            ("contradicted", self.contradicted.len()),
            ("with an invalid signature", self.invalid.len()),
        ];
        let broken: Vec<_> = broken.iter().filter(|(_, count)| *count > 0).collect();
        assert!(broken.is_empty(), "{broken:?}\n{self}\n{}", self.examples());
    }

    /// A few of each kind, since a thousand lines help nobody.
    fn examples(&self) -> String {
        const FEW: usize = 5;
        let few = |pairs: &[Pair]| pairs.iter().take(FEW).cloned().collect::<Vec<_>>();
        let unexcused: Vec<_> = self.unexcused().into_iter().take(FEW).collect();
        format!(
            "lost: {:?}\nrepeated without cause: {unexcused:?}\nunexpected: {:?}\nearly: {:?}\nlate: {:?}\nwithout an end: {:?}\ncontradicted: {:?}",
            few(&self.lost),
            few(&self.unexpected),
            few(&self.early),
            few(&self.late),
            few(&self.unended),
            few(&self.contradicted),
        )
    }
}

/// The line of figures.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted={} delivered={} dead={} canceled={} lost={} duplicated={} unexpected={} early={} late={} faults={}",
            self.accepted,
            self.delivered,
            self.dead,
            self.canceled,
            self.lost.len(),
            self.duplicated.len(),
            self.unexpected.len(),
            self.early.len(),
            self.late.len(),
            self.faults,
        )
    }
}
