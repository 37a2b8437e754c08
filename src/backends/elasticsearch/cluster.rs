//! A cluster, and what stands in it: indices and their mappings.

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

/// What is asked of an index.
const LOOKED_AT: &str = "*.aliases,*.mappings,*.settings.index.number_of_*";

/// A cluster as it was opened.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) timeout: Duration,
    pub(super) prefix: String,
    pub(super) refresh: Refresh,
    pub(super) shards: Option<u32>,
    pub(super) replicas: Option<u32>,
    /// What stood when the first scope was opened, by alias: each is good for one opening.
    pub(super) known: Mutex<Option<HashMap<String, Layout>>>,
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

/// What is found under the name of a scope.
pub(super) enum ExistingIndex {
    Missing,
    /// An index of hilcat's own, behind the alias of that name.
    Own(Box<OwnIndex>),
    Foreign(ForeignIndex),
}

/// An index of hilcat's own.
pub(super) struct OwnIndex {
    pub(super) index: String,
    pub(super) layout: Layout,
    /// All of the mapping, as it stands.
    pub(super) mappings: Json,
    /// Its settings of `index`.
    pub(super) settings: Json,
}

/// An index of another program.
pub(super) struct ForeignIndex {
    pub(super) index: String,
    pub(super) properties: Map<String, Json>,
    /// Whether the name is one that the index was given beside its own.
    pub(super) is_alias: bool,
}

/// An index as the cluster describes it.
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

    /// How long a server may go on with a request: a little less than the caller does, so that it
    /// can say that nothing was done.
    pub(super) fn timeout_parameter(&self, deadline: Instant) -> String {
        let left = deadline.saturating_duration_since(Instant::now()) * 9 / 10;
        format!("timeout={}ms", left.as_millis().max(1))
    }

    /// Asks the cluster something that tells whether it is there and takes the login.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] where not.
    pub(super) fn ping(&self) -> Result<()> {
        let request = Request::read("_cluster/health?local=true").about_indices();
        let response = self.client.send(request, self.deadline())?;
        match response.success() {
            Ok(_) => Ok(()),
            // The login is right, but may not know such things.
            Err(server_error) if server_error.status == 403 => Ok(()),
            Err(server_error) => Err(server_error.into_call_error().into_error()),
        }
    }

    /// What is found under a name.
    ///
    /// # Errors
    ///
    /// Where the cluster cannot be asked, or there is something that is no scope.
    pub(super) fn lookup(
        &self,
        alias: &str,
        deadline: Instant,
    ) -> Result<ExistingIndex, CallError> {
        let path = format!("{}?filter_path={LOOKED_AT}", names::in_path(alias));
        let response = self.client.send(Request::read(path).about_indices(), deadline)?;
        let body = match response.success() {
            Err(server_error) if server_error.is_gone() => return Ok(ExistingIndex::Missing),
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

    /// The target of a scope, where it is known that its index is the very one that the schema
    /// needs: all that stand are asked for together when the first scope is opened.
    ///
    /// # Errors
    ///
    /// Where the cluster does not response.
    pub(super) fn known(
        &self,
        schema: &Schema,
        deadline: Instant,
    ) -> Result<Option<(Target, Schema)>> {
        let alias = names::alias(&self.prefix, &schema.table)?;
        if self.known.lock().is_none() {
            let layouts = self.layouts(deadline)?;
            self.known.lock().get_or_insert(layouts);
        }
        let layout = self.forget(&alias);
        let Some(layout) = layout.filter(|layout| layout.schema.name == schema.name) else {
            return Ok(None);
        };
        let schema = schema.with_expiry_of(&layout.schema);
        if !layout.covers(&schema) {
            return Ok(None);
        }
        // What cannot be read is told by one who looks at that scope alone.
        let target = layout.target(&alias, &schema).ok();
        Ok(target.map(|target| (target, schema)))
    }

    /// The schema of a scope in an index of hilcat's own.
    ///
    /// # Errors
    ///
    /// Where the cluster does not response.
    pub(super) fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let layouts = self.layouts(self.deadline())?;
        let mut schemas = layouts.into_iter().map(|(alias, layout)| (alias, layout.schema));
        let is_it = |(alias, schema): &(String, Schema)| {
            schema.name == scope
                && names::alias(&self.prefix, &schema.table).is_ok_and(|own| own == *alias)
        };
        Ok(schemas.find(is_it).map(|(_, schema)| schema))
    }

    fn layouts(&self, deadline: Instant) -> Result<HashMap<String, Layout>> {
        let described = match self.described("*.aliases,*.mappings._meta.hilcat", deadline) {
            // A login may know of single indices alone.
            Err(error) if error.kind() == ErrorKind::Backend => return Ok(HashMap::new()),
            described => described?,
        };
        let mut layouts: HashMap<String, Option<Layout>> = HashMap::new();
        for described in described.into_values() {
            let layout = Layout::from_json(&described.mappings["_meta"]["hilcat"]).ok();
            for alias in described.aliases.into_keys() {
                // Of one that is of several indices, whosever they are, it is not known.
                let layout = layout.clone();
                layouts.entry(alias).and_modify(|known| *known = None).or_insert(layout);
            }
        }
        let known = |(alias, layout): (String, Option<Layout>)| Some((alias, layout?));
        Ok(layouts.into_iter().filter_map(known).collect())
    }

    /// Gives what is known of a scope, and has it looked at anew the next time.
    pub(super) fn forget(&self, alias: &str) -> Option<Layout> {
        self.known.lock().as_mut()?.remove(alias)
    }

    /// All indices whose names begin with the prefix.
    ///
    /// # Errors
    ///
    /// Where the cluster cannot be asked.
    pub(super) fn described(
        &self,
        what: &str,
        deadline: Instant,
    ) -> Result<BTreeMap<String, IndexDescription>> {
        let prefix = names::in_path(&self.prefix);
        let path = format!("{prefix}*?expand_wildcards=open&filter_path={what}");
        let response = self.client.send(Request::read(path).about_indices(), deadline)?;
        response.read().map_err(CallError::into_error)
    }

    /// Makes an index with the scope's alias. Gives false where there is one of that name.
    ///
    /// # Errors
    ///
    /// Where the cluster refuses it.
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

    /// What an index is made of.
    pub(super) fn body(&self, mappings: &Json, alias: Option<&str>) -> Json {
        let properties = mappings["properties"].as_object().map_or(0, Map::len);
        let mut settings = Map::new();
        if let Some(shards) = self.shards {
            settings.insert("number_of_shards".into(), shards.into());
        }
        if let Some(replicas) = self.replicas {
            settings.insert("number_of_replicas".into(), replicas.into());
        }
        // Each column can have two fields, and another one when it is renamed.
        if properties > 300 {
            settings.insert("mapping.total_fields.limit".into(), (properties * 4).into());
        }
        let mut body = json!({"settings": settings, "mappings": mappings});
        if let Some(alias) = alias {
            body["aliases"] = json!({alias: {}});
        }
        body
    }

    /// Puts a new index in the place of the one that stands, in one step, once `fill` is done with
    /// it. Where the old one is gone meanwhile, somebody else did the same.
    ///
    /// # Errors
    ///
    /// Where the cluster refuses it.
    pub(super) fn swap(
        &self,
        alias: &str,
        old: &str,
        body: &Json,
        deadline: Instant,
        fill: impl FnOnce(&str) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let new = names::index(alias, &random());
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
        // The new one is of no use, and nothing is lost where it stays.
        let _ = self.client.send(delete(&new), deadline);
        if server_error.is_gone() { Ok(()) } else { Err(server_error.into_call_error()) }
    }

    /// Changes the mapping of an index.
    ///
    /// # Errors
    ///
    /// Where the cluster refuses it.
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

    /// Has the index show everything that was written before.
    ///
    /// # Errors
    ///
    /// Where the cluster cannot be asked.
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

/// The error of a scope whose name is an alias of several indices: no record has one place in them.
pub(super) fn of_several<'a>(
    alias: &str,
    indices: impl ExactSizeIterator<Item = &'a String>,
) -> Error {
    let (count, shown) = (indices.len(), 5);
    let names: Vec<String> = indices.take(shown).map(|index| format!("`{index}`")).collect();
    let more = if count > shown { format!(" and {} more", count - shown) } else { String::new() };
    Error::unsupported(format!(
        "`{alias}` is an alias of {count} indices, {}{more}; a scope is one index: have the alias name one, or name the index as the table of the scope",
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
    // The latter where another program has an index of the alias's name.
    server_error.is("resource_already_exists_exception")
        || server_error.is("invalid_alias_name_exception")
}

/// What no other index of a scope has in its name.
fn random() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(Instant::now()))
}

/// Checks that the index is of the scope that it is opened as.
pub(super) fn check_scope(own: &OwnIndex, schema: &Schema) -> Result<()> {
    match own.layout.schema.name == schema.name {
        true => Ok(()),
        false => Err(table_of_another(schema, &own.layout.schema.name)),
    }
}
