//! Layers configured by URI or TOML.
//!
//! | URI | layer |
//! | --- | --- |
//! | `tiered:?near=URI&far=URI` | [`Cache::tiered`](crate::Cache::tiered) |
//! | `staged:?memory=URI&storage=URI` | [`Cache::staged`](crate::Cache::staged) |
//! | `fan-out:?primary=URI&writers=URI&on_failure=stop` | [`Cache::fan_out`](crate::Cache::fan_out); several writers are separated by spaces |
//! | `prefix:?name=tenant1&cache=URI` | [`Cache::prefix`](crate::Cache::prefix) |
//! | `layers:///cache.toml` | the layers of a file |
//!
//! A URI within a URI is percent-encoded. In a TOML file it is written as it is.

mod toml;

use std::cell::Cell;
use std::sync::Arc;

use super::fan_out::FanOut;
use super::prefix::{Namespace, Prefixed};
use super::staged::Staged;
use super::tiered::Tiered;
use super::{LayerStore, OnFailure};
use crate::freshness::Freshness;
use crate::store::uri::decode;
use crate::store::{Options, Store, Uri};
use crate::{Error, Result};

/// The values of the option `on_failure`.
const ON_FAILURE: [(&str, OnFailure); 2] =
    [("stop", OnFailure::Stop), ("continue", OnFailure::Continue)];

/// The maximum depth of nested layers. Without it, a file that names itself would recurse forever.
const DEEPEST: u32 = 16;

type Opened = Result<(Arc<dyn Store>, Options)>;

/// Opens the store at the URI of a part.
pub(crate) type OpenPart<'a> = dyn Fn(&str, Options) -> Opened + 'a;

/// The configuration of a cache. It is not `Debug`, since a URI may contain a password.
enum Spec {
    Uri(String),
    Tiered { near: Box<Spec>, far: Box<Spec> },
    Staged { memory: Box<Spec>, storage: Box<Spec> },
    FanOut { primary: Box<Spec>, writers: Vec<Spec>, on_failure: OnFailure },
    Prefix { name: String, cache: Box<Spec> },
}

/// Opens `tiered:`.
pub(crate) fn open_tiered(uri: Uri, options: Options, open_part: &OpenPart<'_>) -> Opened {
    from_uri(uri, (options, open_part), &["near", "far"], |uri| {
        Ok(Spec::Tiered { near: part(uri, "near")?, far: part(uri, "far")? })
    })
}

/// Opens `staged:`.
pub(crate) fn open_staged(uri: Uri, options: Options, open_part: &OpenPart<'_>) -> Opened {
    from_uri(uri, (options, open_part), &["memory", "storage"], |uri| {
        Ok(Spec::Staged { memory: part(uri, "memory")?, storage: part(uri, "storage")? })
    })
}

/// Opens `fan-out:`.
pub(crate) fn open_fan_out(uri: Uri, options: Options, open_part: &OpenPart<'_>) -> Opened {
    from_uri(uri, (options, open_part), &["primary", "writers", "on_failure"], |uri| {
        let primary = part(uri, "primary")?;
        let writers = given(uri, "writers")?;
        let writers = writers.split_ascii_whitespace().map(|uri| Spec::Uri(uri.to_owned()));
        let writers = writers.collect();
        let on_failure = uri.take_choice("on_failure", &ON_FAILURE)?.unwrap_or_default();
        Ok(Spec::FanOut { primary, writers, on_failure })
    })
}

/// Opens `prefix:`.
pub(crate) fn open_prefix(uri: Uri, options: Options, open_part: &OpenPart<'_>) -> Opened {
    from_uri(uri, (options, open_part), &["name", "cache"], |uri| {
        Ok(Spec::Prefix { name: given(uri, "name")?, cache: part(uri, "cache")? })
    })
}

/// Opens `layers:`.
pub(crate) fn open_file(mut uri: Uri, options: Options, open_part: &OpenPart<'_>) -> Opened {
    let options = uri.take_common(options)?;
    let path = uri.rest().strip_prefix("///").map(decode).transpose()?;
    let path = path.filter(|path| !path.is_empty()).ok_or_else(|| {
        Error::invalid_config(
            "write the file as layers:///relative.toml or layers:////absolute/path.toml",
        )
    })?;
    uri.finish(&[])?;
    toml::read(&path)?.store(options, open_part)
}

fn from_uri(
    mut uri: Uri,
    (options, open_part): (Options, &OpenPart<'_>),
    known: &[&str],
    read: impl FnOnce(&mut Uri) -> Result<Spec>,
) -> Opened {
    if !uri.rest().is_empty() {
        return Err(Error::invalid_config(format!(
            "`{}:` takes only options: {}",
            uri.scheme(),
            known.join(", ")
        )));
    }
    let options = uri.take_common(options)?;
    let spec = read(&mut uri)?;
    uri.finish(known)?;
    spec.store(options, open_part)
}

fn part(uri: &mut Uri, name: &str) -> Result<Box<Spec>> {
    Ok(Box::new(Spec::Uri(given(uri, name)?)))
}

fn given(uri: &mut Uri, name: &str) -> Result<String> {
    uri.take(name).ok_or_else(|| {
        Error::invalid_config(format!("`{}:` needs the option `{name}`", uri.scheme()))
    })
}

impl Spec {
    /// Opens the store and, by `open_part`, its parts. `options` are the defaults of the parts. The
    /// layer takes its freshness options from the part that holds the authoritative records.
    fn store(self, options: Options, open_part: &OpenPart<'_>) -> Opened {
        let open = |spec: Spec, part: &str| spec.open(part, &options, open_part);
        // A cache that is only read or planned never uses its near or working store, which is not
        // opened.
        let unread = |spec: Spec, part: &str| match options.read_only {
            true => {
                let (store, _) = open_part("noop:", Options::default())?;
                Ok(LayerStore::new(store, Freshness::default()))
            }
            false => open(spec, part),
        };
        let (store, freshness): (Arc<dyn Store>, Freshness) = match self {
            Self::Uri(uri) => return deeper(|| open_part(&uri, options)),
            Self::Tiered { near, far } => {
                let (near, far) = (unread(*near, "near")?, open(*far, "far")?);
                let defaults = far.defaults.clone();
                (Arc::new(Tiered::new(near, far, options.clock.clone())), defaults)
            }
            Self::Staged { memory, storage } => {
                let storage = open(*storage, "storage")?;
                let defaults = storage.defaults.clone();
                (Arc::new(Staged::new(unread(*memory, "memory")?, storage)), defaults)
            }
            Self::FanOut { primary, writers, on_failure } => {
                let primary = open(*primary, "primary")?;
                let read_alone = options.read_only && !options.missing_is_empty;
                let writers = writers.into_iter().filter(|_| !read_alone);
                let writers = writers.map(|writer| open(writer, "writers"));
                let defaults = primary.defaults.clone();
                let writers = writers.collect::<Result<_>>()?;
                (Arc::new(FanOut::new(primary, writers, on_failure)), defaults)
            }
            Self::Prefix { name, cache } => {
                let cache = open(*cache, "cache")?;
                let defaults = cache.defaults.clone();
                (Arc::new(Prefixed::new(cache, Namespace::new(&name))), defaults)
            }
        };
        Ok((store, Options { freshness, ..options }))
    }

    /// Opens the cache as a part of a layer. An error names the part.
    fn open(self, part: &str, options: &Options, open_part: &OpenPart<'_>) -> Result<LayerStore> {
        let (store, options) = self.store(options.clone(), open_part).map_err(|error| {
            let message = format!("`{part}`: {}", error.message());
            Error::new(error.kind(), message).with_retryable(error.is_retryable())
        })?;
        Ok(LayerStore::new(store, options.freshness))
    }
}

/// Opens a cache inside a layer, unless it is nested more than [`DEEPEST`] levels deep.
fn deeper(open: impl FnOnce() -> Opened) -> Opened {
    thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
    let depth = DEPTH.get();
    if depth == DEEPEST {
        return Err(Error::invalid_config(format!(
            "layers are nested more than {DEEPEST} deep; does a file name itself?"
        )));
    }
    DEPTH.set(depth + 1);
    let opened = open();
    DEPTH.set(depth);
    opened
}
