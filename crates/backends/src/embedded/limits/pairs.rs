//! Pair records: the decisions of [`postrider_core::pair`], applied within the writer's transaction.

use postrider_core::pair::{self, ChainId, PairKey, PairRecord, PairState, Verdict};
use postrider_core::ports::{Claim, Settlement};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, params};

use crate::embedded::columns::{Result, optional_time, parsed, time};
use crate::embedded::filing;

/// A record, its row, and until when it is kept.
#[derive(Debug, Clone, Copy)]
struct Row {
    n: i64,
    until: Timestamp,
    record: PairRecord,
}

fn find(connection: &Connection, key: &PairKey) -> Result<Option<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT n, until, chain, attempt, state, leased_until FROM pair \
         WHERE message = ?1 AND endpoint = ?2 AND app = ?3",
    )?;
    let mut rows = statement.query((
        key.message.as_bytes(),
        key.endpoint.as_bytes(),
        key.app.as_bytes(),
    ))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let state = PairState::from_u8(row.get(4)?);
    Ok(Some(Row {
        n: row.get(0)?,
        until: time(row, 1)?,
        record: PairRecord {
            chain: ChainId(row.get::<_, i64>(2)?.cast_unsigned()),
            attempt: row.get(3)?,
            state: parsed("a pair's state", state.ok_or("not a known one"))?,
            leased_until: optional_time(row, 5)?,
        },
    }))
}

impl Row {
    /// What counts: a record that has expired is none.
    fn live(row: Option<&Self>, now: Timestamp) -> Option<&PairRecord> {
        row.filter(|row| row.until > now).map(|row| &row.record)
    }
}

pub(super) fn pair(
    connection: &Connection,
    now: Timestamp,
    key: &PairKey,
) -> Result<Option<PairRecord>> {
    let row = find(connection, key)?;
    Ok(Row::live(row.as_ref(), now).copied())
}

/// Stores `record` in the place of `row`, or keeps the one that stands, for as long as was asked at most.
fn store(
    connection: &Connection,
    key: &PairKey,
    row: Option<&Row>,
    record: Option<PairRecord>,
    keep_until: Timestamp,
) -> Result<()> {
    match (row, record) {
        (Some(row), Some(record)) => update(connection, row, &record, keep_until.max(row.until)),
        (Some(row), None) if keep_until > row.until => {
            update(connection, row, &row.record, keep_until)
        }
        (None, Some(record)) => insert(connection, key, &record, keep_until),
        _ => Ok(()),
    }
}

fn update(connection: &Connection, row: &Row, record: &PairRecord, until: Timestamp) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE pair SET chain = ?2, attempt = ?3, state = ?4, leased_until = ?5, until = ?6 WHERE n = ?1",
        )?
        .execute(params![
            row.n,
            record.chain.0.cast_signed(),
            record.attempt,
            record.state as u8,
            record.leased_until.map(Timestamp::as_millis),
            until.as_millis()
        ])?;
    Ok(())
}

fn insert(
    connection: &Connection,
    key: &PairKey,
    record: &PairRecord,
    until: Timestamp,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO pair (n, message, endpoint, app, chain, attempt, state, leased_until, until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            filing::next(connection, "pair", until)?,
            key.message.as_bytes(),
            key.endpoint.as_bytes(),
            key.app.as_bytes(),
            record.chain.0.cast_signed(),
            record.attempt,
            record.state as u8,
            record.leased_until.map(Timestamp::as_millis),
            until.as_millis()
        ])?;
    Ok(())
}

pub(super) fn claim(connection: &Connection, now: Timestamp, claim: &Claim) -> Result<Verdict> {
    let row = find(connection, &claim.pair)?;
    let live = Row::live(row.as_ref(), now);
    let (verdict, record) = pair::claim(live, claim.chain, claim.attempt, now, claim.lease_until);
    store(
        connection,
        &claim.pair,
        row.as_ref(),
        record,
        claim.keep_until,
    )?;
    Ok(verdict)
}

pub(super) fn settle(
    connection: &Connection,
    now: Timestamp,
    settlement: &Settlement,
) -> Result<()> {
    let row = find(connection, &settlement.pair)?;
    let live = Row::live(row.as_ref(), now);
    let record = pair::settle(
        live,
        settlement.chain,
        settlement.attempt,
        settlement.outcome,
    );
    store(
        connection,
        &settlement.pair,
        row.as_ref(),
        record,
        settlement.keep_until,
    )
}

pub(super) fn open_chain(
    connection: &Connection,
    now: Timestamp,
    key: &PairKey,
    chain: ChainId,
    keep_until: Timestamp,
) -> Result<()> {
    let row = find(connection, key)?;
    let current = Row::live(row.as_ref(), now).is_some_and(|record| record.chain == chain);
    let opened = PairRecord {
        chain,
        attempt: 1,
        state: PairState::Waiting,
        leased_until: None,
    };
    store(
        connection,
        key,
        row.as_ref(),
        (!current).then_some(opened),
        keep_until,
    )
}
