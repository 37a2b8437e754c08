//! Editing of a `CREATE TABLE` statement.
//!
//! Only the words of the change are replaced, so that a rebuilt table keeps the properties that
//! another program defined: checks, collations, defaults, references, AUTOINCREMENT, STRICT and
//! WITHOUT ROWID.

use std::ops::Range;

use crate::backends::sql::dialect::tokens::{Syntax, name_of, offset, replaced};

const SYNTAX: Syntax = Syntax::Sqlite;

/// The words that follow the type of a column.
const CONSTRAINTS: [&str; 10] = [
    "CONSTRAINT",
    "PRIMARY",
    "NOT",
    "NULL",
    "UNIQUE",
    "CHECK",
    "DEFAULT",
    "COLLATE",
    "REFERENCES",
    "GENERATED",
];
/// The first words of table constraints.
const TABLE_CONSTRAINTS: [&str; 5] = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];

/// A change of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edit {
    pub(super) column: String,
    /// The new type, or `None` to keep the type.
    pub(super) ty: Option<String>,
    pub(super) nullable: bool,
}

/// A parsed `CREATE TABLE`.
#[derive(Debug)]
pub(super) struct CreateTable<'a> {
    sql: &'a str,
    /// The name of the table.
    name: &'a str,
    /// The definitions of the columns.
    columns: Vec<&'a str>,
    /// The words after the definitions.
    options: Vec<&'a str>,
}

fn is(token: &str, word: &str) -> bool {
    token.eq_ignore_ascii_case(word)
}

impl<'a> CreateTable<'a> {
    /// Parses a statement. Returns `None` for one without column definitions.
    pub(super) fn parse(sql: &'a str) -> Option<Self> {
        let mut tokens = SYNTAX.tokens(sql);
        let [create, table, name, group] = [(); 4].map(|()| tokens.next().unwrap_or_default());
        let inside = group.strip_prefix('(')?.strip_suffix(')')?;
        let of_column = |definition: &&str| {
            let first = SYNTAX.tokens(definition).next().unwrap_or_default();
            !TABLE_CONSTRAINTS.iter().any(|word| is(first, word))
        };
        let columns = SYNTAX.list(inside).into_iter().take_while(of_column).collect();
        let options = tokens.collect();
        (is(create, "create") && is(table, "table")).then_some(Self { sql, name, columns, options })
    }

    /// Returns whether the table is STRICT.
    pub(super) fn is_strict(&self) -> bool {
        self.options.iter().any(|word| is(word, "strict"))
    }

    /// Returns whether the rows have row ids.
    pub(super) fn has_rowid(&self) -> bool {
        !self.options.iter().any(|word| is(word, "without"))
    }

    /// Returns whether row ids are never reused.
    pub(super) fn has_autoincrement(&self) -> bool {
        self.columns
            .iter()
            .any(|definition| SYNTAX.tokens(definition).any(|word| is(word, "autoincrement")))
    }

    /// Returns the statement with another table name, edited columns and added columns, or `None` if
    /// an edited column is not found.
    pub(super) fn edited(&self, name: &str, edits: &[Edit], added: &[String]) -> Option<String> {
        let at = |part: &str| offset(self.sql, part)..offset(self.sql, part) + part.len();
        let mut ranges = vec![(at(self.name), name.to_owned())];
        for edit in edits {
            let named = |definition: &&&str| {
                let name = SYNTAX.tokens(definition).next().map(name_of).unwrap_or_default();
                is(&name, &edit.column)
            };
            let definition = self.columns.iter().find(named)?;
            for (range, replacement) in changes(definition, edit) {
                let start = offset(self.sql, definition);
                ranges.push((start + range.start..start + range.end, replacement));
            }
        }
        let end = SYNTAX.tokens(self.columns.last()?).last()?;
        let end = at(end).end;
        ranges.extend(added.iter().map(|column| (end..end, format!(",\n  {column}"))));
        ranges.sort_by_key(|(range, _)| range.start);
        Some(replaced(self.sql, &ranges))
    }
}

/// Returns the replacements of an edit in the definition of a column.
fn changes(definition: &str, edit: &Edit) -> Vec<(Range<usize>, String)> {
    let tokens: Vec<&str> = SYNTAX.tokens(definition).collect();
    let end = |token: &str| offset(definition, token) + token.len();
    let mut changes = Vec::new();
    if let (Some(ty), Some(name)) = (&edit.ty, tokens.first()) {
        let last = tokens.iter().take_while(|token| !ends_type(token)).last().unwrap_or(name);
        changes.push((end(name)..end(last), format!(" {ty}")));
    }
    if edit.nullable {
        let ranges = not_null(&tokens).into_iter();
        changes.extend(ranges.map(|range| {
            let (first, last) = (tokens[range.start], tokens[range.end - 1]);
            (end(tokens[range.start - 1]).min(offset(definition, first))..end(last), String::new())
        }));
    }
    changes
}

fn ends_type(token: &str) -> bool {
    CONSTRAINTS.iter().any(|word| is(token, word)) || is(token, "AS")
}

/// Returns the token ranges of NOT NULL constraints, including their names and conflict clauses.
fn not_null(tokens: &[&str]) -> Vec<Range<usize>> {
    let are = |at: usize, words: &[&str]| {
        words.iter().enumerate().all(|(n, word)| tokens.get(at + n).is_some_and(|t| is(t, word)))
    };
    let found = (1..tokens.len()).filter(|&at| are(at, &["not", "null"]));
    let constraints = found.map(|at| {
        let named = at >= 3 && is(tokens[at - 2], "constraint");
        let conflict = are(at + 2, &["on", "conflict"]) && tokens.len() > at + 4;
        at - if named { 2 } else { 0 }..at + if conflict { 5 } else { 2 }
    });
    constraints.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    const SQL: &str = "CREATE TABLE [my \"table] (
  id TEXT PRIMARY KEY, -- the key, (first
  `a b` varying character (20, 3) CONSTRAINT c NOT NULL ON CONFLICT ABORT DEFAULT 'x,(y' COLLATE NOCASE,
  bare,
  \"n\" INT CHECK (n IS NOT NULL AND n > 0) NOT NULL REFERENCES t (id) NOT DEFERRABLE /* , */,
  g AS (n + 1) STORED, UNIQUE (n), CHECK (bare <> 'NOT NULL')
) STRICT, WITHOUT ROWID";

    fn edit(column: &str, ty: Option<&str>, nullable: bool) -> Edit {
        Edit { column: column.to_owned(), ty: ty.map(str::to_owned), nullable }
    }

    #[test]
    fn an_edit_keeps_all_other_words() {
        let created = CreateTable::parse(SQL).unwrap();
        assert!(created.is_strict() && !created.has_rowid() && !created.has_autoincrement());
        assert_eq!(created.columns.len(), 5);
        assert_eq!(created.edited("[my \"table]", &[], &[]).unwrap(), SQL);
        let edits = [
            edit("N", None, true),
            edit("A B", Some("TEXT"), true),
            edit("bare", Some("BLOB"), false),
        ];
        let edited = created.edited("\"new\"", &edits, &["x TEXT".to_owned()]).unwrap();
        let expected = SQL
            .replace("[my \"table]", "\"new\"")
            .replace("varying character (20, 3) CONSTRAINT c NOT NULL ON CONFLICT ABORT", "TEXT")
            .replace("bare,\n", "bare BLOB,\n")
            .replace(" > 0) NOT NULL REF", " > 0) REF")
            .replace("STORED, UNIQUE", "STORED,\n  x TEXT, UNIQUE");
        assert_eq!(edited, expected);
        assert_eq!(created.edited("x", &[edit("other", None, true)], &[]), None);
    }

    #[test]
    fn a_virtual_table_is_not_parsed() {
        assert!(CreateTable::parse("CREATE VIRTUAL TABLE a USING fts5 (b)").is_none());
        assert!(
            CreateTable::parse("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)")
                .unwrap()
                .has_autoincrement()
        );
    }
}
