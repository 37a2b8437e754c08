//! The samples of `README.md` and of the guide (`docs/guide`), as tests.

#[doc = include_str!("../README.md")]
mod readme {}

/// Makes a module for each page, whose documentation is the page.
macro_rules! pages {
    ($($name:ident = $path:literal,)*) => {
        $(#[doc = include_str!(concat!("../docs/guide/src/", $path))] mod $name {})*
    };
}

pages! {
    quick_start = "quick-start.md",
    records = "records.md",
    cached_functions = "cached-functions.md",
    freshness = "freshness.md",
    schema_changes = "schema-changes.md",
    layers = "layers.md",
    diesel = "diesel.md",
    errors = "errors.md",
    memory = "backends/memory.md",
    sqlite = "backends/sqlite.md",
    single_table = "backends/single-table.md",
    writing_a_backend = "writing-a-backend.md",
}

#[cfg(unix)]
pages! {
    files = "backends/files.md",
}

#[cfg(feature = "async")]
pages! {
    r#async = "async.md",
}

#[cfg(all(feature = "postgresql", feature = "redis"))]
pages! {
    outages = "outages.md",
}
