//! A database as the store of its tables, one for each scope.

use std::any::Any;
use std::sync::Arc;

use super::Table;
use crate::backends::sql::database::Database;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::migration;
use crate::schema::{ExistingTable, Migrate, Plan};
use crate::store::{ABSENT, Adopted, Capabilities, ExpirySupport, Projected, ScopeStore, Store};
use crate::{Column, Error, Result, Schema};

impl<D: Dialect> Store for Database<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let (schema, properties) = self.inner.ensure(schema)?;
        if schema.freshness.lease().is_some() {
            self.inner.ensure_leases()?;
        }
        Ok(Arc::new(Table::new(self.inner.clone(), &schema, &properties)))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let Some((readable, properties)) = self.inner.readable(schema)? else { return Ok(None) };
        let stored = Arc::new(readable.stored);
        let table = Table::read_only(self.inner.clone(), &stored, 0, &properties);
        Ok(Some(Projected::wrap(&Arc::new(readable.schema), Arc::new(table))))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.inner.plan(schema)
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.inner.migrate(schema).map(|migrated| migrated.plan)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let registry = &self.inner.registry;
        let entries = self.inner.read(|connection| registry.load::<D>(connection))?;
        Ok(entries.into_keys().collect())
    }

    fn adopt(&self) -> Result<Adopted> {
        self.inner.read(|connection| {
            let entries = self.inner.registry.load::<D>(connection)?;
            let own = entries.iter().filter_map(|(scope, entry)| entry.record_schema(scope));
            let mut adopted = Adopted { schemas: own.collect(), skipped_tables: Vec::new() };
            for table in D::tables(connection)? {
                let is_own = adopted.schemas.iter().any(|schema| schema.table == table);
                if is_own || migration::RESERVED.contains(&table.as_str()) {
                    continue;
                }
                let existing = D::table(connection, &table);
                match existing.and_then(|existing| adopt::<D>(&table, existing)) {
                    Ok(schema) => adopted.schemas.push(schema),
                    Err(error) => adopted.skipped_tables.push((table, error.to_string())),
                }
            }
            adopted.schemas.retain(|schema| !schema.name.starts_with(ABSENT));
            Ok(adopted)
        })
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let registry = &self.inner.registry;
        self.inner.read(|connection| registry.stored_schema::<D>(connection, scope))
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let by_column = schema.freshness.expires_at.is_some();
        match by_column || self.inner.can_store_expiry(schema)? {
            true => Ok(ExpirySupport::Full),
            false => Ok(ExpirySupport::Unsupported),
        }
    }

    fn database(&self) -> Option<&dyn Any> {
        Some(&*self.inner)
    }
}

/// Returns the schema of a table that another program created. Its policy is
/// [`Migrate::Manual`], so that the table is changed only on demand.
fn adopt<D: Dialect>(table: &str, existing: Option<ExistingTable>) -> Result<Schema> {
    let existing =
        existing.ok_or_else(|| Error::unsupported("another program dropped it meanwhile"))?;
    if existing.key.is_empty() {
        return Err(Error::unsupported("it has no primary key"));
    }
    let mut schema = Schema::new(table).migrate(Migrate::Manual);
    for column in &existing.columns {
        let ty = column.ty.ok_or_else(|| {
            Error::unsupported(format!(
                "its column `{}` is of the unknown type `{}`",
                column.name, column.declared
            ))
        })?;
        schema = schema.column(Column::new(&column.name, D::adopted(ty)).nullable(column.nullable));
    }
    let position = |name: &String| schema.position(name);
    schema.key = existing.key.iter().map(position).collect::<Result<_>>()?;
    schema.validate()?;
    Ok(match schema.has_own_expiry_column() {
        // The column is hilcat's, not one of the record.
        true => schema.without_expiry_column(),
        false => schema,
    })
}
