//! The statement that made a table, with a few words changed and all others kept: what another
//! program wrote into it (checks, collations, defaults, references, AUTOINCREMENT, STRICT, whether the
//! table has row numbers) is in the table that is made anew.

use std::ops::Range;

use crate::backends::sql::dialect::tokens::{Syntax, name_of, offset, replaced};

const SYNTAX: Syntax = Syntax::Sqlite;

/// The words that end the type of a column.
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
/// The words that constraints of a table begin with.
const OF_TABLES: [&str; 5] = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edit {
    pub(super) column: String,
    /// Its type; none where it stays.
    pub(super) ty: Option<String>,
    pub(super) nullable: bool,
}

/// A `CREATE TABLE`, in its parts.
#[derive(Debug)]
pub(super) struct Created<'a> {
    sql: &'a str,
    /// The name of the table.
    name: &'a str,
    /// The definitions of the columns.
    columns: Vec<&'a str>,
    /// The words behind the definitions.
    options: Vec<&'a str>,
}

fn is(token: &str, word: &str) -> bool {
    token.eq_ignore_ascii_case(word)
}

impl<'a> Created<'a> {
    /// None where it is not a statement of columns.
    pub(super) fn parse(sql: &'a str) -> Option<Self> {
        let mut tokens = SYNTAX.tokens(sql);
        let [create, table, name, group] = [(); 4].map(|()| tokens.next().unwrap_or_default());
        let inside = group.strip_prefix('(')?.strip_suffix(')')?;
        let of_column = |definition: &&str| {
            let first = SYNTAX.tokens(definition).next().unwrap_or_default();
            !OF_TABLES.iter().any(|word| is(first, word))
        };
        let columns = SYNTAX.list(inside).into_iter().take_while(of_column).collect();
        let options = tokens.collect();
        (is(create, "create") && is(table, "table")).then_some(Self { sql, name, columns, options })
    }

    /// Whether the table takes values of the declared types alone.
    pub(super) fn is_strict(&self) -> bool {
        self.options.iter().any(|word| is(word, "strict"))
    }

    /// Whether the table numbers its rows.
    pub(super) fn has_rowid(&self) -> bool {
        !self.options.iter().any(|word| is(word, "without"))
    }

    /// Whether its numbers are never used again.
    pub(super) fn counts_on(&self) -> bool {
        self.columns
            .iter()
            .any(|definition| SYNTAX.tokens(definition).any(|word| is(word, "autoincrement")))
    }

    /// The statement under another name, with these edits and columns; none where a column is not
    /// found in it.
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

/// What an edit changes in the definition of a column.
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

/// The constraints of a column that it is not NULL: the tokens, with a name and what is done on
/// a conflict.
fn not_null(tokens: &[&str]) -> Vec<Range<usize>> {
    let are = |at: usize, words: &[&str]| {
        words.iter().enumerate().all(|(n, word)| tokens.get(at + n).is_some_and(|t| is(t, word)))
    };
    let found = (1..tokens.len()).filter(|&at| are(at, &["not", "null"]));
    let whole = found.map(|at| {
        let named = at >= 3 && is(tokens[at - 2], "constraint");
        let conflict = are(at + 2, &["on", "conflict"]) && tokens.len() > at + 4;
        at - if named { 2 } else { 0 }..at + if conflict { 5 } else { 2 }
    });
    whole.collect()
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
    fn only_the_words_concerned_change() {
        let created = Created::parse(SQL).unwrap();
        assert!(created.is_strict() && !created.has_rowid() && !created.counts_on());
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
    fn a_virtual_table_is_none() {
        assert!(Created::parse("CREATE VIRTUAL TABLE a USING fts5 (b)").is_none());
        assert!(
            Created::parse("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)")
                .unwrap()
                .counts_on()
        );
    }
}
