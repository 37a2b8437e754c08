//! Editing of column definitions.
//!
//! `MODIFY COLUMN` replaces the whole definition. Properties that it omits are lost: AUTO_INCREMENT,
//! the default, ON UPDATE, the comment, the collation, INVISIBLE, checks and the SRID. The definition
//! is therefore taken from `SHOW CREATE TABLE`, and only the words of the change are replaced. The
//! session's `sql_mode` guarantees backslash escapes and names in backticks.

use super::EXACT;
use crate::backends::sql::dialect::tokens::{Syntax, name_of, offset, replaced};

const SYNTAX: Syntax = Syntax::Mysql;

/// A change of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit<'a> {
    /// The new type in the engine's spelling, or `None` to keep the type.
    pub(super) ty: Option<&'a str>,
    /// Whether the column changes to `utf8mb4` with an exact collation.
    pub(super) exact: bool,
    pub(super) nullable: bool,
}

/// Returns the definition of a column in the output of `SHOW CREATE TABLE`, without its name. `is`
/// matches the name.
pub(super) fn find(create: &str, is: impl Fn(&str) -> bool) -> Option<&str> {
    let group = SYNTAX.tokens(create).find(|token| token.starts_with('('))?;
    let inside = group.strip_prefix('(')?.strip_suffix(')')?;
    SYNTAX.list(inside).into_iter().find_map(|definition| {
        let name = SYNTAX.tokens(definition).next().filter(|token| token.starts_with('`'))?;
        let rest = &definition[offset(definition, name) + name.len()..];
        is(&name_of(name)).then(|| rest.trim())
    })
}

/// Returns the edited definition.
pub(super) fn edited(definition: &str, edit: &Edit<'_>) -> String {
    let tokens: Vec<&str> = SYNTAX.tokens(definition).collect();
    let (ty, attributes) = tokens.split_at(type_length(&tokens));
    let end = ty.last().map_or(0, |last| offset(definition, last) + last.len());
    let mut new = edit.ty.unwrap_or(&definition[..end]).to_owned();
    if edit.exact {
        new.push_str(&format!(" CHARACTER SET utf8mb4 {EXACT}"));
    }
    let mut edits = vec![(0..end, new)];
    edits.extend(replacements(definition, attributes, edit));
    replaced(definition, &edits)
}

/// Returns the number of tokens of the type.
fn type_length(tokens: &[&str]) -> usize {
    let is_type = |(at, token): &(usize, &&str)| {
        let words = ["unsigned", "zerofill"];
        *at == 0
            || token.starts_with('(')
            || words.iter().any(|word| token.eq_ignore_ascii_case(word))
    };
    tokens.iter().enumerate().take_while(is_type).count()
}

/// Returns the replacements of an edit, in order.
fn replacements(
    definition: &str,
    attributes: &[&str],
    edit: &Edit<'_>,
) -> Vec<(std::ops::Range<usize>, String)> {
    let mut replacements = Vec::new();
    for at in 0..attributes.len() {
        if let Some((tokens, replacement)) = replacement(&attributes[at..], edit) {
            let last = attributes[at + tokens - 1];
            let start = offset(definition, attributes[at]);
            replacements.push((start..offset(definition, last) + last.len(), replacement));
        }
    }
    replacements
}

/// Returns the number of tokens to replace at the start of `ahead`, and their replacement.
fn replacement(ahead: &[&str], edit: &Edit<'_>) -> Option<(usize, String)> {
    let are = |words: &[&str]| {
        ahead.len() >= words.len()
            && words.iter().zip(ahead).all(|(word, token)| token.eq_ignore_ascii_case(word))
    };
    let datetime = edit.ty == Some("datetime(6)");
    let long = edit.ty.is_some_and(|ty| ty.starts_with("long"));
    match ahead {
        [_, _, _, ..] if edit.exact && are(&["character", "set"]) => Some((3, String::new())),
        [_, _, ..] if edit.exact && are(&["collate"]) => Some((2, String::new())),
        _ if edit.nullable && are(&["not", "null"]) => Some((2, "NULL".to_owned())),
        // The precision of the default must match that of the column.
        [_, next @ ..] if datetime && are(&["current_timestamp"]) => {
            let group = next.first().is_some_and(|next| next.starts_with('('));
            Some((1 + usize::from(group), "CURRENT_TIMESTAMP(6)".to_owned()))
        }
        // The default of long texts and bytes must be an expression.
        [_, value, ..] if long && are(&["default"]) && is_literal(value) => {
            Some((2, format!("DEFAULT ({value})")))
        }
        _ => None,
    }
}

fn is_literal(token: &str) -> bool {
    token.starts_with('\'') || token.starts_with("0x")
}

/// Replaces the name of a column in the checks and expressions of a definition.
pub(super) fn renamed(definition: &str, from: &str, to: &str) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let from = quoted(from).to_lowercase();
    let found = SYNTAX.all_tokens(definition).filter(|token| token.to_lowercase() == from);
    let edits = found.map(|token| {
        let start = offset(definition, token);
        (start..start + token.len(), quoted(to))
    });
    replaced(definition, &edits.collect::<Vec<_>>())
}

/// Returns whether a statement contains a name, as a word or in backticks.
pub(super) fn mentions(statement: &str, name: &str) -> bool {
    let lower = name.to_lowercase();
    let quoted = format!("`{}`", lower.replace('`', "``"));
    SYNTAX.all_tokens(statement).any(|token| {
        let token = token.to_lowercase();
        token == lower || token == quoted
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    const CREATE: &str = "CREATE TABLE `a (b, c)` (
  `id` int NOT NULL AUTO_INCREMENT COMMENT 'one, \\'two'' (three',
  `x``y` varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL DEFAULT 'a,(b' COMMENT 'x' /*!80023 INVISIBLE */,
  `at` timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  `up` timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  `n` int(5) unsigned zerofill NOT NULL DEFAULT 00007,
  `f` int NOT NULL DEFAULT (floor((1 + 2))) CHECK (`f` > 0),
  `g` int GENERATED ALWAYS AS ((`f` * 2)) VIRTUAL,
  PRIMARY KEY (`id`,`f`)
) ENGINE=InnoDB COMMENT='(,'";

    fn edit(name: &str, edit: Edit<'_>) -> String {
        edited(find(CREATE, |known| known == name).unwrap(), &edit)
    }

    #[test]
    fn an_edit_keeps_all_other_words() {
        let wider = |ty| Edit { ty: Some(ty), exact: false, nullable: false };
        let null = Edit { ty: None, exact: false, nullable: true };
        assert_eq!(
            edit("id", wider("bigint")),
            "bigint NOT NULL AUTO_INCREMENT COMMENT 'one, \\'two'' (three'"
        );
        assert_eq!(
            edit("x`y", null),
            "varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci NULL DEFAULT 'a,(b' COMMENT 'x' /*!80023 INVISIBLE */"
        );
        assert_eq!(
            edit("x`y", Edit { exact: true, ..wider("longtext") }),
            format!(
                "longtext CHARACTER SET utf8mb4 {EXACT}   NOT NULL DEFAULT ('a,(b') COMMENT 'x' /*!80023 INVISIBLE */"
            )
        );
        for (name, before) in [("at", "NULL"), ("up", "NOT NULL")] {
            assert_eq!(
                edit(name, wider("datetime(6)")),
                format!(
                    "datetime(6) {before} DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
                )
            );
        }
        assert_eq!(
            edit("up", null),
            "timestamp NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()"
        );
        assert_eq!(edit("n", null), "int(5) unsigned zerofill NULL DEFAULT 00007");
        assert_eq!(
            edit("f", wider("bigint")),
            "bigint NOT NULL DEFAULT (floor((1 + 2))) CHECK (`f` > 0)"
        );
        assert_eq!(find(CREATE, |name| name == "PRIMARY"), None);
    }

    #[test]
    fn a_check_uses_the_new_name() {
        assert_eq!(
            renamed("int DEFAULT '`a`' CHECK ((`A` > 0))", "a", "b`c"),
            "int DEFAULT '`a`' CHECK ((`b``c` > 0))"
        );
    }

    #[test]
    fn names_in_a_statement_are_found() {
        let body = "BEGIN SET NEW.x = (`Old` + 'other'); END";
        assert!(mentions(body, "old") && !mentions(body, "other") && !mentions(body, "ol"));
        assert!(mentions("SET NEW.x = 1", "X"));
    }
}
