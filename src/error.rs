//! The error type of the crate.

#[cfg(test)]
mod tests;

use std::any::type_name;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Arc<dyn StdError + Send + Sync>;

/// The kind of an [`Error`], for programs that handle errors differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid: a value outside its column's type, a key that contradicts its record,
    /// a line that is not an operation. Nothing was changed.
    InvalidInput,
    /// A schema, in TOML or built by a program, is invalid.
    InvalidSchema,
    /// A URI or an option is unknown or malformed.
    InvalidConfig,
    /// No scope of that name is declared.
    UnknownScope,
    /// The existing table differs from the schema, and the policy does not allow the change. The
    /// message contains the plan.
    SchemaChange,
    /// A stored record cannot be read under the schema.
    InvalidData,
    /// The backend cannot do this, or cannot hold this value.
    Unsupported,
    /// The cache is opened read-only, and the call would change it. Nothing was changed.
    ReadOnly,
    /// The backend cannot be reached, or the connection was lost during a call. A write may or may
    /// not have happened.
    Unavailable,
    /// The deadline passed before the call could be done. Nothing was changed.
    Timeout,
    /// A computation requested the value that it is computing.
    #[doc(alias = "Recursion")]
    ComputeCycle,
    /// A closure, such as that of `try_get`, failed. Its error is the [source](StdError::source).
    Compute,
    /// The file system or a stream failed.
    Io,
    /// Some stores of a fan-out have the write and others do not. The message lists them.
    #[doc(alias = "PartlyDone")]
    PartialWrite,
    /// The engine rejected the call or failed for another reason.
    Backend,
}

impl ErrorKind {
    /// Returns the name of the kind in snake case, as `hilcat batch` writes it.
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
/// A miss is never an error. [`kind`](Error::kind) returns the kind of the failure, and
/// [`is_retryable`](Error::is_retryable) whether the same call may succeed later. The message names
/// the backend, the operation, the scope, the key and the column as far as they are known.
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
    /// Whether a scope's table, or a column of it, is missing.
    changed_table: bool,
    /// Whether the call waited for other calls and not for a response.
    waited: bool,
    context: Context,
    source: Option<Source>,
}

/// The context of an error.
#[derive(Debug, Clone, Default)]
struct Context {
    backend: Option<&'static str>,
    operation: Option<&'static str>,
    scope: Option<String>,
    key: Option<String>,
    column: Option<String>,
}

impl Error {
    /// Creates an error with a message that says what failed and what to do.
    ///
    /// For implementations of [`ColumnValue`](crate::ColumnValue) and of
    /// [`Store`](crate::store::Store) outside this crate. The message must not contain a value or a
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

    /// Sets whether the same call may succeed if it is repeated.
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

    /// Returns the error for a table of a scope that is missing, or lacks a column.
    #[cfg(any(feature = "sql", feature = "elasticsearch"))]
    pub(crate) fn changed_table(found: &str) -> Self {
        let message = format!("another program dropped or changed the table: {found}");
        let mut error = Self::new(ErrorKind::Backend, message);
        error.0.changed_table = true;
        error
    }

    /// Marks the error of a call that waited for a connection or a lock of another call. Such an
    /// error is no sign that the server is down.
    #[cfg_attr(
        not(any(feature = "sql", feature = "redis", feature = "elasticsearch")),
        allow(dead_code, reason = "no other backend has a server")
    )]
    pub(crate) fn while_waiting(mut self) -> Self {
        self.0.waited = true;
        self
    }

    /// Returns whether the error is a sign that the server is down.
    #[cfg(any(
        feature = "server",
        feature = "redis",
        feature = "elasticsearch",
        feature = "async"
    ))]
    pub(crate) fn is_outage(&self) -> bool {
        self.is_unreachable() && !self.0.waited
    }

    /// Returns whether the store could not be reached, for whatever reason.
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

    /// Returns the error of a call whose closure failed, with the closure's error as its source. If
    /// that is an error of hilcat, its kind is kept.
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

    /// Returns the error of a write to a cache that is opened read-only.
    pub(crate) fn read_only() -> Self {
        Self::new(
            ErrorKind::ReadOnly,
            "the cache is opened read-only, and nothing was changed; open it without `read_only` to write",
        )
    }

    /// Returns [`read_only`](Self::read_only) as a result.
    pub(crate) fn refused_write<T>() -> Result<T, Self> {
        Err(Self::read_only())
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same call may succeed if it is repeated.
    ///
    /// A write that failed with [`ErrorKind::Unavailable`] may or may not have happened; `set` and
    /// `pop` can be repeated without harm.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns the message without its context (backend, operation, scope, key and column).
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the scope that the error is about, if it is known.
    pub fn scope(&self) -> Option<&str> {
        self.0.context.scope.as_deref()
    }

    /// Returns the column that the error is about, if it is known.
    pub fn column(&self) -> Option<&str> {
        self.0.context.column.as_deref()
    }
}

/// `{}` writes the error alone. `{:#}` appends its [sources](StdError::source), each after a colon.
/// A source comes from another library or a closure, so its text may contain values.
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

/// Writes the sources of an error, except for those that the preceding message already quotes.
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

/// Shortens a long key for a log line.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 120;
    match text.char_indices().nth(LIMIT) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}... ({} bytes)", &text[..cut], text.len()),
    }
}
