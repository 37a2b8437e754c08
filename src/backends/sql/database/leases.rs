//! The leases by which processes share computations, in a table of hilcat's own.
//!
//! A row is a lease: the holder of a scope's key, and the end of the lease by the server's clock. A
//! lease that has ended does not count.
//!
//! # Invariant
//!
//! A holder whose lease was revoked, or taken over after it ended, stores nothing. One statement
//! takes a lease: it inserts the row, or overwrites one that has ended. The holder stores its record
//! in the transaction that locks its row. A removal of the record deletes the row first, in one
//! transaction. So the two are serialized by the row's lock: either the removal comes first and the
//! holder finds no row, or the record is stored first and is then removed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use sha2::{Digest, Sha256};

use super::DatabaseInner;
use crate::backends::sql::dialect::{Dialect, LEASE_TABLE};
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backends::sql::statement::{Conn, Sql, execute, find};
use crate::codec::key::to_text;
use crate::{ColumnType, Key, Result, Value};

/// The maximum length of a stored text, in characters. A text that reaches it is stored as its
/// beginning followed by its SHA-256, which together have this length.
const WIDTH: usize = 255;

/// Leases that have ended are removed each time this many were acquired.
const SWEEP_INTERVAL: usize = 64;

const TEXT: ColumnType = ColumnType::Text;

/// The statements on leases. Unless noted otherwise their first binds are the scope and the key.
#[derive(Debug)]
pub(crate) struct LeaseTable {
    /// Fails if the table does not exist. Without binds.
    probe: Sql,
    /// Further binds: the holder and a duration in microseconds.
    acquire: Sql,
    /// The first bind is a duration in microseconds, the last one the holder.
    renew: Sql,
    /// Further bind: the holder. Also of the next two.
    holds: Sql,
    lock: Sql,
    release: Sql,
    revoke: Sql,
    /// The only bind is the scope.
    revoke_all: Sql,
    /// Without binds.
    sweep: Sql,
    exists: AtomicBool,
    acquired: AtomicUsize,
}

impl LeaseTable {
    pub(crate) fn new<D: Dialect>() -> Self {
        let [scope, key, holder, expires] =
            ["scope", "key", "holder", "expires_at"].map(|name| D::quote(name));
        let (table, now) = (D::quote(LEASE_TABLE), D::LEASE_NOW);
        let of_key = |sql: Sql| {
            sql.text(&format!("{scope} = ")).bind(TEXT).text(&format!(" AND {key} = ")).bind(TEXT)
        };
        let of_holder = |sql: Sql| of_key(sql).text(&format!(" AND {holder} = ")).bind(TEXT);
        let valid = format!(" AND {expires} > {now}");
        let select = || Sql::new(format!("SELECT 1 FROM {table} WHERE "));
        let delete = || Sql::new(format!("DELETE FROM {table} WHERE "));
        let insert =
            Sql::new(format!("INSERT INTO {table} ({scope}, {key}, {holder}, {expires}) VALUES ("))
                .list(", ", 0..3, |sql, _| sql.bind(TEXT))
                .text(", ");
        Self {
            probe: Sql::new(format!("SELECT 1 FROM {table} WHERE 1 = 0")),
            acquire: D::lease_after(insert).text(&format!(") {}", D::LEASE_TAKEN)),
            renew: of_holder(
                D::lease_after(Sql::new(format!("UPDATE {table} SET {expires} = ")))
                    .text(" WHERE "),
            )
            .text(&valid),
            holds: of_holder(select()),
            lock: of_holder(select()).text(&valid).text(D::LOCKING),
            release: of_holder(delete()),
            revoke: of_key(delete()),
            revoke_all: delete().text(&format!("{scope} = ")).bind(TEXT),
            sweep: delete().text(&format!("{expires} <= {now}")),
            exists: AtomicBool::new(false),
            acquired: AtomicUsize::new(0),
        }
    }
}

/// The scope and the key of a lease, as they are stored.
pub(crate) struct LeaseKey([Value; 2]);

impl LeaseKey {
    pub(crate) fn new(scope: &str, key: &Key) -> Self {
        Self([index_text(scope), index_text(&to_text(key))])
    }

    fn with_holder(&self, holder: &str) -> Vec<Value> {
        [&self.0[..], &[holder.into()]].concat()
    }
}

/// Returns a text as it is stored. One that is too long for an index is replaced by its beginning
/// and its digest.
fn index_text(text: &str) -> Value {
    let is_short = !text.contains('\0') && text.chars().nth(WIDTH - 1).is_none();
    if is_short {
        return text.into();
    }
    let digest: String =
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let head: String = text.chars().filter(|c| *c != '\0').take(WIDTH - digest.len()).collect();
    Value::Text(format!("{head:-<width$}{digest}", width = WIDTH - digest.len()))
}

impl<D: Dialect> DatabaseInner<D> {
    /// Creates the table of leases unless it exists.
    pub(crate) fn ensure_leases(&self) -> Result<()> {
        if self.leases.exists.load(Ordering::Relaxed) {
            return Ok(());
        }
        let exists = self.read(|connection| {
            match execute::<D>(connection, self.leases.probe.with(&[])).map_err(CallError::from) {
                Err(error) if error.class::<D>() == ErrorClass::NoTable => Ok(false),
                probed => probed.map(|_| true),
            }
        })?;
        if !exists {
            self.create_leases()?;
        }
        self.leases.exists.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Creates the table of leases unless another process has created it.
    pub(crate) fn create_leases(&self) -> Result<()> {
        self.write(|connection| {
            D::with_migration_lock(connection, |connection| {
                D::LEASE_TABLE.iter().try_for_each(|sql| Ok(connection.batch_execute(sql)?))
            })
        })
    }

    /// Acquires a lease, and returns whether it did.
    pub(crate) fn acquire_lease(
        &self,
        connection: &mut D::Connection,
        key: &LeaseKey,
        holder: &str,
        lease: Duration,
    ) -> Result<bool, CallError> {
        if self.leases.acquired.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_INTERVAL) {
            execute::<D>(connection, self.leases.sweep.with(&[]))?;
        }
        let values = [key.with_holder(holder), vec![micros(lease)]].concat();
        let changed = execute::<D>(connection, self.leases.acquire.with(&values))?;
        match D::LEASE_COUNT_IS_EXACT {
            true => Ok(changed > 0),
            false => {
                let holds = self.leases.holds.with(&values[..3]);
                Ok(find::<D>(connection, holds, &[])?.is_some())
            }
        }
    }

    /// Extends a lease, and returns whether the holder still had it.
    pub(crate) fn renew_lease(
        &self,
        connection: &mut D::Connection,
        key: &LeaseKey,
        holder: &str,
        lease: Duration,
    ) -> Result<bool, CallError> {
        let values = [vec![micros(lease)], key.with_holder(holder)].concat();
        Ok(execute::<D>(connection, self.leases.renew.with(&values))? > 0)
    }

    /// Returns whether a holder has a lease. Locks its row, so that the lease is neither taken over
    /// nor revoked until the transaction ends.
    pub(crate) fn lock_lease(
        &self,
        connection: &mut impl Conn<D>,
        key: &LeaseKey,
        holder: &str,
    ) -> Result<bool, CallError> {
        let values = key.with_holder(holder);
        Ok(find::<D>(connection, self.leases.lock.with(&values), &[])?.is_some())
    }

    /// Ends a lease of its holder.
    pub(crate) fn release_lease(
        &self,
        connection: &mut impl Conn<D>,
        key: &LeaseKey,
        holder: &str,
    ) -> Result<(), CallError> {
        execute::<D>(connection, self.leases.release.with(&key.with_holder(holder)))?;
        Ok(())
    }

    /// Revokes a lease, whatever its holder.
    pub(crate) fn revoke_lease(
        &self,
        connection: &mut impl Conn<D>,
        key: &LeaseKey,
    ) -> Result<(), CallError> {
        execute::<D>(connection, self.leases.revoke.with(&key.0))?;
        Ok(())
    }

    /// Revokes all leases of a scope.
    pub(crate) fn revoke_leases(
        &self,
        connection: &mut impl Conn<D>,
        scope: &str,
    ) -> Result<(), CallError> {
        execute::<D>(connection, self.leases.revoke_all.with(&[index_text(scope)]))?;
        Ok(())
    }
}

fn micros(lease: Duration) -> Value {
    Value::Int(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_distinct_from_each_other_and_from_short_ones() {
        let length = |text: &str| index_text(text).to_text().chars().count();
        assert_eq!(index_text("a/é"), "a/é".into());
        assert_eq!([254, 255, 300].map(|count| length(&"é".repeat(count))), [254, 255, 255]);
        assert_ne!(index_text(&"a".repeat(300)), index_text(&"a".repeat(301)));
        assert_eq!(length("a\0b"), 255);
    }
}
