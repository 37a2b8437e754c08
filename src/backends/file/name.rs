//! The names of files: every key has one, inside the directory of its scope.

use sha2::{Digest, Sha256};

use crate::codec::key::{escape, unescape};
use crate::{Error, Result};

/// No name is longer, on any usual file system.
const MAX_NAME: usize = 255;
/// No key is a path of more parts.
pub(super) const MAX_DEPTH: usize = 8;
/// What stands for a part of a key that is empty. In an escape two digits follow the sign.
const EMPTY: &str = "%";
/// What stands before the digest in the name of a long key.
const DIGEST: &str = "%~";

/// How the keys of a scope are names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) suffix: String,
    /// The key itself is the path, as the Python package has it, without any escape.
    pub(super) plain: bool,
}

/// Where the file of a key is, from the directory of its scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RecordPath {
    pub(super) directories: Vec<String>,
    pub(super) file: String,
}

/// What the name of a file says about its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Key(String),
    /// The key is a long one; this is its digest.
    Digest(String),
}

impl Names {
    /// The path of a key's text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the key itself is to be the
    /// path and cannot.
    pub(super) fn path(&self, key: &str) -> Result<RecordPath> {
        match self.plain {
            true => self.plain_path(key),
            false => Ok(self.escaped_path(key)),
        }
    }

    /// Readable keys are their own names. With a suffix, a slash in a key is one in the path;
    /// without one, a directory could stand where a file belongs.
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

    /// Whether a key can be in a directory of this name.
    pub(super) fn has(&self, directory: &str) -> bool {
        self.plain || unsegment(directory).is_some_and(|part| self.directory(&part) == directory)
    }

    /// A directory never has the name that a file could have.
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
                "with `layout=plain` the key is the path of a file: its parts between slashes are neither empty nor `.` nor `..`, of at most 255 bytes, and at most 8",
            )),
        }
    }

    /// Reads the path of a file back; none where no key has it.
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
    /// Reads a path that stands in the journal, which could be anything.
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

    /// The digest in the name of a long key.
    pub(super) fn digest(&self) -> Option<&str> {
        let (_, digest) = self.file.rsplit_once(DIGEST)?;
        digest.get(..64)
    }
}

/// The name of a scope's directory.
pub(super) fn directory_of(table: &str) -> String {
    let name = segment(table);
    if name.len() <= MAX_NAME { name } else { digest_name(table) }
}

/// Whether names can end so. A suffix that began with a letter or a digit could be taken for a part
/// of an escape.
pub(super) fn is_suffix(suffix: &str, plain: bool) -> bool {
    if plain {
        return suffix.len() <= 32 && !suffix.contains(['/', '\0']);
    }
    let begins = suffix.is_empty() || suffix.starts_with(['.', '-', '_']);
    begins
        && suffix.len() <= 32
        && suffix.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

/// The name of a part of a key, in letters, digits and a few signs that every file system has. A
/// dot at the beginning would hide it, or lead out of the directory.
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

/// A name for a text that is too long for one: how it begins, for people, and its SHA-256.
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

    /// Released: a key must be found under the name that an older release gave it.
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
    fn no_two_keys_share_a_name_and_none_leads_out() {
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
    fn other_files_are_of_no_key() {
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
    fn a_plain_key_is_its_path_or_refused() {
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
