//! Elasticsearch: one index for each scope, one document for each record.

mod adopt;
mod batch;
mod batch_report;
mod builder;
mod bulk;
mod call_error;
mod client;
mod cluster;
mod cluster_uri;
mod document;
mod expiry;
mod id;
mod leases;
mod listing;
mod mapping;
mod migrate;
mod multi_get;
mod names;
mod runtime;
mod scope;
mod single;
mod target;
mod transport;

use std::fmt;
use std::sync::Arc;

pub use self::builder::{ElasticsearchBuilder, Refresh};
use self::cluster::Cluster;
use self::scope::Scope;
use crate::outage::Unconnected;
use crate::remote::ServerOptions;
use crate::schema::Apply;
use crate::store::{Adopted, Capabilities, ExpirySupport, Options, ScopeStore, Store, Uri};
use crate::{Plan, Result, Schema};

/// Stores records in an Elasticsearch cluster, with one index for each scope, whose mapping is made
/// from the schema, and one document for each record.
///
/// The alias of an index is the name of the scope's table; characters that are not allowed in index
/// names are escaped. Searches by other programs find typed fields, while records are read back
/// from the source of the documents. A record can be read by its key as soon as it is written.
///
/// Every call ends by its deadline and can be made from any thread, even inside an asynchronous
/// runtime: the client runs on its own thread. There are no transactions: if a batch fails in the
/// cluster, a part of it may be written, which the error reports.
///
/// ```no_run
/// use hilcat::Cache;
/// use hilcat::backend::Elasticsearch;
///
/// let store = Elasticsearch::builder("es1.example.com")
///     .host("es2.example.com")
///     .https(true)
///     .user("app")
///     .password("p@ss/w:ord")
///     .prefix("app-")
///     .open()?;
/// let cache = Cache::from_store(store);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Clone)]
pub struct Elasticsearch(Arc<Cluster>);

impl Elasticsearch {
    /// Returns a builder for a cluster with one of its nodes, as `name`, `name:port` or
    /// `[address]:port`; the default port is 9200.
    pub fn builder(host: impl Into<String>) -> ElasticsearchBuilder {
        ElasticsearchBuilder::new().host(host)
    }
}

impl fmt::Debug for Elasticsearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Elasticsearch").field(&self.0).finish()
    }
}

/// Opens `es:` and `es+https:` URIs.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<Unconnected> {
    let builder = ElasticsearchBuilder::from_uri(&mut uri, options)?;
    let options = builder.options();
    uri.finish(&[&builder::OPTIONS[..], &ServerOptions::NAMES].concat())?;
    // Errors of the URI itself are reported without contacting the cluster.
    let unconnected = builder.clone().open_unconnected()?;
    Ok(Unconnected {
        name: unconnected.name(),
        capabilities: unconnected.capabilities(),
        options,
        connect: Box::new(move || Ok(Arc::new(builder.clone().open()?))),
    })
}

impl Store for Elasticsearch {
    fn name(&self) -> &'static str {
        "elasticsearch"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            persistent: true,
            tables: true,
            expiry: ExpirySupport::Full,
            shared_single_flight: true,
            ..Capabilities::new()
        }
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let deadline = self.0.deadline();
        let (target, schema) = match self.0.cached_target(schema, deadline)? {
            Some(known) => known,
            None => {
                let (target, schema, _) = self.0.ensure(schema, Apply::OnOpen, deadline)?;
                (target, schema)
            }
        };
        Ok(Arc::new(Scope::new(self.0.clone(), Arc::new(schema), target)))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let target = self.0.readable(schema, self.0.deadline())?;
        let scope = |(target, schema)| -> Arc<dyn ScopeStore> {
            Arc::new(Scope::read_only(self.0.clone(), Arc::new(schema), target))
        };
        Ok(target.map(scope))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.0.plan(schema)
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        let (_, _, plan) = self.0.ensure(schema, Apply::OnDemand, self.0.deadline())?;
        Ok(plan)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.0.scopes()
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.0.stored_schema(scope)
    }

    fn ping(&self) -> Result<()> {
        self.0.ping()
    }

    fn adopt(&self) -> Result<Adopted> {
        self.0.adopt()
    }
}
