//! A server with a schema for a single test, and plain SQL.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use hilcat::{Cache, Column, ColumnType, Schema};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A server, with a schema that no other test uses.
pub(crate) struct Server {
    pub(crate) engine: &'static str,
    /// The URI without the schema; it has at least one option.
    pub(crate) base: String,
    /// The URI for plain SQL: that of the server itself if `base` is that of a pooler.
    direct: String,
    pub(crate) schema: String,
}

impl Server {
    pub(crate) fn open(engine: &'static str) -> Result<Self, String> {
        let named =
            |variable: &str| std::env::var(variable).map_err(|_| format!("{variable} is not set"));
        let base = named(&format!("HILCAT_TEST_{}", engine.to_uppercase()))?;
        let direct = match engine.starts_with("pgbouncer") {
            true => named("HILCAT_TEST_PGBOUNCER_SERVER")?,
            false => base.clone(),
        };
        let random = RandomState::new().hash_one(std::process::id());
        let server = Self { engine, base, direct, schema: format!("Pg Test {random:016x}") };
        server.run(&format!("CREATE SCHEMA {}", server.quoted()));
        Ok(server)
    }

    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.schema)
    }

    /// Returns the URI of the schema.
    pub(crate) fn uri(&self) -> String {
        format!("{}&schema={}", self.base, self.schema.replace(' ', "%20"))
    }

    /// Returns the URI with more options.
    pub(crate) fn with(&self, options: &str) -> String {
        format!("{}&{options}", self.uri())
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::from_uri(&self.uri()).unwrap()
    }

    /// Returns the parts of the URI between `//` and `?`: login, address and database.
    pub(crate) fn parts(&self) -> (String, String, String) {
        let rest = self.base.split_once("://").unwrap().1.split('?').next().unwrap();
        let (login, rest) = rest.split_once('@').unwrap();
        let (place, database) = rest.split_once('/').unwrap();
        (login.to_owned(), place.to_owned(), database.to_owned())
    }

    /// Opens a client in the schema.
    pub(crate) fn sql(&self) -> Sql {
        let sql = Sql::connect(&self.direct);
        sql.run(&format!("SET search_path = {}", self.quoted()));
        sql
    }

    /// Runs statements in the schema.
    pub(crate) fn run(&self, sql: &str) {
        self.sql().run(sql);
    }

    /// Returns the first column of a query, NULL as `NULL`.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        self.sql().query(sql)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run(&format!("DROP SCHEMA {} CASCADE", self.quoted()));
        }
    }
}

/// A client for plain SQL.
pub(crate) struct Sql {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Sql {
    pub(crate) fn connect(uri: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = tokio_postgres::Config::from_str(uri).unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            client
        });
        Self { runtime, client }
    }

    pub(crate) fn run(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }

    /// Returns whether the server refuses the statements.
    pub(crate) fn fails(&self, sql: &str) -> bool {
        self.runtime.block_on(self.client.batch_execute(sql)).is_err()
    }

    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql)).unwrap();
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        });
        rows.collect()
    }
}

/// Runs `scripts/services`, which started the server.
pub(crate) fn services(command: &str, engine: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let output = Command::new(script).args([command, engine]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns a schema with a text key `id` and these columns.
pub(crate) fn scope(columns: impl IntoIterator<Item = Column>) -> Schema {
    columns.into_iter().fold(Schema::new("a").unique(text("id")), Schema::column)
}

pub(crate) fn text(name: &str) -> Column {
    Column::new(name, ColumnType::Text)
}

pub(crate) fn int(name: &str) -> Column {
    Column::new(name, ColumnType::Int)
}

pub(crate) fn null(column: Column) -> Column {
    column.nullable(true)
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Returns every column type, with a name.
pub(crate) fn types() -> Vec<(&'static str, ColumnType)> {
    use ColumnType as Ty;
    vec![
        ("bool", Ty::Bool),
        ("smallint", Ty::SmallInt),
        ("int", Ty::Int),
        ("bigint", Ty::BigInt),
        ("ubigint", Ty::UBigInt),
        ("real", Ty::Real),
        ("double", Ty::Double),
        ("decimal", Ty::Decimal { precision: 10, scale: 2 }),
        ("text", Ty::Text),
        ("varchar", Ty::Varchar(50)),
        ("bytes", Ty::Bytes),
        ("json", Ty::Json),
        ("date", Ty::Date),
        ("time", Ty::Time),
        ("timestamp", Ty::Timestamp),
        ("uuid", Ty::Uuid),
    ]
}
