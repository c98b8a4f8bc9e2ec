//! The tables, as each version of the format made them.
//!
//! Why they look the way they do:
//!
//! - **Identifiers are their 20 bytes.** They sort by time, so new rows of most indexes go to one end.
//! - **Rows are filed under the time at which somebody looks for the old ones.** The row number of `message`,
//!   `attempt`, `reservation`, `event_id`, `pair` and `trial` is made of a time ([`super::filing`]): retention reads a table from
//!   its start and needs no index of its own, and inserts are appends.
//! - **Work that is ready has no index at all.** It is read in the order of its numbers, which are given out in
//!   the order of commits; only what waits for a time is indexed by it. Being handed out is no write.
//! - **Whatever carries a payload is an ordinary rowid table**, the payload its last column: a look at the
//!   other columns then does not touch the pages it overflows to.
//! - **Records that people edit are JSON**, readable with the `sqlite3` shell; a field that a later release adds
//!   needs no migration. What is written per event is columns or MessagePack.

/// Format version 1.
pub(super) const VERSION_1: &str = "
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES ('version', 0), ('message_skew', 0), ('attempt_skew', 0);
CREATE TABLE room (filler BLOB NOT NULL);

CREATE TABLE application (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    org BLOB NOT NULL,
    uid TEXT,
    version INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE UNIQUE INDEX application_by_org ON application (org, id);
CREATE UNIQUE INDEX application_by_uid ON application (org, uid) WHERE uid IS NOT NULL;

CREATE TABLE endpoint (
    n INTEGER PRIMARY KEY,
    app BLOB NOT NULL,
    id BLOB NOT NULL,
    uid TEXT,
    created_version INTEGER NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (app, id)
);
CREATE UNIQUE INDEX endpoint_by_uid ON endpoint (app, uid) WHERE uid IS NOT NULL;

CREATE TABLE event_type (
    n INTEGER PRIMARY KEY,
    org BLOB NOT NULL,
    name TEXT NOT NULL,
    archived INTEGER NOT NULL,
    version INTEGER NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (org, name)
);

CREATE TABLE ready (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE waiting (seq INTEGER PRIMARY KEY, due INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE INDEX waiting_by_due ON waiting (due);
CREATE TABLE quarantine (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE taken (seq INTEGER PRIMARY KEY, times INTEGER NOT NULL);

CREATE TABLE message (
    n INTEGER PRIMARY KEY,
    app BLOB NOT NULL,
    id BLOB NOT NULL,
    event_id TEXT,
    event_type TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    payload_until INTEGER NOT NULL,
    details BLOB NOT NULL,
    payload BLOB,
    UNIQUE (app, id)
);
CREATE INDEX message_by_event_id ON message (app, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX message_by_payload_end ON message (payload_until) WHERE payload IS NOT NULL;

CREATE TABLE attempt (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    app BLOB NOT NULL,
    message BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    chain INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    trigger INTEGER NOT NULL,
    at INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    status_code INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    channels BLOB,
    url TEXT NOT NULL,
    response TEXT NOT NULL,
    UNIQUE (id, app)
);
CREATE INDEX attempt_by_message ON attempt (message, id);
CREATE INDEX attempt_by_endpoint ON attempt (endpoint, id);

CREATE TABLE destination (
    message BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    app BLOB NOT NULL,
    status INTEGER NOT NULL,
    next_attempt INTEGER,
    at INTEGER NOT NULL,
    PRIMARY KEY (message, endpoint, app)
) WITHOUT ROWID;

CREATE TABLE dead_letter (
    n INTEGER PRIMARY KEY,
    app BLOB NOT NULL,
    id BLOB NOT NULL,
    message BLOB,
    endpoint BLOB,
    chain INTEGER,
    reason TEXT NOT NULL,
    died_at INTEGER NOT NULL,
    cause TEXT,
    bytes BLOB NOT NULL,
    UNIQUE (app, id)
);
CREATE UNIQUE INDEX dead_letter_by_delivery ON dead_letter (message, endpoint, app)
    WHERE message IS NOT NULL;
CREATE INDEX dead_letter_by_death ON dead_letter (died_at);

CREATE TABLE reservation (
    n INTEGER PRIMARY KEY,
    place BLOB NOT NULL,
    name BLOB NOT NULL,
    message BLOB NOT NULL,
    body BLOB NOT NULL,
    event_id TEXT,
    lease_until INTEGER NOT NULL,
    until INTEGER NOT NULL,
    status INTEGER,
    answered_at INTEGER,
    answer BLOB,
    UNIQUE (name, place)
);
CREATE TABLE event_id (
    n INTEGER PRIMARY KEY,
    place BLOB NOT NULL,
    event_id TEXT NOT NULL,
    message BLOB NOT NULL,
    until INTEGER NOT NULL,
    UNIQUE (place, event_id)
);

CREATE TABLE pair (
    n INTEGER PRIMARY KEY,
    message BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    app BLOB NOT NULL,
    chain INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state INTEGER NOT NULL,
    leased_until INTEGER,
    until INTEGER NOT NULL,
    UNIQUE (message, endpoint, app)
);

CREATE TABLE breaker (
    endpoint BLOB PRIMARY KEY,
    state INTEGER NOT NULL,
    since INTEGER NOT NULL,
    open_until INTEGER NOT NULL,
    openings INTEGER NOT NULL,
    version INTEGER NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX breaker_by_end ON breaker (until);
";

/// What version 2 adds: trials of what may end the process, counted.
pub(super) const VERSION_2: &str = "
CREATE TABLE trial (
    n INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    begun INTEGER NOT NULL,
    until INTEGER NOT NULL
);
";

/// What version 3 adds: documents. Their place is the kind and the owner.
pub(super) const VERSION_3: &str = "
CREATE TABLE document (
    n INTEGER PRIMARY KEY,
    place BLOB NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    until INTEGER,
    body TEXT NOT NULL,
    UNIQUE (place, name)
);
CREATE INDEX document_by_end ON document (until) WHERE until IS NOT NULL;
";
