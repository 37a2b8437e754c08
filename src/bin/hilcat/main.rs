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
        // Nobody reads any more: there is nobody to tell, and nothing is wrong.
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
    // What a staged cache has is in its storage between two runs; other caches do nothing here, and
    // neither does one that is only read.
    source.cache.load(None)?;
    let code = commands::run(&source, command)?;
    source.cache.backup(None)?;
    Ok(code)
}
