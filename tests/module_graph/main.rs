//! The modules of `src/` depend on each other in one direction: at no level of the tree do sibling
//! modules form a cycle.
//!
//! The test reads the sources. A path that begins with `crate`, `self` or `super` makes a module
//! depend on the module that defines the item; re-exports are followed. Unit tests are ignored.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::source::Source;

/// Folders whose own level still has cycles: an entry is removed with its cycle.
const EXEMPT: &[&str] = &[
    "backends/elasticsearch",
    "backends/file",
    "backends/redis",
    "backends/sql",
    "backends/sql/dialect",
    "backends/sql/diesel",
    "codec",
];

/// The path of a module below the root of its crate: `["backends", "sql"]`.
type Module = Vec<String>;

/// For each pair of siblings of which the first depends on the second, one line where it does.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn modules_have_no_dependency_cycles() {
    let src = source_folder();
    let library = Crate::read(&src, "lib.rs");
    let program = Crate::read(&src.join("bin/hilcat"), "main.rs");
    let cycles: Vec<String> = [library, program].iter().flat_map(Crate::cycles).collect();
    assert!(cycles.is_empty(), "modules depend on each other in a cycle:\n{}", cycles.join("\n"));
}

#[test]
fn a_cycle_is_found_through_re_exports() {
    let mut modules = BTreeMap::new();
    for (module, text) in [
        (vec![], "mod a; mod b; pub use crate::b::{Thing, other as renamed};"),
        (vec!["a"], "// crate::c::X\nuse crate::Thing; const S: &str = \"crate::d::Y\";"),
        (vec!["b"], "fn f() { crate::a::g(); } #[cfg(test)] mod tests { use crate::d::Z; }"),
        (vec!["c"], "use crate::renamed;"),
        (vec!["d"], "use crate::c::*;"),
    ] {
        let module: Module = module.into_iter().map(str::to_owned).collect();
        modules.insert(module, Source::parse(PathBuf::from("test"), text));
    }
    let cycles = Crate { modules }.cycles();
    assert_eq!(cycles.len(), 1, "{cycles:#?}");
    assert!(cycles[0].contains("a -> b") && cycles[0].contains("b -> a"), "{cycles:#?}");
}

fn source_folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.ancestors().map(|folder| folder.join("src"));
    folder
        .into_iter()
        .find(|folder| folder.join("lib.rs").exists() && folder.join("cache.rs").exists())
        .unwrap()
}

/// The sources of one crate by their modules.
struct Crate {
    modules: BTreeMap<Module, Source>,
}

impl Crate {
    fn read(folder: &Path, root: &str) -> Self {
        let mut modules = BTreeMap::new();
        read_module(folder, &folder.join(root), Vec::new(), &mut modules);
        Self { modules }
    }

    /// Returns the module that defines the item of a path in the module `from`.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()?),
            _ => return None,
        }
        rest = &rest[1..];
        while let Some((segment, after)) = rest.split_first() {
            if segment == "super" {
                at.pop()?;
            } else {
                let mut child = at.clone();
                child.push(segment.clone());
                match self.modules.contains_key(&child) {
                    true => at = child,
                    false => return self.item(&at, segment, after, depth),
                }
            }
            rest = after;
        }
        Some(at)
    }

    /// Returns the module that defines an item of `module`, which is another one if the item is imported.
    fn item(&self, module: &Module, name: &str, rest: &[String], depth: usize) -> Option<Module> {
        if depth > 16 {
            return None;
        }
        let imports = &self.modules.get(module)?.imports;
        let imported = imports.iter().find(|(known, _)| known == name).and_then(|(_, path)| {
            let path: Vec<String> = path.iter().chain(rest).cloned().collect();
            self.resolve(module, &path, depth + 1)
        });
        imported.or_else(|| Some(module.clone()))
    }

    /// Returns the dependencies of sibling modules, for each parent.
    fn graph(&self) -> BTreeMap<Module, Edges> {
        let mut graph: BTreeMap<Module, Edges> = BTreeMap::new();
        for (module, source) in &self.modules {
            for (line, path) in &source.paths {
                let Some(target) = self.resolve(module, path, 0) else { continue };
                let common = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (module.get(common), target.get(common)) else {
                    continue;
                };
                let place = format!("{}:{line}", source.file.display());
                let edges = graph.entry(module[..common].to_vec()).or_default();
                edges.entry(from.clone()).or_default().entry(to.clone()).or_insert(place);
            }
        }
        graph
    }

    fn cycles(&self) -> Vec<String> {
        let graph = self.graph();
        let exempt = |parent: &Module| EXEMPT.contains(&parent.join("/").as_str());
        let levels = graph.iter().filter(|(parent, _)| !exempt(parent));
        levels.flat_map(|(parent, edges)| cycles_of(parent, edges)).collect()
    }
}

/// Returns each set of siblings that all reach each other, with the lines that cause it.
fn cycles_of(parent: &Module, edges: &Edges) -> Vec<String> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        edges.keys().map(|from| (from, reached(from, edges))).collect();
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for (from, reached) in &reach {
        let is_back = |to: &&&String| reach.get(**to).is_some_and(|back| back.contains(*from));
        let cycle: BTreeSet<&String> = reached.iter().filter(is_back).copied().collect();
        if cycle.is_empty() || !seen.insert(cycle.clone()) {
            continue;
        }
        let mut text = format!("in `{}`:", parent.join("::"));
        for from in &cycle {
            for (to, place) in edges.get(*from).into_iter().flatten() {
                if cycle.contains(to) {
                    text.push_str(&format!("\n  {from} -> {to} ({place})"));
                }
            }
        }
        cycles.push(text);
    }
    cycles
}

fn reached<'a>(from: &str, edges: &'a Edges) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = edges.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(edges.get(next).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}

/// Reads a module and the modules that it declares, except those of tests.
fn read_module(folder: &Path, file: &Path, module: Module, modules: &mut BTreeMap<Module, Source>) {
    let text = fs::read_to_string(file).unwrap();
    let source = Source::parse(file.to_path_buf(), &text);
    let mut below = folder.to_path_buf();
    below.extend(&module);
    let mut names: BTreeSet<String> = BTreeSet::new();
    for entry in fs::read_dir(&below).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = path.extension().is_some_and(|extension| extension == "rs");
        if is_module || path.join("mod.rs").exists() {
            names.insert(name);
        }
    }
    for name in ["lib", "main", "mod"]
        .into_iter()
        .chain(source.test_modules.iter().map(|name| name.as_str()))
    {
        names.remove(name);
    }
    modules.insert(module.clone(), source);
    for name in names {
        let files = [below.join(format!("{name}.rs")), below.join(&name).join("mod.rs")];
        let file = files.iter().find(|file| file.exists()).unwrap();
        let mut child = module.clone();
        child.push(name);
        read_module(folder, file, child, modules);
    }
}
