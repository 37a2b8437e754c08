//! A cluster with its indices and mappings.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::builder::Refresh;
use super::call_error::{CallError, ServerError};
use super::client::{Client, Effect, Request, parse};
use super::names;
use super::target::{Layout, Target};
use crate::remote::Deadline;
use crate::schema::table_of_another;
use crate::{Error, ErrorKind, Result, Schema};

/// The parts of an index description that are requested.
const DESCRIPTION: &str = "*.aliases,*.mappings,*.settings.index.number_of_*";

/// An opened cluster.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) timeout: Duration,
    pub(super) prefix: String,
    pub(super) refresh: Refresh,
    pub(super) shards: Option<u32>,
    pub(super) replicas: Option<u32>,
    /// The layouts that existed when the first scope was opened, by alias. Each is used for one
    /// opening only.
    pub(super) layouts: Mutex<Option<HashMap<String, Layout>>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("timeout", &self.timeout)
            .field("prefix", &self.prefix)
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

/// The index that a scope's name denotes.
pub(super) enum ExistingIndex {
    Missing,
    /// An index of hilcat, behind the alias of this name.
    Own(Box<OwnIndex>),
    Foreign(ForeignIndex),
}

/// An index of hilcat.
pub(super) struct OwnIndex {
    pub(super) index: String,
    pub(super) layout: Layout,
    /// The complete stored mapping.
    pub(super) mappings: Json,
    /// The settings in `index`.
    pub(super) settings: Json,
}

/// An index of another program.
pub(super) struct ForeignIndex {
    pub(super) index: String,
    pub(super) properties: Map<String, Json>,
    /// Whether the name is an alias of the index.
    pub(super) is_alias: bool,
}

/// The description of an index.
#[derive(Deserialize)]
pub(super) struct IndexDescription {
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, Json>,
    #[serde(default)]
    pub(super) mappings: Json,
    #[serde(default)]
    settings: Json,
}

impl IndexDescription {
    pub(super) fn is_own(&self) -> bool {
        self.mappings["_meta"]["hilcat"].is_object()
    }
}

impl Cluster {
    pub(super) fn deadline(&self) -> Instant {
        Deadline::of_call(self.timeout).instant()
    }

    /// Returns the timeout parameter of a request. It ends a little before the deadline, so that
    /// the server can still respond that nothing was changed.
    pub(super) fn timeout_parameter(&self, deadline: Instant) -> String {
        let left = deadline.saturating_duration_since(Instant::now()) * 9 / 10;
        format!("timeout={}ms", left.as_millis().max(1))
    }

    /// Checks that the cluster responds and accepts the login.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if it does not.
    pub(super) fn ping(&self) -> Result<()> {
        let request = Request::read("_cluster/health?local=true").about_indices();
        let response = self.client.send(request, self.deadline())?;
        match response.success() {
            Ok(_) => Ok(()),
            // The login is valid but lacks the permission for this request.
            Err(server_error) if server_error.status == 403 => Ok(()),
            Err(server_error) => Err(server_error.into_call_error().into_error()),
        }
    }

    /// Looks up the index that a name denotes.
    ///
    /// # Errors
    ///
    /// Fails if the cluster cannot be queried, or if the name denotes something that cannot be a
    /// scope.
    pub(super) fn lookup(
        &self,
        alias: &str,
        deadline: Instant,
    ) -> Result<ExistingIndex, CallError> {
        let path = format!("{}?filter_path={DESCRIPTION}", names::in_path(alias));
        let response = self.client.send(Request::read(path).about_indices(), deadline)?;
        let body = match response.success() {
            Err(server_error) if server_error.is_index_missing() => {
                return Ok(ExistingIndex::Missing);
            }
            Err(server_error) => return Err(server_error.into_call_error()),
            Ok(body) => body,
        };
        let mut indices: BTreeMap<String, IndexDescription> = parse(body)?;
        if indices.len() > 1 {
            return Err(of_several(alias, indices.keys()).into());
        }
        match indices.pop_first() {
            None => Ok(ExistingIndex::Missing),
            Some((index, described)) => found(alias, index, described),
        }
    }

    /// Returns the target of a scope from the cached layouts, if its index covers the schema. The
    /// layouts of all scopes are read together when the first scope is opened.
    ///
    /// # Errors
    ///
    /// Fails if the cluster does not respond.
    pub(super) fn cached_target(
        &self,
        schema: &Schema,
        deadline: Instant,
    ) -> Result<Option<(Target, Schema)>> {
        let alias = names::alias(&self.prefix, &schema.table)?;
        if self.layouts.lock().is_none() {
            let layouts = self.load_layouts(deadline)?;
            self.layouts.lock().get_or_insert(layouts);
        }
        let layout = self.forget(&alias);
        let Some(layout) = layout.filter(|layout| layout.schema.name == schema.name) else {
            return Ok(None);
        };
        let schema = schema.with_expiry_of(&layout.schema);
        if !layout.covers(&schema) {
            return Ok(None);
        }
        // An unreadable layout is reported by the lookup of this scope.
        let target = layout.target(&alias, &schema).ok();
        Ok(target.map(|target| (target, schema)))
    }

    /// Returns the stored schema of a scope in an index of hilcat.
    ///
    /// # Errors
    ///
    /// Fails if the cluster does not respond.
    pub(super) fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let layouts = self.load_layouts(self.deadline())?;
        let mut schemas = layouts.into_iter().map(|(alias, layout)| (alias, layout.schema));
        let is_it = |(alias, schema): &(String, Schema)| {
            schema.name == scope
                && names::alias(&self.prefix, &schema.table).is_ok_and(|own| own == *alias)
        };
        Ok(schemas.find(is_it).map(|(_, schema)| schema))
    }

    fn load_layouts(&self, deadline: Instant) -> Result<HashMap<String, Layout>> {
        let described = match self.describe_all("*.aliases,*.mappings._meta.hilcat", deadline) {
            // The login may have permission for single indices only.
            Err(error) if error.kind() == ErrorKind::Backend => return Ok(HashMap::new()),
            described => described?,
        };
        let mut layouts: HashMap<String, Option<Layout>> = HashMap::new();
        for described in described.into_values() {
            let layout = Layout::from_json(&described.mappings["_meta"]["hilcat"]).ok();
            for alias in described.aliases.into_keys() {
                // An alias of several indices is not a scope.
                let layout = layout.clone();
                layouts.entry(alias).and_modify(|known| *known = None).or_insert(layout);
            }
        }
        let unique = |(alias, layout): (String, Option<Layout>)| Some((alias, layout?));
        Ok(layouts.into_iter().filter_map(unique).collect())
    }

    /// Removes a scope from the cached layouts and returns its layout.
    pub(super) fn forget(&self, alias: &str) -> Option<Layout> {
        self.layouts.lock().as_mut()?.remove(alias)
    }

    /// Describes all indices whose names start with the prefix.
    ///
    /// # Errors
    ///
    /// Fails if the cluster cannot be queried.
    pub(super) fn describe_all(
        &self,
        what: &str,
        deadline: Instant,
    ) -> Result<BTreeMap<String, IndexDescription>> {
        let prefix = names::in_path(&self.prefix);
        let path = format!("{prefix}*?expand_wildcards=open&filter_path={what}");
        let response = self.client.send(Request::read(path).about_indices(), deadline)?;
        response.read().map_err(CallError::into_error)
    }

    /// Creates an index with the scope's alias. Returns `false` if it already exists.
    ///
    /// # Errors
    ///
    /// Fails if the cluster refuses the request.
    pub(super) fn create(
        &self,
        index: &str,
        body: &Json,
        deadline: Instant,
    ) -> Result<bool, CallError> {
        let path = format!("{}?{}", names::in_path(index), self.timeout_parameter(deadline));
        let request = Request::new(Method::Put, path, Effect::Once).about_indices();
        let response = self.client.send(request.body(body.to_string()), deadline)?;
        match response.success() {
            Ok(_) => Ok(true),
            Err(server_error) if already_exists(&server_error) => Ok(false),
            Err(server_error) => Err(server_error.into_call_error()),
        }
    }

    /// Returns the body of a request that creates an index.
    pub(super) fn body(&self, mappings: &Json, alias: Option<&str>) -> Json {
        let properties = mappings["properties"].as_object().map_or(0, Map::len);
        let mut settings = Map::new();
        if let Some(shards) = self.shards {
            settings.insert("number_of_shards".into(), shards.into());
        }
        if let Some(replicas) = self.replicas {
            settings.insert("number_of_replicas".into(), replicas.into());
        }
        // Each column can have two fields, and one more for each rename.
        if properties > 300 {
            settings.insert("mapping.total_fields.limit".into(), (properties * 4).into());
        }
        let mut body = json!({"settings": settings, "mappings": mappings});
        if let Some(alias) = alias {
            body["aliases"] = json!({alias: {}});
        }
        body
    }

    /// Replaces an index by a new one in one step, after `fill` has filled it. If the old index no
    /// longer exists, another client has already replaced it.
    ///
    /// # Errors
    ///
    /// Fails if the cluster refuses the request.
    pub(super) fn swap(
        &self,
        alias: &str,
        old: &str,
        body: &Json,
        deadline: Instant,
        fill: impl FnOnce(&str) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let new = names::index(alias, &random_suffix());
        self.create(&new, body, deadline)?;
        if let Err(failed) = fill(&new) {
            let _ = self.client.send(delete(&new), deadline);
            return Err(failed);
        }
        let actions = json!({"actions": [
            {"remove_index": {"index": old}},
            {"add": {"index": new, "alias": alias}},
        ]});
        let path = format!("_aliases?{}", self.timeout_parameter(deadline));
        let request = Request::new(Method::Post, path, Effect::Once).about_indices();
        let response = self.client.send(request.body(actions.to_string()), deadline)?;
        let Err(server_error) = response.success() else { return Ok(()) };
        // The new index is not used; leaving it behind loses no data.
        let _ = self.client.send(delete(&new), deadline);
        if server_error.is_index_missing() { Ok(()) } else { Err(server_error.into_call_error()) }
    }

    /// Changes the mapping of an index.
    ///
    /// # Errors
    ///
    /// Fails if the cluster refuses the request.
    pub(super) fn put_mapping(
        &self,
        index: &str,
        body: &Json,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let path =
            format!("{}/_mapping?{}", names::in_path(index), self.timeout_parameter(deadline));
        let request = Request::new(Method::Put, path, Effect::Repeatable).about_indices();
        let response = self.client.send(request.body(body.to_string()), deadline)?;
        response.success().map(drop).map_err(ServerError::into_call_error)
    }

    /// Refreshes the index, so that searches find all earlier writes.
    ///
    /// # Errors
    ///
    /// Fails if the cluster does not respond.
    pub(super) fn refresh_index(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let path = format!("{}/_refresh", target.path);
        let request = Request::new(Method::Post, path, Effect::Read);
        self.client
            .send(request, deadline)?
            .success()
            .map(drop)
            .map_err(ServerError::into_call_error)
    }
}

/// The error of a name that is an alias of several indices, in which a record has no unique place.
pub(super) fn of_several<'a>(
    alias: &str,
    indices: impl ExactSizeIterator<Item = &'a String>,
) -> Error {
    let (count, shown) = (indices.len(), 5);
    let names: Vec<String> = indices.take(shown).map(|index| format!("`{index}`")).collect();
    let more = if count > shown { format!(" and {} more", count - shown) } else { String::new() };
    Error::unsupported(format!(
        "`{alias}` is an alias of {count} indices, {}{more}, but a scope is a single index; point the alias to one index, or name the index as the table of the scope",
        names.join(", ")
    ))
}

fn delete(index: &str) -> Request {
    let path = names::in_path(index).to_string();
    Request::new(Method::Delete, path, Effect::Once).about_indices()
}

fn found(
    alias: &str,
    index: String,
    described: IndexDescription,
) -> Result<ExistingIndex, CallError> {
    if described.is_own() {
        let layout = Layout::from_json(&described.mappings["_meta"]["hilcat"])?;
        let IndexDescription { mappings, mut settings, .. } = described;
        let settings = settings["index"].take();
        return Ok(ExistingIndex::Own(Box::new(OwnIndex { index, layout, mappings, settings })));
    }
    let properties = described.mappings["properties"].as_object().cloned().unwrap_or_default();
    let is_alias = index != alias;
    Ok(ExistingIndex::Foreign(ForeignIndex { index, properties, is_alias }))
}

fn already_exists(server_error: &ServerError) -> bool {
    // The second type: another program has an index with the name of the alias.
    server_error.is("resource_already_exists_exception")
        || server_error.is("invalid_alias_name_exception")
}

/// Returns a suffix that no other index of a scope has.
fn random_suffix() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(Instant::now()))
}

/// Checks that an index belongs to the scope that is being opened.
pub(super) fn check_scope(own: &OwnIndex, schema: &Schema) -> Result<()> {
    match own.layout.schema.name == schema.name {
        true => Ok(()),
        false => Err(table_of_another(schema, &own.layout.schema.name)),
    }
}
