//! The arguments of the command line, as parsed ([`Typed`]) and as used ([`Options`], [`Command`]).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use hilcat::{Cache, DynScope, Error, ErrorKind, Schemas};

use crate::failure::Failure;

/// Reads, writes and moves the records of a cache.
///
/// Exit codes: 0 found or done, 1 not found, 2 error.
#[derive(Parser)]
#[command(name = "hilcat", version)]
struct Typed {
    /// The cache, such as memory:, sqlite:///rel.db or sqlite:////abs.db; set it by the environment
    /// to keep a password out of the list of processes
    #[arg(long, value_name = "URI", env = "HILCAT_CACHE", hide_env_values = true, global = true)]
    cache: Option<String>,
    /// The TOML file that declares the scopes, or a directory of such files
    #[arg(long, value_name = "PATH", env = "HILCAT_SCHEMAS", global = true)]
    schemas: Option<OsString>,
    /// Use each existing table of the database as a scope, too
    #[arg(long, global = true)]
    adopt: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or migrate the tables of all declared scopes, and print what was done
    Migrate {
        /// Print what would be done, and change nothing; prints nothing if nothing has to be done
        #[arg(long)]
        plan: bool,
    },
    /// Print the names of the scopes of the cache, one per line
    Scopes,
    /// Print the keys of a scope as JSON, one per line
    Keys {
        /// The name of the scope
        scope: String,
    },
    /// Print whether there is a record
    Exists(Record),
    /// Print a record as JSON
    Get(Get),
    /// Insert or overwrite a record; omitted columns of an existing record keep their values
    Set(Set),
    /// Like set, and print the replaced record
    Update(Write),
    /// Remove a record and print it
    Pop(Record),
    /// Read records from CSV with a header line, or from JSON Lines
    Import(Import),
    /// Write all records of a scope as CSV with a header line, or as JSON Lines
    Export(Export),
    /// Remove the records that are past their last stale window, and print their number
    Purge {
        /// The names of the scopes; all scopes if none is named
        scopes: Vec<String>,
    },
    /// Read operations from standard input, one JSON object per line, and answer each with a line
    ///
    /// An operation has a field `op`. scopes has no other field. All others have a `scope`: set and
    /// update (`key`, `value`), fetch, exists, pop, touch and entry (`key`), keys, purge, set_many
    /// (`items`: [KEY, VALUE] pairs), fetch_many and pop_many (`keys`). set and set_many can have a
    /// `ttl`, such as "2s". A key of several columns is an array. Answers are
    /// {"ok":true,"result":...} or {"ok":false,"error":{"kind":...,"message":...}}.
    Batch,
}

/// How a command accesses the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Determines what a write would change.
    Plan,
    Write,
}

impl Command {
    /// Returns the access that the command needs. A command that only reads changes nothing that is
    /// stored, not even by opening the cache.
    pub(crate) fn access(&self) -> Access {
        match self {
            Self::Migrate { plan: true } => Access::Plan,
            Self::Scopes | Self::Keys { .. } | Self::Exists(_) | Self::Get(_) | Self::Export(_) => {
                Access::Read
            }
            Self::Migrate { plan: false }
            | Self::Set(_)
            | Self::Update(_)
            | Self::Pop(_)
            | Self::Import(_)
            | Self::Purge { .. }
            | Self::Batch => Access::Write,
        }
    }
}

#[derive(Args)]
pub(crate) struct Record {
    /// The name of the scope
    pub(crate) scope: String,
    /// The key: a word for each unique column, in key order
    #[arg(required = true, allow_negative_numbers = true)]
    pub(crate) key: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) record: Record,
    /// Also print whether the record is stale and when it expires; finds stale records, too
    #[arg(long)]
    pub(crate) entry: bool,
}

#[derive(Args)]
pub(crate) struct Set {
    #[command(flatten)]
    pub(crate) write: Write,
    /// The time to live of the record, such as 30s, 5m, 1h30m or 2d, instead of that of the scope
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<String>,
}

#[derive(Args)]
pub(crate) struct Write {
    /// The name of the scope
    pub(crate) scope: String,
    /// The key: a word for each unique column, in key order
    #[arg(required = true, allow_negative_numbers = true)]
    pub(crate) key: Vec<String>,
    /// The value
    #[arg(required = true, allow_negative_numbers = true)]
    pub(crate) json: String,
}

#[derive(Args)]
pub(crate) struct Import {
    /// The name of the scope
    pub(crate) scope: String,
    #[command(flatten)]
    transfer: Transfer,
    /// Stop at the first row that cannot be imported, instead of skipping it
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args)]
pub(crate) struct Export {
    /// The name of the scope
    pub(crate) scope: String,
    #[command(flatten)]
    transfer: Transfer,
}

#[derive(Args)]
struct Transfer {
    /// The file; the standard stream if omitted or -
    file: Option<PathBuf>,
    /// The format of the file; by default that of its ending: .csv, .jsonl or .ndjson
    #[arg(long)]
    format: Option<Format>,
    /// The unquoted text of NULL in a CSV. By default it is an empty cell: empty text is written as
    /// "", and an empty cell of a text column that cannot be NULL is read as empty text
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    null: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A header line that names the columns, and a line for each record
    Csv,
    /// A JSON object for each record, one per line
    Jsonl,
}

/// The source of an import or the destination of an export.
pub(crate) struct Place {
    /// `None` is the standard stream.
    pub(crate) file: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) null: String,
}

impl Import {
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        self.transfer.place()
    }
}

impl Export {
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        self.transfer.place()
    }
}

impl Transfer {
    fn place(&self) -> Result<Place, Failure> {
        let file = self.file.clone().filter(|file| file != Path::new("-"));
        let ending = file.as_deref().and_then(Path::extension).and_then(OsStr::to_str);
        let by_ending = match ending {
            Some("csv") => Some(Format::Csv),
            Some("jsonl" | "ndjson") => Some(Format::Jsonl),
            _ => None,
        };
        let format = self.format.or(by_ending).ok_or_else(|| {
            Failure::usage("neither the file name nor --format determines the format; give --format csv or --format jsonl")
        })?;
        match self.null.contains([',', '"', '\n', '\r']) {
            true => Err(Failure::usage("--null can have no comma, quote or end of line")),
            false => Ok(Place { file, format, null: self.null.clone() }),
        }
    }
}

/// The options of a cache.
pub(crate) struct Options {
    cache: String,
    schemas: Schemas,
    adopt: bool,
}

impl Options {
    pub(crate) fn open(self, access: Access) -> Result<Source, Failure> {
        let declared = self.schemas.iter().map(|schema| schema.name().to_owned()).collect();
        let builder = Cache::builder(self.cache).schemas(self.schemas);
        let builder = match access {
            Access::Read => builder.read_only(true),
            Access::Plan => builder.plan_only(),
            Access::Write => builder,
        };
        let builder = if self.adopt { builder.adopt_tables() } else { builder };
        Ok(Source { cache: builder.open()?, declared, adopt: self.adopt })
    }
}

/// An opened cache.
pub(crate) struct Source {
    pub(crate) cache: Cache,
    /// The scopes that the schemas declare.
    declared: BTreeSet<String>,
    pub(crate) adopt: bool,
}

impl Source {
    /// Returns the scopes that are tables of the database and not declared by a schema.
    pub(crate) fn adopted(&self) -> impl Iterator<Item = &str> {
        let names = self.cache.schemas().iter().map(|schema| schema.name());
        names.filter(|name| !self.declared.contains(*name))
    }

    /// Opens a declared scope.
    pub(crate) fn scope(&self, name: &str) -> hilcat::Result<DynScope> {
        let none = self.cache.schemas().is_empty() && self.cache.skipped_tables().is_empty();
        self.cache.dynamic(name).map_err(|error| match error.kind() {
            ErrorKind::UnknownScope if none => Error::new(
                ErrorKind::UnknownScope,
                format!("no scope `{name}`: {}", self.no_scope_declared()),
            ),
            _ => error,
        })
    }

    /// Returns the message for a cache without declared scopes.
    pub(crate) fn no_scope_declared(&self) -> &'static str {
        match self.adopt {
            true => "no scope is declared, and the database has no table that could be one",
            false => {
                "no scope is declared; name the file or directory of schemas by --schemas PATH or by the variable HILCAT_SCHEMAS, or use each table of the database as a scope by --adopt"
            }
        }
    }
}

/// Parses the arguments of the process. On `--help` or an invalid argument, clap ends the process.
pub(crate) fn parse() -> Result<(Options, Command), Failure> {
    let typed = Typed::try_parse().map_err(without_uri)?;
    // An empty variable counts as unset.
    let schemas = typed.schemas.filter(|path| !path.is_empty());
    let cache = typed.cache.filter(|uri| !uri.is_empty()).ok_or_else(|| {
        Failure::usage("no cache is given; name it by --cache URI or by the variable HILCAT_CACHE")
    })?;
    let schemas = schemas.map(Schemas::from_path).transpose()?.unwrap_or_default();
    Ok((Options { cache, schemas, adopt: typed.adopt }, typed.command))
}

/// Ends the process as clap does, unless clap's message would quote a URI in place of the command,
/// which may contain a password.
fn without_uri(error: clap::Error) -> Failure {
    match error.kind() == clap::error::ErrorKind::InvalidSubcommand
        && error.to_string().contains("://")
    {
        true => Failure::usage(
            "the first word is a URI and no command; a cache is named by --cache URI",
        ),
        false => error.exit(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_consistent() {
        super::Typed::command().debug_assert();
    }
}
