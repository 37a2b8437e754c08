//! The cache of a connection's prepared statements.

use std::any::TypeId;
use std::collections::{HashMap, VecDeque};

use diesel::QueryResult;
use diesel::mysql::{Mysql, MysqlQueryBuilder};
use diesel::query_builder::{QueryBuilder, QueryFragment, QueryId};

use super::client::Statement;

/// The capacity of the cache. A server's default limit is 16,382 statements for all connections
/// together.
const CAPACITY: usize = 400;

/// The key of a statement: its query's type if it has one, otherwise its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum StatementKey {
    Type(TypeId),
    Text(String),
}

/// The prepared statements. The one that was prepared first is evicted first.
#[derive(Debug, Default)]
pub(super) struct StatementCache {
    statements: HashMap<StatementKey, Statement, foldhash::fast::RandomState>,
    order: VecDeque<StatementKey>,
}

/// A statement that is not in the cache.
pub(super) struct Missing {
    key: StatementKey,
    text: String,
}

impl Missing {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl StatementCache {
    /// Finds the statement of a query.
    pub(super) fn find<T>(&self, query: &T) -> QueryResult<Result<Statement, Missing>>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let ty = T::query_id().map(StatementKey::Type);
        if let Some(statement) = ty.as_ref().and_then(|ty| self.statements.get(ty)) {
            return Ok(Ok(*statement));
        }
        let mut builder = MysqlQueryBuilder::new();
        query.to_sql(&mut builder, &Mysql)?;
        let text = builder.finish();
        let key = ty.unwrap_or_else(|| StatementKey::Text(text.clone()));
        Ok(match self.statements.get(&key) {
            Some(statement) => Ok(*statement),
            None => Err(Missing { key, text }),
        })
    }

    /// Inserts a statement, and returns the evicted one, which has to be closed.
    pub(super) fn insert(&mut self, missing: Missing, statement: Statement) -> Option<Statement> {
        self.order.push_back(missing.key.clone());
        self.statements.insert(missing.key, statement);
        let oldest = (self.order.len() > CAPACITY).then(|| self.order.pop_front()).flatten()?;
        self.statements.remove(&oldest)
    }
}
