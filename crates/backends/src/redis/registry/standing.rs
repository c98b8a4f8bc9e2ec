//! Whether the registry is all there: what this process remembers of it, held against what Redis says.
//!
//! | Redis says | remembered | then |
//! |---|---|---|
//! | no epoch | anything | lost: an import is needed, or an installation was never founded |
//! | an epoch | none | it is taken for right: this process has nothing to compare |
//! | the same epoch, a version that was reached | | well |
//! | the same epoch, and that it is being mended | | lost, until everybody has put back what it wrote |
//! | the same epoch, and a change that was told is not there | | the same, and somebody wrote on before it was found out |
//! | the same epoch, a lower version | | lost its latest changes: Redis came back from an older state of its files |
//! | the same epoch, a version below one that was reached long ago | | lost more than anybody remembers |
//! | another epoch, of an import, a higher version | | well; anything may have changed |
//! | another epoch, founded anew | | lost: somebody began with nothing, and this process knows of more |
//!
//! Answers may overtake each other: an answer is judged by what was remembered when its question was asked.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What a script found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) epoch: Option<String>,
    pub(super) version: u64,
    pub(super) mending: Mending,
}

/// Whether lost changes are being put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mending {
    No,
    Yes,
    /// And somebody wrote on before it began.
    WrittenOver,
}

/// As scripts return it.
pub(super) type Found = (Option<String>, u64, u8);

impl From<Found> for Standing {
    fn from((epoch, version, mending): Found) -> Self {
        Self {
            epoch,
            version,
            mending: match mending {
                0 => Mending::No,
                1 => Mending::Yes,
                _ => Mending::WrittenOver,
            },
        }
    }
}

/// Why the registry cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loss {
    NoEpoch,
    /// `far`: further than a restart goes back that lost the last moments of its files.
    Rewound {
        seen: u64,
        found: u64,
        far: bool,
    },
    Mending,
    /// Somebody wrote on after Redis had gone back: the version tells nothing.
    WrittenOver,
    FoundedAnew,
}

impl Loss {
    /// Whether it passes by itself.
    pub(super) const fn is_mended(&self) -> bool {
        matches!(
            self,
            Self::Rewound { far: false, .. } | Self::Mending | Self::WrittenOver
        )
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEpoch => f.write_str(
                "Redis holds no registry, or lost it; import a backup or found it anew: \
                 postrider registry import FILE | postrider registry init",
            ),
            Self::Rewound {
                seen,
                found,
                far: false,
            } => write!(
                f,
                "Redis went back from version {seen} to {found} and lost the latest changes; nodes that remember them \
                 are putting them back, which takes some seconds"
            ),
            Self::Rewound { seen, found, .. } => write!(
                f,
                "Redis went back from version {seen} to {found}, which is an old state; import a backup \
                 (postrider registry import FILE), or restart every process to go on with what is there"
            ),
            Self::Mending | Self::WrittenOver => f.write_str(
                "Redis went back to an older state and lost the latest changes; nodes that remember them are putting \
                 them back, which takes some seconds",
            ),
            Self::FoundedAnew => f.write_str(
                "the registry was founded anew while this process remembers another; import a backup \
                 (postrider registry import FILE), or restart this process if nothing is to be kept",
            ),
        }
    }
}

/// What is remembered when a question is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) epoch: Option<String>,
    /// The newest version that was ever seen.
    pub(super) seen: u64,
    /// The newest version that ought to have been on the server's disk long since.
    pub(super) durable: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Well,
    /// Well, and anything may have changed.
    Renewed,
    Lost(Loss),
}

/// How the epoch of an import begins, or of what an operator founded; that of a registry which was founded without anybody
/// saying that nothing is to be kept begins with another letter.
pub(super) const IMPORTED: char = 'i';
pub(super) const FOUNDED: char = 'f';

impl Memory {
    /// Judges what was found by `before`, what was remembered when it was asked for, and remembers it if it is right.
    pub(super) fn judge(&mut self, before: &Self, found: &Standing) -> Verdict {
        let Some(epoch) = &found.epoch else {
            return Verdict::Lost(Loss::NoEpoch);
        };
        let asked_of = before.epoch.as_ref().unwrap_or(epoch);
        let behind = found.version < before.seen;
        let rewound = Loss::Rewound {
            seen: before.seen,
            found: found.version,
            far: found.version < before.durable,
        };
        if epoch == asked_of {
            if behind {
                return Verdict::Lost(rewound);
            }
            match found.mending {
                Mending::No => {}
                Mending::Yes => return Verdict::Lost(Loss::Mending),
                Mending::WrittenOver => return Verdict::Lost(Loss::WrittenOver),
            }
            // An answer from before an import that another answer has told of already says nothing any more.
            if self.epoch.is_none() || self.epoch.as_ref() == Some(epoch) {
                self.remember(epoch, found.version);
            }
            return Verdict::Well;
        }
        if self.epoch.as_ref() == Some(epoch) {
            // Somebody else's answer has told of the import already.
            self.remember(epoch, found.version);
            return Verdict::Well;
        }
        if !epoch.starts_with(IMPORTED) {
            return Verdict::Lost(Loss::FoundedAnew);
        }
        if behind {
            return Verdict::Lost(rewound);
        }
        self.remember(epoch, found.version);
        Verdict::Renewed
    }

    fn remember(&mut self, epoch: &str, version: u64) {
        self.epoch = Some(epoch.to_owned());
        self.seen = self.seen.max(version);
    }
}

/// How long a version must have been known before it counts as durable: several times what Redis takes to write its log out.
const DURABLE_AFTER: Duration = Duration::from_secs(10);

/// When which version was known.
#[derive(Debug, Default)]
pub(super) struct History {
    known: VecDeque<(Instant, u64)>,
}

impl History {
    /// Takes note that Redis has `version`. Returns the newest one that it had long ago.
    pub(super) fn note(&mut self, version: u64) -> u64 {
        let now = Instant::now();
        if self.known.back().is_none_or(|(_, last)| *last != version) {
            self.known.push_back((now, version));
        }
        let old = |(since, _): &(Instant, u64)| now - *since >= DURABLE_AFTER;
        while self.known.get(1).is_some_and(old) {
            self.known.pop_front();
        }
        let first = self.known.front().filter(|first| old(first));
        first.map_or(0, |(_, version)| *version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_known_for_long_counts_as_durable() {
        let mut history = History::default();
        assert_eq!(history.note(1), 0);
        tokio::time::advance(DURABLE_AFTER / 2).await;
        assert_eq!((history.note(1), history.note(2)), (0, 0));
        tokio::time::advance(DURABLE_AFTER / 2).await;
        assert_eq!((history.note(2), history.note(3)), (1, 1));
        tokio::time::advance(DURABLE_AFTER).await;
        assert_eq!((history.note(4), history.known.len()), (3, 2));
        assert_eq!(history.note(4), 3);
    }

    fn standing(epoch: &str, version: u64) -> Standing {
        Standing {
            epoch: (!epoch.is_empty()).then(|| epoch.to_owned()),
            version,
            mending: Mending::No,
        }
    }

    fn memory(epoch: &str, seen: u64) -> Memory {
        Memory {
            epoch: Some(epoch.to_owned()),
            seen,
            durable: seen / 2,
        }
    }

    #[test]
    fn follows_the_table() {
        let rewound = |found| {
            Verdict::Lost(Loss::Rewound {
                seen: 10,
                found,
                far: found < 5,
            })
        };
        let cases = [
            ("", 11, Verdict::Lost(Loss::NoEpoch)),
            ("f1", 10, Verdict::Well),
            ("f1", 9, rewound(9)),
            ("f1", 4, rewound(4)),
            ("i2", 11, Verdict::Renewed),
            ("i2", 9, rewound(9)),
            ("f2", 11, Verdict::Lost(Loss::FoundedAnew)),
        ];
        for (epoch, version, verdict) in cases {
            let mut memory = memory("f1", 10);
            let before = memory.clone();
            assert_eq!(
                memory.judge(&before, &standing(epoch, version)),
                verdict,
                "{epoch} {version}"
            );
            assert!(memory.seen >= 10);
        }
        let mut well = memory("f1", 10);
        let before = well.clone();
        let mending = Standing {
            mending: Mending::Yes,
            ..standing("f1", 12)
        };
        let verdict = well.judge(&before, &mending);
        assert_eq!(verdict, Verdict::Lost(Loss::Mending));
        let mut blank = Memory::default();
        let verdict = blank.judge(&Memory::default(), &standing("f1", 3));
        assert_eq!(verdict, Verdict::Well);
        assert_eq!((blank.epoch.as_deref(), blank.seen), (Some("f1"), 3));
    }

    #[test]
    fn answers_that_were_overtaken_are_no_alarm() {
        let before = memory("f1", 10);
        let mut after = memory("f1", 12);
        let verdict = after.judge(&before, &standing("f1", 11));
        assert_eq!((verdict, after.seen), (Verdict::Well, 12));
        let mut after = memory("i2", 20);
        let verdict = after.judge(&before, &standing("f1", 11));
        assert_eq!((verdict, after), (Verdict::Well, memory("i2", 20)));
        let mut after = memory("i2", 20);
        let verdict = after.judge(&before, &standing("i2", 15));
        assert_eq!((verdict, after), (Verdict::Well, memory("i2", 20)));
    }
}
