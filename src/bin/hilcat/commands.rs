//! The commands.

use std::process::ExitCode;

use hilcat::{DynScope, Key};
use serde_json::Value as Json;

use crate::args::{Command, Get, Record, Set, Source, Write};
use crate::failure::Failure;
use crate::output::{EntryOf, InOrder, Output};
use crate::{batch, export, import, progress};

type Result<T> = std::result::Result<T, Failure>;

const NOT_FOUND: u8 = 1;
const ERROR: u8 = 2;

/// Runs a command on an opened cache.
pub(crate) fn run(source: &Source, command: Command) -> Result<ExitCode> {
    let mut output = Output::new();
    let code = match command {
        Command::Migrate { plan: true } => plan(source, &mut output),
        Command::Migrate { plan: false } => migrate(source, &mut output),
        Command::Scopes => scopes(source, &mut output),
        Command::Keys { scope } => keys(&source.scope(&scope)?, &mut output),
        Command::Exists(record) => exists(source, &record, &mut output),
        Command::Get(get) => self::get(source, &get, &mut output),
        Command::Pop(record) => show(source, &record, &mut output, DynScope::pop),
        Command::Set(given) => set(source, &given),
        Command::Purge { scopes } => purge(source, &scopes, &mut output),
        Command::Update(write) => update(source, &write, &mut output),
        Command::Import(options) => import::run(source, &options),
        Command::Export(options) => export::run(source, &options),
        Command::Batch => batch::run(source, std::io::stdin().lock(), &mut output),
    }?;
    output.flush()?;
    Ok(code)
}

fn plan(source: &Source, output: &mut Output) -> Result<ExitCode> {
    for schema in declared(source)? {
        let plan = source.cache.plan(schema)?;
        if !plan.is_empty() {
            output.line(plan)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Migrates the declared scopes. A scope that cannot be migrated does not stop the others.
fn migrate(source: &Source, output: &mut Output) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for schema in declared(source)? {
        match source.cache.migrate(schema) {
            Ok(plan) if plan.is_empty() => {}
            Ok(plan) => output.line(plan)?,
            Err(error) => {
                progress::to_stderr(&format!("hilcat: {error}"));
                code = ExitCode::from(ERROR);
            }
        }
    }
    Ok(code)
}

fn declared(source: &Source) -> Result<impl Iterator<Item = &hilcat::Schema>> {
    match source.cache.schemas().is_empty() {
        true => Err(Failure::usage(
            "no scope is declared; name the file or directory of schemas by --schemas PATH or by the variable HILCAT_SCHEMAS",
        )),
        false => Ok(source.cache.schemas().iter()),
    }
}

/// Prints the scopes of the cache and, with `--adopt`, the tables that are used as scopes.
fn scopes(source: &Source, output: &mut Output) -> Result<ExitCode> {
    let mut names = source.cache.scopes()?;
    names.extend(source.adopted().map(str::to_owned));
    names.sort_unstable();
    names.dedup();
    names.into_iter().try_for_each(|name| output.line(name))?;
    for (table, reason) in source.cache.skipped_tables() {
        progress::to_stderr(&format!("hilcat: the table `{table}` cannot be a scope: {reason}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn keys(scope: &DynScope, output: &mut Output) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for key in scope.keys()? {
        match key {
            Ok(key) => output.json(&key)?,
            // A record that cannot be read does not stop the listing.
            Err(error) => {
                progress::to_stderr(&format!("hilcat: {error}"));
                code = ExitCode::from(ERROR);
            }
        }
    }
    Ok(code)
}

fn exists(source: &Source, record: &Record, output: &mut Output) -> Result<ExitCode> {
    let (scope, key) = locate(source, &record.scope, &record.key)?;
    let found = scope.exists(key)?;
    output.line(found)?;
    Ok(found_or_not(found))
}

/// Prints the record that `take` returns.
fn show(
    source: &Source,
    record: &Record,
    output: &mut Output,
    take: impl FnOnce(&DynScope, Key) -> hilcat::Result<Option<Json>>,
) -> Result<ExitCode> {
    let (scope, key) = locate(source, &record.scope, &record.key)?;
    let found = take(&scope, key)?;
    print(&scope, found.as_ref(), output)?;
    Ok(found_or_not(found.is_some()))
}

fn get(source: &Source, get: &Get, output: &mut Output) -> Result<ExitCode> {
    if !get.entry {
        return show(source, &get.record, output, DynScope::fetch);
    }
    let (scope, key) = locate(source, &get.record.scope, &get.record.key)?;
    let entry = scope.entry(key)?;
    if let Some(entry) = &entry {
        output.json(&EntryOf { scope: &scope, entry })?;
    }
    Ok(found_or_not(entry.is_some()))
}

fn set(source: &Source, set: &Set) -> Result<ExitCode> {
    let Set { write, ttl } = set;
    let ttl = ttl.as_deref().map(hilcat::parse_duration).transpose();
    let ttl = ttl.map_err(|error| Failure::usage(format!("--ttl: {}", error.message())))?;
    let (scope, key) = locate(source, &write.scope, &write.key)?;
    let value = hilcat::parse_json(&write.json)?;
    match ttl {
        Some(ttl) => scope.set_with_ttl(key, value, ttl)?,
        None => scope.set(key, value)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Purges scopes. A scope that is neither declared nor in the cache is an error.
fn purge(source: &Source, scopes: &[String], output: &mut Output) -> Result<ExitCode> {
    let mut removed = 0;
    if scopes.is_empty() {
        removed = source.cache.purge()?;
    }
    let known = source.cache.scopes()?;
    for name in scopes {
        removed += match source.cache.schemas().get(name).is_none() && known.contains(name) {
            true => source.cache.purge_scope(name)?,
            false => source.scope(name)?.purge()?,
        };
    }
    output.line(removed)?;
    Ok(ExitCode::SUCCESS)
}

fn update(source: &Source, write: &Write, output: &mut Output) -> Result<ExitCode> {
    let (scope, key) = locate(source, &write.scope, &write.key)?;
    let replaced = scope.update(key, hilcat::parse_json(&write.json)?)?;
    print(&scope, replaced.as_ref(), output)?;
    Ok(ExitCode::SUCCESS)
}

fn locate(source: &Source, scope: &str, words: &[String]) -> Result<(DynScope, Key)> {
    let scope = source.scope(scope)?;
    let key = scope.schema().key_from_text(words.iter().map(String::as_str));
    let key = key.map_err(|error| error.with_scope(scope.schema().name()))?;
    Ok((scope, key))
}

fn print(scope: &DynScope, value: Option<&Json>, output: &mut Output) -> Result<()> {
    match value {
        Some(value) => output.json(&InOrder { schema: scope.schema(), value }),
        None => Ok(()),
    }
}

fn found_or_not(found: bool) -> ExitCode {
    if found { ExitCode::SUCCESS } else { ExitCode::from(NOT_FOUND) }
}
