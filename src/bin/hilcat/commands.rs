//! What the commands do.

use std::process::ExitCode;

use hilcat::{Cache, DynScope, Key};
use serde_json::Value as Json;

use crate::args::{Command, Record, Write};
use crate::failure::Failure;
use crate::output::{InOrder, Output};
use crate::{batch, export, import, progress};

type Result<T> = std::result::Result<T, Failure>;

const NOT_FOUND: u8 = 1;
const ERROR: u8 = 2;

/// Runs a command on an opened cache.
pub(crate) fn run(cache: &Cache, command: Command) -> Result<ExitCode> {
    let mut output = Output::new();
    let code = match command {
        Command::Migrate { plan: true } => plan(cache, &mut output),
        Command::Migrate { plan: false } => migrate(cache, &mut output),
        Command::Scopes => scopes(cache, &mut output),
        Command::Keys { scope } => keys(&cache.dynamic(&scope)?, &mut output),
        Command::Exists(record) => exists(cache, &record, &mut output),
        Command::Get(record) => show(cache, &record, &mut output, DynScope::fetch),
        Command::Pop(record) => show(cache, &record, &mut output, DynScope::pop),
        Command::Set(write) => set(cache, &write),
        Command::Update(write) => update(cache, &write, &mut output),
        Command::Import(options) => import::run(cache, &options),
        Command::Export(options) => export::run(cache, &options),
        Command::Batch => batch::run(cache, std::io::stdin().lock(), &mut output),
    }?;
    output.flush()?;
    Ok(code)
}

fn plan(cache: &Cache, output: &mut Output) -> Result<ExitCode> {
    for schema in declared(cache)? {
        let plan = cache.plan(schema)?;
        if !plan.is_empty() {
            output.line(plan)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Migrates every scope that can be; one that cannot does not keep the others from it.
fn migrate(cache: &Cache, output: &mut Output) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for schema in declared(cache)? {
        match cache.migrate(schema) {
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

fn declared(cache: &Cache) -> Result<impl Iterator<Item = &hilcat::Schema>> {
    match cache.schemas().is_empty() {
        true => Err(Failure::usage(
            "no scope is declared; name the file or directory of schemas by --schemas PATH or by the variable HILCAT_SCHEMAS",
        )),
        false => Ok(cache.schemas().iter()),
    }
}

fn scopes(cache: &Cache, output: &mut Output) -> Result<ExitCode> {
    cache.scopes()?.into_iter().try_for_each(|name| output.line(name))?;
    Ok(ExitCode::SUCCESS)
}

fn keys(scope: &DynScope, output: &mut Output) -> Result<ExitCode> {
    for key in scope.keys()? {
        output.json(&key?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn exists(cache: &Cache, record: &Record, output: &mut Output) -> Result<ExitCode> {
    let (scope, key) = locate(cache, &record.scope, &record.key)?;
    let found = scope.exists(key)?;
    output.line(found)?;
    Ok(found_or_not(found))
}

/// Prints the record that `take` gives.
fn show(
    cache: &Cache,
    record: &Record,
    output: &mut Output,
    take: impl FnOnce(&DynScope, Key) -> hilcat::Result<Option<Json>>,
) -> Result<ExitCode> {
    let (scope, key) = locate(cache, &record.scope, &record.key)?;
    let found = take(&scope, key)?;
    print(&scope, found.as_ref(), output)?;
    Ok(found_or_not(found.is_some()))
}

fn set(cache: &Cache, write: &Write) -> Result<ExitCode> {
    let (scope, key) = locate(cache, &write.scope, &write.key)?;
    scope.set(key, hilcat::parse_json(&write.json)?)?;
    Ok(ExitCode::SUCCESS)
}

fn update(cache: &Cache, write: &Write, output: &mut Output) -> Result<ExitCode> {
    let (scope, key) = locate(cache, &write.scope, &write.key)?;
    let replaced = scope.update(key, hilcat::parse_json(&write.json)?)?;
    print(&scope, replaced.as_ref(), output)?;
    Ok(ExitCode::SUCCESS)
}

fn locate(cache: &Cache, scope: &str, words: &[String]) -> Result<(DynScope, Key)> {
    let scope = cache.dynamic(scope)?;
    let key = scope.schema().key_from_text(words.iter().map(String::as_str));
    let key = key.map_err(|error| error.with_scope(&scope.schema().name))?;
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
