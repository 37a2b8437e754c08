//! Paths of files: each key has its own, inside the directory of its scope.

use sha2::{Digest, Sha256};

use crate::codec::key::{escape, unescape};
use crate::{Error, Result};

/// The maximum length of a file name, in bytes, on common file systems.
const MAX_NAME: usize = 255;
/// The maximum number of segments of a path.
pub(super) const MAX_DEPTH: usize = 8;
/// The name of an empty segment. It is not an escape, which has two digits after the percent sign.
const EMPTY: &str = "%";
/// Precedes the digest in the name of a long key.
const DIGEST: &str = "%~";

/// How keys are mapped to paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) suffix: String,
    /// Whether the key itself is the path, without escapes, as in the Python package.
    pub(super) plain: bool,
}

/// The path of a key's file, relative to the directory of its scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RecordPath {
    pub(super) directories: Vec<String>,
    pub(super) file: String,
}

/// What a path reveals about its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Key(String),
    /// The digest of a long key.
    Digest(String),
}

impl Names {
    /// Returns the path of a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the layout requires the key
    /// itself to be the path, and it cannot be.
    pub(super) fn path(&self, key: &str) -> Result<RecordPath> {
        match self.plain {
            true => self.plain_path(key),
            false => Ok(self.escaped_path(key)),
        }
    }

    /// Returns the escaped path of a key. With a suffix, slashes in the key separate directories;
    /// without one they are escaped, since a directory could have the name of another key's file.
    fn escaped_path(&self, key: &str) -> RecordPath {
        let parts: Vec<&str> = match self.suffix.is_empty() {
            true => vec![key],
            false => key.split('/').collect(),
        };
        let (last, before) = match parts.split_last() {
            Some((last, before)) => (*last, before),
            None => (key, &[][..]),
        };
        let directories: Vec<String> = before.iter().map(|part| self.directory(part)).collect();
        let file = format!("{}{}", segment(last), self.suffix);
        let fits = before.len() < MAX_DEPTH
            && file.len() <= MAX_NAME
            && directories.iter().all(|name| name.len() <= MAX_NAME);
        match fits {
            true => RecordPath { directories, file },
            false => RecordPath {
                directories: Vec::new(),
                file: format!("{}{}", digest_name(key), self.suffix),
            },
        }
    }

    /// Whether a directory with this name can contain records.
    pub(super) fn may_contain_records(&self, directory: &str) -> bool {
        self.plain || unsegment(directory).is_some_and(|part| self.directory(&part) == directory)
    }

    /// Returns the name of a directory, which is never the name of a file.
    fn directory(&self, part: &str) -> String {
        let mut name = segment(part);
        if name.ends_with(&self.suffix)
            && let Some(last) = name.pop()
        {
            name.push_str(&format!("%{:02X}", last as u32));
        }
        name
    }

    fn plain_path(&self, key: &str) -> Result<RecordPath> {
        let mut parts: Vec<String> = key.split('/').map(str::to_owned).collect();
        let mut file = parts.pop().unwrap_or_default();
        let odd = |part: &String| matches!(part.as_str(), "" | "." | "..") || part.contains('\0');
        let bad = odd(&file) || parts.iter().any(odd);
        file.push_str(&self.suffix);
        let long = file.len() > MAX_NAME || parts.iter().any(|part| part.len() > MAX_NAME);
        match bad || long || parts.len() >= MAX_DEPTH {
            false => Ok(RecordPath { directories: parts, file }),
            true => Err(Error::unsupported(
                "with `layout=plain` the key is the path of a file; use up to 8 segments of at most 255 bytes, separated by slashes, none of them empty, `.` or `..`",
            )),
        }
    }

    /// Parses a path; `None` if no key has it.
    pub(super) fn read(&self, path: &RecordPath) -> Option<Named> {
        let name = path.file.strip_suffix(&self.suffix)?;
        if self.plain {
            let parts = path.directories.iter().map(String::as_str).chain([name]);
            let key = parts.collect::<Vec<_>>().join("/");
            return self.path(&key).is_ok_and(|own| own == *path).then_some(Named::Key(key));
        }
        if let Some((_, digest)) = name.rsplit_once(DIGEST) {
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let right =
                path.directories.is_empty() && digest.len() == 64 && digest.bytes().all(hex);
            return right.then(|| Named::Digest(digest.to_owned()));
        }
        let parts = path.directories.iter().map(String::as_str).chain([name]);
        let key = parts.map(unsegment).collect::<Option<Vec<_>>>()?.join("/");
        (self.escaped_path(&key) == *path).then_some(Named::Key(key))
    }
}

impl RecordPath {
    /// Parses a path from the journal, without trusting it.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut directories: Vec<String> = path.split('/').map(str::to_owned).collect();
        let inside =
            |part: &String| !matches!(part.as_str(), "" | "." | "..") && !part.contains('\0');
        if !directories.iter().all(inside) {
            return None;
        }
        let file = directories.pop()?;
        Some(Self { directories, file })
    }

    pub(super) fn to_text(&self) -> String {
        let parts = self.directories.iter().map(String::as_str).chain([self.file.as_str()]);
        parts.collect::<Vec<_>>().join("/")
    }

    /// Returns the digest in the name of a long key.
    pub(super) fn digest(&self) -> Option<&str> {
        let (_, digest) = self.file.rsplit_once(DIGEST)?;
        digest.get(..64)
    }
}

/// Returns the name of a scope's directory.
pub(super) fn directory_of(table: &str) -> String {
    let name = segment(table);
    if name.len() <= MAX_NAME { name } else { digest_name(table) }
}

/// Whether a suffix is allowed. One that starts with a letter or a digit could look like a part of
/// an escape.
pub(super) fn is_suffix(suffix: &str, plain: bool) -> bool {
    if plain {
        return suffix.len() <= 32 && !suffix.contains(['/', '\0']);
    }
    let begins = suffix.is_empty() || suffix.starts_with(['.', '-', '_']);
    begins
        && suffix.len() <= 32
        && suffix.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

/// Returns the name of a segment, in letters, digits and signs that every file system supports. A
/// leading dot is escaped, since it would hide the file or lead out of the directory.
fn segment(part: &str) -> String {
    if part.is_empty() {
        return EMPTY.to_owned();
    }
    let name = escape(part, is_plain);
    match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name.into_owned(),
    }
}

fn unsegment(name: &str) -> Option<String> {
    match name {
        EMPTY => Some(String::new()),
        name => unescape(name).map(Into::into),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.,=@+~()!".contains(c)
}

/// Returns the name of a long text: its start, for readability, and its SHA-256.
fn digest_name(text: &str) -> String {
    let begin: String = text.chars().take(16).collect();
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{DIGEST}{hex}", segment(&begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(suffix: &str) -> Names {
        Names { suffix: suffix.into(), plain: false }
    }

    /// Released format: existing files must be found under these names.
    #[test]
    fn golden_names() {
        for (key, expected) in [
            ("a1", "a1.json"),
            ("A", "A.json"),
            ("2013-01-31", "2013-01-31.json"),
            ("JFK,LAX", "JFK,LAX.json"),
            ("a/b", "a/b.json"),
            ("a.json/b", "a.jso%6E/b.json"),
            ("a.json", "a.json.json"),
            ("", "%.json"),
            ("a b", "a%20b.json"),
            ("\u{e9}", "%C3%A9.json"),
            (".", "%2E.json"),
            ("..", "%2E..json"),
            ("../a", "%2E./a.json"),
            ("/", "%/%.json"),
            ("/a", "%/a.json"),
            ("%2F", "%252F.json"),
            ("\0", "%00.json"),
        ] {
            let path = names(".json").path(key).unwrap();
            assert_eq!(path.to_text(), expected, "{key}");
            assert_eq!(names(".json").read(&path), Some(Named::Key(key.into())), "{key}");
            assert_eq!(RecordPath::parse(expected), Some(path));
        }
        assert_eq!(names("").path("a/b").unwrap().to_text(), "a%2Fb");
        let long = names(".json").path(&"k/".repeat(1_350)).unwrap();
        assert_eq!(
            long.to_text(),
            "k%2Fk%2Fk%2Fk%2Fk%2Fk%2Fk%2Fk%2F%~00.json"
                .replace("00", "1b7702cda03c3d3d8b42b8a7d8c9c133d3829e34237ab605b2f1abe50f009362")
        );
        assert!(matches!(names(".json").read(&long), Some(Named::Digest(_))));
    }

    #[test]
    fn names_are_unique_and_stay_inside_the_directory() {
        let parts =
            ["", "a", "A", ".", "..", "a.json", ".json", "json", "%", "%2F", " ", "\u{e9}", "~"];
        let long = "k".repeat(300);
        for suffix in [".json", "", "_", ".E"] {
            let mut seen = std::collections::HashMap::new();
            let mut files = std::collections::HashSet::new();
            let mut directories = std::collections::HashSet::new();
            for a in parts {
                for b in parts.iter().map(|b| format!("/{b}")).chain(["".into(), long.clone()]) {
                    let key = format!("{a}{b}");
                    let path = names(suffix).path(&key).unwrap();
                    assert!(RecordPath::parse(&path.to_text()).is_some(), "{key}: {path:?}");
                    assert!(!path.to_text().starts_with('.'), "{key}: {path:?}");
                    match names(suffix).read(&path) {
                        Some(Named::Key(read)) => assert_eq!(read, key),
                        Some(Named::Digest(digest)) => assert_eq!(path.digest(), Some(&*digest)),
                        None => panic!("{key}: {path:?}"),
                    }
                    files.insert(path.to_text());
                    directories.extend(path.directories.first().cloned());
                    let other = seen.insert(path, key.clone());
                    assert!(other.is_none_or(|other| other == key), "{key}");
                }
            }
            assert!(files.is_disjoint(&directories), "{suffix}");
        }
    }

    #[test]
    fn other_files_have_no_key() {
        for path in [
            "a.txt",
            "a b.json",
            "a%2f.json",
            "a%2Fb.json",
            ".a.json",
            "a%~00.json",
            "x.json/b.json",
        ] {
            assert_eq!(names(".json").read(&RecordPath::parse(path).unwrap()), None, "{path}");
        }
        for path in ["", "/", "..", "../a", "a/../b", "./a", "a//b", "a/"] {
            assert_eq!(RecordPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn plain_keys_are_paths_or_refused() {
        let names = Names { suffix: ".json".into(), plain: true };
        for key in ["a", "a b/\u{e9}", ".a", "%2F"] {
            let path = names.path(key).unwrap();
            assert_eq!(path.to_text(), format!("{key}.json"));
            assert_eq!(names.read(&path), Some(Named::Key(key.into())));
        }
        for key in ["", "..", "../a", "a/..", "/a", "a//b", "a/", "\0", &"k".repeat(251)] {
            assert!(names.path(key).is_err(), "{key}");
        }
    }
}
