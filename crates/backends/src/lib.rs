//! The ports of Postrider on real storage: the embedded engine on SQLite.
