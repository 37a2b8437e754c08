//! The modules of `src/` depend on each other in one direction: at no level of the tree do sibling
//! modules form a cycle.
//!
//! The test reads the sources. A path that begins with `crate`, `self` or `super` makes a module
//! depend on the module that defines the item; re-exports are followed. Unit tests are ignored.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

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
    let circles: Vec<String> = [library, program].iter().flat_map(Crate::circles).collect();
    assert!(
        circles.is_empty(),
        "modules depend on each other in a circle:\n{}",
        circles.join("\n")
    );
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
    let circles = Crate { modules }.circles();
    assert_eq!(circles.len(), 1, "{circles:#?}");
    assert!(circles[0].contains("a -> b") && circles[0].contains("b -> a"), "{circles:#?}");
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

/// The imports and paths of one file.
struct Source {
    file: PathBuf,
    /// The names that `use` brings into the module, with their full paths; `*` for globs.
    imports: Vec<(String, Vec<String>)>,
    /// All paths of the file, with their lines.
    paths: Vec<(usize, Vec<String>)>,
    /// Modules that are compiled only for tests.
    test_modules: BTreeSet<String>,
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

    fn circles(&self) -> Vec<String> {
        let graph = self.graph();
        let exempt = |parent: &Module| EXEMPT.contains(&parent.join("/").as_str());
        let levels = graph.iter().filter(|(parent, _)| !exempt(parent));
        levels.flat_map(|(parent, edges)| circles_of(parent, edges)).collect()
    }
}

/// Returns each set of siblings that all reach each other, with the lines that cause it.
fn circles_of(parent: &Module, edges: &Edges) -> Vec<String> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        edges.keys().map(|from| (from, reached(from, edges))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, reached) in &reach {
        let is_back = |to: &&&String| reach.get(**to).is_some_and(|back| back.contains(*from));
        let circle: BTreeSet<&String> = reached.iter().filter(is_back).copied().collect();
        if circle.is_empty() || !seen.insert(circle.clone()) {
            continue;
        }
        let mut text = format!("in `{}`:", parent.join("::"));
        for from in &circle {
            for (to, place) in edges.get(*from).into_iter().flatten() {
                if circle.contains(to) {
                    text.push_str(&format!("\n  {from} -> {to} ({place})"));
                }
            }
        }
        circles.push(text);
    }
    circles
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

impl Source {
    fn parse(file: PathBuf, text: &str) -> Self {
        let mut source =
            Self { file, imports: Vec::new(), paths: Vec::new(), test_modules: BTreeSet::new() };
        let tokens = without_tests(tokens(text), &mut source.test_modules);
        source.read_paths(&tokens);
        source
    }

    /// Finds the paths. In an inline module, `super` is the module of the file.
    fn read_paths(&mut self, tokens: &[(usize, String)]) {
        let mut inline: Vec<bool> = Vec::new();
        let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
        let mut at = 0;
        while at < tokens.len() {
            let is_path = matches!(word(at), "crate" | "self" | "super") && word(at + 1) == "::";
            match word(at) {
                "{" => inline.push(at >= 2 && word(at - 2) == "mod"),
                "}" => drop(inline.pop()),
                _ => {}
            }
            if !is_path {
                at += 1;
                continue;
            }
            let is_import = at > 0 && word(at - 1) == "use";
            let mut found = Vec::new();
            let end = read_tree(tokens, at, &[], &mut found);
            let depth = inline.iter().filter(|is_module| **is_module).count();
            for (name, path) in found {
                let Some(path) = out_of_inline(path, depth) else { continue };
                if is_import && depth == 0 {
                    self.imports.push((name, path.clone()));
                }
                self.paths.push((tokens[at].0, path));
            }
            at = end;
        }
    }
}

/// Translates a path in an inline module to the module of the file. Returns `None` if the path does
/// not leave the inline module.
fn out_of_inline(mut path: Vec<String>, depth: usize) -> Option<Vec<String>> {
    if depth == 0 || path[0] == "crate" {
        return Some(path);
    }
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    if supers < depth {
        return None;
    }
    path.drain(..depth);
    if path.first().is_none_or(|first| first != "super") {
        path.insert(0, "self".to_owned());
    }
    Some(path)
}

/// Reads `a::b`, or `a::{b, c::d as e}`, into the paths that it contains. Returns the position
/// after it.
fn read_tree(
    tokens: &[(usize, String)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(String, Vec<String>)>,
) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut path = prefix.to_vec();
    loop {
        match word(at) {
            "{" => {
                at += 1;
                while word(at) != "}" && at < tokens.len() {
                    at = read_tree(tokens, at, &path, found);
                    if word(at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "self" if !path.is_empty() => {}
            segment => path.push(segment.to_owned()),
        }
        at += 1;
        if word(at) == "::" && (is_name(word(at + 1)) || matches!(word(at + 1), "{" | "*")) {
            at += 1;
        } else {
            break;
        }
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if word(at) == "as" {
        name = word(at + 1).to_owned();
        at += 2;
    }
    found.push((name, path));
    at
}

fn is_name(token: &str) -> bool {
    token.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
}

/// Removes the items that are compiled only for tests.
fn without_tests(
    tokens: Vec<(usize, String)>,
    test_modules: &mut BTreeSet<String>,
) -> Vec<(usize, String)> {
    let cfg_test = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_test = tokens[at..].iter().map(|(_, token)| token.as_str()).take(7).eq(cfg_test);
        if !is_test {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += cfg_test.len();
        let mut depth = 0;
        while at < tokens.len() {
            let token = tokens[at].1.as_str();
            if token == "mod" && depth == 0 && tokens[at + 2].1 == ";" {
                test_modules.insert(tokens[at + 1].1.clone());
            }
            match token {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(token, ";" | "}") {
                break;
            }
        }
    }
    kept
}

/// Returns the words and signs of a source with their lines, without comments, strings and characters.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let start = at;
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        match chars[at] {
            '/' if next == '/' => at = skip_until(&chars, at, |rest| rest.starts_with(&['\n'])),
            '/' if next == '*' => at = end_of_comment(&chars, at),
            '"' => at = end_of_string(&chars, at + 1),
            'r' if next == '"' || next == '#' && is_raw_string(&chars, at + 1) => {
                at = end_of_raw_string(&chars, at + 1);
            }
            '\'' if next == '\\' => at = skip_until(&chars, at + 3, |rest| rest[0] == '\'') + 1,
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 3,
            ':' if next == ':' => {
                tokens.push((line, "::".to_owned()));
                at += 2;
            }
            first if first.is_alphanumeric() || first == '_' => {
                while chars.get(at).is_some_and(|char| char.is_alphanumeric() || *char == '_') {
                    at += 1;
                }
                tokens.push((line, chars[start..at].iter().collect()));
            }
            other => {
                if !other.is_whitespace() {
                    tokens.push((line, other.to_string()));
                }
                at += 1;
            }
        }
        line += chars[start..at.min(chars.len())].iter().filter(|char| **char == '\n').count();
    }
    tokens
}

fn skip_until(chars: &[char], mut at: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    while at < chars.len() && !is_end(&chars[at..]) {
        at += 1;
    }
    at
}

fn end_of_comment(chars: &[char], at: usize) -> usize {
    let (mut at, mut depth) = (at + 2, 1);
    while at < chars.len() && depth > 0 {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Returns whether the `#`s from `at` on begin a raw string, and not a raw name like `r#type`.
fn is_raw_string(chars: &[char], at: usize) -> bool {
    chars[at..].iter().find(|char| **char != '#') == Some(&'"')
}

fn end_of_raw_string(chars: &[char], at: usize) -> usize {
    let signs = chars[at..].iter().take_while(|char| **char == '#').count();
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', signs)).collect();
    skip_until(chars, at + signs + 1, |rest| rest.starts_with(&end)) + end.len()
}
