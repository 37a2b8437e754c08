//! Tests of the file backend: paths and contents of files, symbolic links, and killed writers.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod contents;
mod freshness;
mod held;
mod killed;
mod layout;
mod outside;
mod plain;
mod unreadable;

use std::collections::BTreeMap;
use std::path::Path;

/// Returns all files below a directory with their contents, except hilcat's own.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(root, "", &mut files);
    files
}

fn collect(directory: &Path, before: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{before}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true if name == ".hilcat" => {}
            true => collect(&entry.path(), &format!("{name}/"), files),
            false => drop(files.insert(name, std::fs::read(entry.path()).unwrap())),
        }
    }
}

fn names(root: &Path) -> Vec<String> {
    tree(root).into_keys().collect()
}
