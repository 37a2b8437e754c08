//! The prepared statements of a connection.

use std::any::TypeId;
use std::collections::{HashMap, VecDeque};

use diesel::QueryResult;
use diesel::mysql::{Mysql, MysqlQueryBuilder};
use diesel::query_builder::{QueryBuilder, QueryFragment, QueryId};

use super::client::Statement;

/// How many a connection keeps. A server has room for 16,382 of all its connections together.
const LIMIT: usize = 400;

/// What a statement is known by: its query's type where it has one, or else its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Type(TypeId),
    Text(String),
}

/// The prepared statements, those that were prepared first being closed first.
#[derive(Debug, Default)]
pub(super) struct Statements {
    kept: HashMap<Name, Statement, foldhash::fast::RandomState>,
    order: VecDeque<Name>,
}

/// A statement that has to be prepared.
pub(super) struct Unknown {
    name: Name,
    text: String,
}

impl Unknown {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Statements {
    /// The statement of a query.
    pub(super) fn find<T>(&self, query: &T) -> QueryResult<Result<Statement, Unknown>>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let ty = T::query_id().map(Name::Type);
        if let Some(statement) = ty.as_ref().and_then(|ty| self.kept.get(ty)) {
            return Ok(Ok(*statement));
        }
        let mut builder = MysqlQueryBuilder::new();
        query.to_sql(&mut builder, &Mysql)?;
        let text = builder.finish();
        let name = ty.unwrap_or_else(|| Name::Text(text.clone()));
        Ok(match self.kept.get(&name) {
            Some(statement) => Ok(*statement),
            None => Err(Unknown { name, text }),
        })
    }

    /// Keeps a statement, and gives the one that is to be closed for it.
    pub(super) fn keep(&mut self, unknown: Unknown, statement: Statement) -> Option<Statement> {
        self.order.push_back(unknown.name.clone());
        self.kept.insert(unknown.name, statement);
        let oldest = (self.order.len() > LIMIT).then(|| self.order.pop_front()).flatten()?;
        self.kept.remove(&oldest)
    }
}
