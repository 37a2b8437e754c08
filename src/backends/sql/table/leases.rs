//! The leases by which processes share computations, in a table of hilcat's own.
//!
//! A row is a lease: which holder has the key of a scope, and until when by the server's clock. It
//! counts only if it is not over. A lease is taken in one statement, which overwrites one that is
//! over. A holder stores its record in the transaction that has locked its row, and a removal
//! deletes the row before the record, in one transaction: so either the removal comes first and the
//! holder finds no row, or the record does and is removed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use sha2::{Digest, Sha256};

use crate::backends::sql::database::Inner;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backends::sql::statement::{Conn, Sql, execute, find};
use crate::codec::key::to_text;
use crate::{ColumnType, Key, Result, Value};

/// The table's name.
pub(crate) const TABLE: &str = "hilcat_leases";

/// The length in characters from which on a name or key is stored as its beginning and its SHA-256,
/// which together have that length.
const WIDTH: usize = 255;

/// After how many leases that were taken those that are over are removed.
const SWEEP: usize = 64;

const TEXT: ColumnType = ColumnType::Text;

/// The statements on leases. Their first binds are the scope and the key.
#[derive(Debug)]
pub(crate) struct LeaseTable {
    look: Sql,
    /// And the holder and a time in microseconds.
    acquire: Sql,
    /// A time in microseconds comes first, and the holder last.
    renew: Sql,
    /// And the holder, as in the two that follow.
    holds: Sql,
    lock: Sql,
    release: Sql,
    revoke: Sql,
    /// The scope alone.
    revoke_all: Sql,
    sweep: Sql,
    exists: AtomicBool,
    taken: AtomicUsize,
}

impl LeaseTable {
    pub(crate) fn new<D: Dialect>() -> Self {
        let [scope, key, holder, expires] =
            ["scope", "key", "holder", "expires_at"].map(|name| D::quote(name));
        let (table, now) = (D::quote(TABLE), D::LEASE_NOW);
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
            look: Sql::new(format!("SELECT 1 FROM {table} WHERE 1 = 0")),
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
            taken: AtomicUsize::new(0),
        }
    }
}

/// What a lease is of: the texts of a scope and of a key.
pub(crate) struct Leased([Value; 2]);

impl Leased {
    pub(crate) fn new(scope: &str, key: &Key) -> Self {
        Self([short(scope), short(&to_text(key))])
    }

    fn with_holder(&self, holder: &str) -> Vec<Value> {
        [&self.0[..], &[holder.into()]].concat()
    }
}

/// A text as it is stored: one that is too long for an index by its beginning and its digest.
fn short(text: &str) -> Value {
    let is_short = !text.contains('\0') && text.chars().nth(WIDTH - 1).is_none();
    if is_short {
        return text.into();
    }
    let digest: String =
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let head: String = text.chars().filter(|c| *c != '\0').take(WIDTH - digest.len()).collect();
    Value::Text(format!("{head:-<width$}{digest}", width = WIDTH - digest.len()))
}

impl<D: Dialect> Inner<D> {
    /// Makes the table of leases unless it exists.
    pub(crate) fn ensure_leases(&self) -> Result<()> {
        if self.leases.exists.load(Ordering::Relaxed) {
            return Ok(());
        }
        let looked = self.read(|connection| {
            match execute::<D>(connection, self.leases.look.with(&[])).map_err(CallError::from) {
                Err(failed) if failed.class::<D>() == ErrorClass::NoTable => Ok(false),
                looked => looked.map(|_| true),
            }
        })?;
        if !looked {
            self.make_leases()?;
        }
        self.leases.exists.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the table of leases unless another process has made it meanwhile.
    pub(crate) fn make_leases(&self) -> Result<()> {
        self.write(|connection| {
            D::with_migration_lock(connection, |connection| {
                D::LEASE_TABLE.iter().try_for_each(|sql| Ok(connection.batch_execute(sql)?))
            })
        })
    }

    /// Takes a lease.
    pub(crate) fn acquire_lease(
        &self,
        connection: &mut D::Connection,
        of: &Leased,
        holder: &str,
        lease: Duration,
    ) -> Result<bool, CallError> {
        if self.leases.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP) {
            execute::<D>(connection, self.leases.sweep.with(&[]))?;
        }
        let values = [of.with_holder(holder), vec![micros(lease)]].concat();
        let changed = execute::<D>(connection, self.leases.acquire.with(&values))?;
        match D::LEASE_COUNT_TELLS {
            true => Ok(changed > 0),
            false => {
                let holds = self.leases.holds.with(&values[..3]);
                Ok(find::<D>(connection, holds, &[])?.is_some())
            }
        }
    }

    pub(crate) fn renew_lease(
        &self,
        connection: &mut D::Connection,
        of: &Leased,
        holder: &str,
        lease: Duration,
    ) -> Result<bool, CallError> {
        let values = [vec![micros(lease)], of.with_holder(holder)].concat();
        Ok(execute::<D>(connection, self.leases.renew.with(&values))? > 0)
    }

    /// Whether a holder has a lease. Its row is locked, so that it is neither taken nor revoked until
    /// the transaction ends.
    pub(crate) fn lock_lease(
        &self,
        connection: &mut impl Conn<D>,
        of: &Leased,
        holder: &str,
    ) -> Result<bool, CallError> {
        let values = of.with_holder(holder);
        Ok(find::<D>(connection, self.leases.lock.with(&values), &[])?.is_some())
    }

    pub(crate) fn release_lease(
        &self,
        connection: &mut impl Conn<D>,
        of: &Leased,
        holder: &str,
    ) -> Result<(), CallError> {
        execute::<D>(connection, self.leases.release.with(&of.with_holder(holder)))?;
        Ok(())
    }

    /// Takes a lease from its holder.
    pub(crate) fn revoke_lease(
        &self,
        connection: &mut impl Conn<D>,
        of: &Leased,
    ) -> Result<(), CallError> {
        execute::<D>(connection, self.leases.revoke.with(&of.0))?;
        Ok(())
    }

    /// Takes all leases of a scope from their holders.
    pub(crate) fn revoke_leases(
        &self,
        connection: &mut impl Conn<D>,
        scope: &str,
    ) -> Result<(), CallError> {
        execute::<D>(connection, self.leases.revoke_all.with(&[short(scope)]))?;
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
    fn long_texts_are_told_apart_and_are_no_short_ones() {
        let length = |text: &str| short(text).to_text().chars().count();
        assert_eq!(short("a/é"), "a/é".into());
        assert_eq!([254, 255, 300].map(|count| length(&"é".repeat(count))), [254, 255, 255]);
        assert_ne!(short(&"a".repeat(300)), short(&"a".repeat(301)));
        assert_eq!(length("a\0b"), 255);
    }
}
