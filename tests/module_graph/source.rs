//! The imports and paths of a source file.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The imports and paths of one file.
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    /// The names that `use` brings into the module, with their full paths; `*` for globs.
    pub(crate) imports: Vec<(String, Vec<String>)>,
    /// All paths of the file, with their lines.
    pub(crate) paths: Vec<(usize, Vec<String>)>,
    /// Modules that are compiled only for tests.
    pub(crate) test_modules: BTreeSet<String>,
}

impl Source {
    /// Parses the text of a file.
    pub(crate) fn parse(file: PathBuf, text: &str) -> Self {
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
