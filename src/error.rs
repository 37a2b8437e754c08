//! The one error type of the crate.

#[cfg(test)]
mod tests;

use std::any::type_name;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Arc<dyn StdError + Send + Sync>;

/// What went wrong, as a program may want to tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument was wrong: a value outside its column's type, a key that contradicts its
    /// record, a line that is not an operation. Nothing was changed.
    InvalidInput,
    /// A schema, in TOML or built by a program, is not a valid one.
    InvalidSchema,
    /// A URI or an option is unknown or malformed.
    InvalidConfig,
    /// No scope of that name is declared.
    UnknownScope,
    /// The table that stands differs from the schema in a way that is not changed without being
    /// told to. The message holds the plan.
    SchemaChange,
    /// What is stored cannot be read as the schema says.
    InvalidData,
    /// The backend cannot do this, or cannot hold this value.
    Unsupported,
    /// The cache is opened read-only, and the call would have changed it. Nothing was changed.
    ReadOnly,
    /// The backend cannot be reached, or the connection was lost while a call was under way: a
    /// write may or may not have happened.
    Unavailable,
    /// The deadline of the call passed before it could be done; nothing was changed.
    Timeout,
    /// A computation requested the value that it is computing.
    #[doc(alias = "Recursion")]
    ComputeCycle,
    /// A closure that was given, to `try_get` for one, failed; its error is the
    /// [source](StdError::source).
    Compute,
    /// The file system or a stream failed.
    Io,
    #[doc(alias = "PartlyDone")]
    /// Some of the stores that a fan-out writes to have the write and some have not; the message
    /// says which.
    PartialWrite,
    /// The engine refused or failed for another reason.
    Backend,
}

impl ErrorKind {
    /// The name of the kind in snake case, as `hilcat batch` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::InvalidSchema => "invalid_schema",
            Self::InvalidConfig => "invalid_config",
            Self::UnknownScope => "unknown_scope",
            Self::SchemaChange => "schema_change",
            Self::InvalidData => "invalid_data",
            Self::Unsupported => "unsupported",
            Self::ReadOnly => "read_only",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::ComputeCycle => "compute_cycle",
            Self::Compute => "compute",
            Self::Io => "io",
            Self::PartialWrite => "partial_write",
            Self::Backend => "backend",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of every fallible call: opaque, cheap to clone, and free of values and secrets.
///
/// A miss is never an error. [`kind`](Error::kind) tells what happened,
/// [`is_retryable`](Error::is_retryable) whether the same call may succeed later; the message
/// names the backend, the operation, the scope, the key and the column where they are known.
///
/// ```
/// use hilcat::{Cache, ErrorKind};
///
/// let error = Cache::from_uri("sqlight:///t.db").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    retryable: bool,
    /// Whether it is that a scope's table, or a column of it, does not stand.
    changed_table: bool,
    /// Whether the call waited for other calls and not for an answer.
    waited: bool,
    context: Context,
    source: Option<Source>,
}

/// Where an error happened.
#[derive(Debug, Clone, Default)]
struct Context {
    backend: Option<&'static str>,
    operation: Option<&'static str>,
    scope: Option<String>,
    key: Option<String>,
    column: Option<String>,
}

impl Error {
    /// An error of a kind, with a message that says what was wrong and what would be right.
    ///
    /// For implementations of [`ColumnValue`](crate::ColumnValue) and of
    /// [`Store`](crate::store::Store) outside this crate. The message must not hold a value or a
    /// secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout);
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retryable,
            changed_table: false,
            waited: false,
            context: Context::default(),
            source: None,
        }))
    }

    /// Adds the error that caused this one.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Says whether the same call may succeed when it is made again.
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Names the column that the error is about, unless one is named already.
    pub fn with_column(mut self, column: &str) -> Self {
        self.0.context.column.get_or_insert_with(|| column.to_owned());
        self
    }

    /// Names the scope that the error is about, unless one is named already.
    pub fn with_scope(mut self, scope: &str) -> Self {
        self.0.context.scope.get_or_insert_with(|| scope.to_owned());
        self
    }

    /// Names the operation and the backend that failed, unless they are named already.
    pub(crate) fn in_operation(mut self, backend: &'static str, operation: &'static str) -> Self {
        self.0.context.backend.get_or_insert(backend);
        self.0.context.operation.get_or_insert(operation);
        self
    }

    /// Names the backend that failed, unless one is named already.
    pub(crate) fn in_backend(mut self, backend: &'static str) -> Self {
        self.0.context.backend.get_or_insert(backend);
        self
    }

    /// Names the key that the error is about, unless one is named already.
    pub(crate) fn with_key(mut self, key: impl fmt::Display) -> Self {
        self.0.context.key.get_or_insert_with(|| shorten(&key.to_string()));
        self
    }

    /// The error that a scope's table, or a column of it, does not stand, though it should.
    #[cfg(any(feature = "sql", feature = "elasticsearch"))]
    pub(crate) fn changed_table(found: &str) -> Self {
        let message = format!("another program dropped or changed the table: {found}");
        let mut error = Self::new(ErrorKind::Backend, message);
        error.0.changed_table = true;
        error
    }

    /// Says that the call waited for other calls, for a connection or a lock that they had: it does
    /// not tell that the server is down.
    #[cfg_attr(
        not(any(feature = "sql", feature = "redis", feature = "elasticsearch")),
        allow(dead_code, reason = "no other backend has a server")
    )]
    pub(crate) fn while_waiting(mut self) -> Self {
        self.0.waited = true;
        self
    }

    /// Whether it is one of those of a server that cannot be reached.
    #[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
    pub(crate) fn is_outage(&self) -> bool {
        self.is_unreachable() && !self.0.waited
    }

    /// Whether the store could not be reached, for whatever reason.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    pub(crate) fn is_changed_table(&self) -> bool {
        self.0.changed_table
    }

    pub(crate) fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn invalid_schema(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidSchema, message)
    }

    pub(crate) fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    pub(crate) fn invalid_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidData, message)
    }

    /// The error of a call whose closure failed, with the closure's error as its source. It is of the
    /// kind of that error if that is one of hilcat's own.
    pub(crate) fn of_closure<E: Into<Box<dyn StdError + Send + Sync>>>(error: E) -> Self {
        match error.into().downcast::<Self>() {
            Ok(error) => {
                let message = format!("the closure failed with {}: {error}", error.kind());
                Self::new(error.kind(), message)
                    .with_retryable(error.is_retryable())
                    .with_source(*error)
            }
            Err(error) => {
                let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
                let kind = io.map_or_else(|| type_name::<E>().to_owned(), |kind| kind.to_string());
                let message = format!("the closure failed with {kind}");
                Self::new(ErrorKind::Compute, message).with_source(error)
            }
        }
    }

    /// The refusal of a call that would change a cache which is opened read-only.
    pub(crate) fn read_only() -> Self {
        Self::new(
            ErrorKind::ReadOnly,
            "the cache is opened read-only, and nothing was changed; open it without `read_only` to write",
        )
    }

    /// The result of such a call.
    pub(crate) fn refused_write<T>() -> Result<T, Self> {
        Err(Self::read_only())
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed when it is made again.
    ///
    /// Of a write that ended as [`ErrorKind::Unavailable`] it is not known whether it happened;
    /// `set` and `pop` can be repeated without harm.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The message alone, without the place where it happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The scope that the error is about, where it is known.
    pub fn scope(&self) -> Option<&str> {
        self.0.context.scope.as_deref()
    }

    /// The column that the error is about, where it is known.
    pub fn column(&self) -> Option<&str> {
        self.0.context.column.as_deref()
    }
}

/// `{}` writes the error alone. `{:#}` appends its [sources](StdError::source), each after a colon.
/// A source comes from another library, or from a closure, and may say more than hilcat does.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { backend, operation, scope, key, column } = &self.0.context;
        let named =
            [("scope", scope.as_deref()), ("key", key.as_deref()), ("column", column.as_deref())];
        let mut place = [*backend, *operation].into_iter().flatten().collect::<Vec<_>>().join(" ");
        for (what, name) in named {
            let Some(name) = name else { continue };
            place.push_str(if place.is_empty() { "" } else { ", " });
            place.push_str(&format!("{what} `{name}`"));
        }
        match place.as_str() {
            "" => f.write_str(&self.0.message)?,
            place => write!(f, "{place}: {}", self.0.message)?,
        }
        if f.alternate() { write_sources(self, f) } else { Ok(()) }
    }
}

/// Writes the sources of an error, except where the message before has the same text already.
fn write_sources(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut written = error.0.message.clone();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !written.ends_with(&text) {
            write!(f, ": {text}")?;
        }
        written = text;
        next = source.source();
    }
    Ok(())
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("retryable", &self.0.retryable)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// Keeps a long key from filling a log line.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 120;
    match text.char_indices().nth(LIMIT) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}... ({} bytes)", &text[..cut], text.len()),
    }
}
