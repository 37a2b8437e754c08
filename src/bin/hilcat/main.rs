//! `hilcat`: the command line.

mod args;
mod batch;
mod commands;
mod csv;
mod export;
mod failure;
mod import;
mod lines;
mod output;
mod progress;
mod request;
mod target;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use crate::failure::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        // The reader closed the output, as `head` does. That is no error.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            progress::to_stderr(&format!("hilcat: {failure}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let (options, command) = args::parse()?;
    let source = options.open(command.access())?;
    // Between two runs, the records of a staged cache are in its storage. Other caches, and those
    // that are opened read-only, do nothing here.
    source.cache.load(None)?;
    let code = commands::run(&source, command)?;
    source.cache.backup(None)?;
    Ok(code)
}
