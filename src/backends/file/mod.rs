//! Files: one for each record.

mod builder;
mod conditional;
mod dir;
mod expiry_index;
mod format;
mod journal;
mod lease;
mod lock;
mod name;
mod purge;
mod schema_file;
mod scope;
mod walk;
mod write;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::builder::FilesBuilder;
use self::builder::Kind;
use self::dir::{Dir, entry, failed};
use self::format::{Content, Format};
use self::journal::Directories;
use self::lock::Lock;
use self::name::{Names, directory_of};
use self::schema_file::read_schema;
use self::scope::FileScope;
use self::walk::LOST_AND_FOUND;
use crate::clock::SharedClock;
use crate::schema::{Apply, check_readable, plan, table_of_another};
use crate::store::{Capabilities, ExpirySupport, Options, ScopeStore, Store, Uri};
use crate::{Error, ErrorKind, Plan, Result, Schema};

/// The directory for hilcat's own files. No scope's directory has this name.
const OWN: &str = ".hilcat";

/// Stores each record in its own file, `<directory>/<scope>/<key><suffix>`.
///
/// A key becomes the path of its file: slashes separate directories, and characters that are not
/// readable on every file system are escaped. Files are written atomically and are on the disk when
/// a write is acknowledged. A batch is written completely or not at all: after a crash, the next
/// process that opens the directory completes it. Writers of all processes wait for one another,
/// scope by scope; readers do not wait. hilcat's own files are in `<directory>/.hilcat`, and
/// symbolic links are not followed.
///
/// ```
/// use hilcat::{Cache, backend::Files};
///
/// # let directory = tempfile::tempdir().unwrap();
/// let pages = Cache::from_store(Files::text(directory.path()).suffix(".html").open()?);
/// let pages = pages.map::<String, String>("pages")?;
/// pages.set("rust/index", &"<h1>Rust</h1>".to_owned())?;
/// let file = directory.path().join("pages/rust/index.html");
/// assert_eq!(std::fs::read_to_string(file).unwrap(), "<h1>Rust</h1>");
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    names: Names,
    content: Content,
    durable: bool,
    timeout: Duration,
    clock: SharedClock,
    /// Whether the root must exist, since it is opened read-only.
    must_exist: bool,
}

impl Files {
    /// Returns a builder for records as JSON.
    pub fn json(directory: impl AsRef<Path>) -> FilesBuilder {
        FilesBuilder::new(directory.as_ref().to_owned(), Kind::Records)
    }

    /// Returns a builder for text files. Scopes have one text column besides their unique ones, and
    /// the file is that text, byte for byte.
    pub fn text(directory: impl AsRef<Path>) -> FilesBuilder {
        FilesBuilder::new(directory.as_ref().to_owned(), Kind::Text)
    }

    /// Returns a builder for binary files. Scopes have one column of bytes besides their unique
    /// ones.
    pub fn binary(directory: impl AsRef<Path>) -> FilesBuilder {
        FilesBuilder::new(directory.as_ref().to_owned(), Kind::Binary)
    }

    /// Returns the name of a scope's directory.
    ///
    /// # Errors
    ///
    /// Fails if the layout requires the name of the scope, and it cannot be the name of a
    /// directory.
    fn directory_name(&self, schema: &Schema) -> Result<String> {
        let table = &schema.table;
        if !self.names.plain {
            return Ok(directory_of(table));
        }
        match table.starts_with('.') || table.contains(['/', '\0']) || table.len() > 255 {
            false => Ok(table.clone()),
            true => Err(Error::unsupported(
                "with `layout=plain` the name of a scope is the name of its directory; use a name of at most 255 bytes without slashes that does not start with a dot",
            )),
        }
    }

    fn directories(&self, schema: &Schema) -> Result<Directories> {
        let name = self.directory_name(schema)?;
        let durable = self.durable;
        let root = Dir::make_root(&self.root)?;
        let own = root.make(OWN, durable)?.make(&directory_of(&schema.table), durable)?;
        Ok(Directories {
            records: root.make(&name, durable)?,
            temporary: own.make("temporary", durable)?,
            keys: own.make("keys", durable)?,
            own,
            names: self.names.clone(),
            durable,
        })
    }

    /// Migrates a scope to a schema. Returns the scope and the applied plan.
    fn scope(&self, schema: &Arc<Schema>, when: Apply) -> Result<(FileScope, Plan)> {
        // Reports unsupported schemas before anything is created.
        Format::new(schema, self.content)?;
        let at = self.directories(schema)?;
        let lock =
            Lock::new(at.own.open_lock("lock")?, self.timeout, scope::SchemaState::default());
        let (stored, plan) = schema_file::apply(&at, &lock, schema, when)?;
        let schema = Arc::new(schema.with_expiry_of(&stored));
        let format = Format::new(&schema, self.content)?.with_stored_schema(&stored);
        Ok((FileScope::new(schema, format, at, Some(lock), self.clock.clone())?, plan))
    }

    /// Opens a scope without creating anything. The batch of a crashed process is completed by the
    /// next process that opens the scope for writing.
    fn read_scope(&self, schema: &Arc<Schema>) -> Result<Option<FileScope>> {
        let mut schema = schema.clone();
        let mut format = Format::new(&schema, self.content)?;
        let name = self.directory_name(&schema)?;
        let Some(root) = self.existing_root()? else { return Ok(None) };
        let own = root.directory(OWN)?;
        let own = own.map(|own| own.directory(&directory_of(&schema.table))).transpose()?.flatten();
        let stored =
            own.as_ref().map(|own| schema_file::stored_schema(own, &schema)).transpose()?.flatten();
        if let Some(stored) = stored {
            schema = Arc::new(schema.with_expiry_of(&stored));
            check_readable(&stored, &schema)?;
            format = Format::new(&schema, self.content)?.with_stored_schema(&stored);
        }
        let Some(records) = root.directory(&name)? else { return Ok(None) };
        // Without own directories there are no long keys either.
        let own = own.unwrap_or_else(|| records.clone());
        let keys = own.directory("keys")?.unwrap_or_else(|| own.clone());
        let (temporary, names, durable) = (own.clone(), self.names.clone(), self.durable);
        let at = Directories { records, temporary, keys, own, names, durable };
        FileScope::new(schema, format, at, None, self.clock.clone()).map(Some)
    }

    /// Opens the root; `None` if it is missing but optional.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if it is opened read-only and does not exist.
    fn existing_root(&self) -> Result<Option<Dir>> {
        match Dir::root(&self.root)? {
            None if self.must_exist => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "no such directory: {}; the cache is opened read-only and does not create it",
                    self.root.display()
                ),
            )
            .with_retryable(false)),
            root => Ok(root),
        }
    }

    /// Returns the stored schema of a scope; `None` if it was never opened.
    fn stored_schema_of(&self, schema: &Schema) -> Result<Option<Schema>> {
        self.directory_name(schema)?;
        let own = self.existing_root()?.map(|root| root.directory(OWN)).transpose()?.flatten();
        let own = own.map(|own| own.directory(&directory_of(&schema.table))).transpose()?.flatten();
        let stored = own.map(|own| read_schema(&own)).transpose()?.flatten();
        match stored {
            Some(stored) if stored.name != schema.name => {
                Err(table_of_another(schema, &stored.name))
            }
            stored => Ok(stored),
        }
    }

    /// Returns the stored schema of a scope by its name, which may differ from that of its
    /// directory.
    fn schema_by_name(root: &Dir, scope: &str) -> Result<Option<Schema>> {
        let Some(own) = root.directory(OWN)? else { return Ok(None) };
        for name in directories_in(&own)? {
            let stored = own.directory(&name)?.map(|own| read_schema(&own)).transpose()?.flatten();
            if stored.as_ref().is_some_and(|schema| schema.name == scope) {
                return Ok(stored);
            }
        }
        Ok(None)
    }

    /// Returns the names of the scopes that have been opened.
    fn opened(root: &Dir) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        let Some(own) = root.directory(OWN)? else { return Ok(names) };
        for name in directories_in(&own)? {
            if let Some(directory) = own.directory(&name)? {
                names.extend(read_schema(&directory)?.map(|schema| schema.name));
            }
        }
        Ok(names)
    }
}

/// Returns the names of the subdirectories of a directory.
fn directories_in(directory: &Dir) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for found in directory.entries()? {
        let found = found.map_err(|errno| failed("list the directory", errno.into()))?;
        if let Some((name, true)) = entry(directory, &found)? {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a `file:` URI.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<(Arc<dyn Store>, Options)> {
    let options = uri.take_common(options)?;
    let builder = FilesBuilder::from_uri(&mut uri)?;
    uri.finish(builder::NAMES)?;
    let mut files = builder.timeout(options.timeout).shared_clock(options.clock.clone()).open()?;
    files.must_exist = options.read_only && !options.missing_is_empty;
    if files.must_exist {
        files.existing_root()?;
    }
    Ok((Arc::new(files), options))
}

impl Store for Files {
    fn name(&self) -> &'static str {
        "file"
    }

    fn capabilities(&self) -> Capabilities {
        let expiry = match self.content {
            Content::Records(_) => ExpirySupport::Full,
            Content::Bare => ExpirySupport::ByColumn,
            Content::Text | Content::Binary => ExpirySupport::Unsupported,
        };
        Capabilities {
            persistent: true,
            expiry,
            max_records: expiry != ExpirySupport::Unsupported,
            shared_single_flight: true,
            ..Capabilities::new()
        }
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let (scope, _) = self.scope(schema, Apply::OnOpen)?;
        Ok(Arc::new(scope))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let scope = self.read_scope(schema)?;
        Ok(scope.map(|scope| -> Arc<dyn ScopeStore> { Arc::new(scope) }))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let stored_schema = self.stored_schema_of(schema)?;
        let plan =
            |stored_schema: Schema| plan(&stored_schema, &schema.with_expiry_of(&stored_schema));
        Ok(stored_schema.map_or_else(|| Plan::empty(schema), plan))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        match self.stored_schema_of(schema)? {
            Some(_) => Ok(self.scope(&Arc::new(schema.clone()), Apply::OnDemand)?.1),
            None => Ok(Plan::empty(schema)),
        }
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let Some(root) = self.existing_root()? else { return Ok(None) };
        Self::schema_by_name(&root, scope)
    }

    /// With `layout=plain`, directories created by the Python package are scopes as well.
    fn scopes(&self) -> Result<Vec<String>> {
        let Some(root) = self.existing_root()? else { return Ok(Vec::new()) };
        let mut names = Self::opened(&root)?;
        if self.names.plain {
            let others = directories_in(&root)?.into_iter();
            let own = |name: &String| !name.starts_with('.') && name != LOST_AND_FOUND;
            names.extend(others.filter(own));
        }
        Ok(names.into_iter().collect())
    }
}
