//! A column's definition with a part of it changed, and all else kept that others gave it.
//!
//! `MODIFY COLUMN` takes a whole definition: what it does not name is gone, be it AUTO_INCREMENT, a
//! default, ON UPDATE, a comment, a collation, INVISIBLE, a check or an SRID. So the definition
//! is taken from `SHOW CREATE TABLE`, word for word, and only the words concerned are changed.
//! The session's `sql_mode` leaves backslashes as escapes and names in backticks.

use crate::backends::sql::dialect::mysql::EXACT;

/// What becomes of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit<'a> {
    /// Its type as the engine spells it; none where it stays.
    pub(super) ty: Option<&'a str>,
    /// Whether its text becomes `utf8mb4` under an exact collation.
    pub(super) exact: bool,
    pub(super) nullable: bool,
}

/// The definition of a column in the statement that `SHOW CREATE TABLE` gives, without its name.
/// `is` tells the column by its name.
pub(super) fn find(create: &str, is: impl Fn(&str) -> bool) -> Option<&str> {
    let definitions = split(create)?.into_iter().map(str::trim);
    let mut named = definitions.filter_map(|text| {
        let end = Token::first(text).filter(|token| token.0.starts_with('`'))?.0.len();
        let name = text[1..end - 1].replace("``", "`");
        Some((name, text[end..].trim()))
    });
    named.find(|(name, _)| is(name)).map(|(_, rest)| rest)
}

/// The definitions between the outer parentheses.
fn split(create: &str) -> Option<Vec<&str>> {
    let group = Token::all(create).find(|token| token.0.starts_with('('))?;
    let inside = group.0.strip_prefix('(')?.strip_suffix(')')?;
    let mut parts = Vec::new();
    let mut start = 0;
    for Token(comma) in Token::all(inside).filter(|token| token.0 == ",") {
        let at = offset(inside, comma);
        parts.push(&inside[start..at]);
        start = at + 1;
    }
    parts.push(&inside[start..]);
    Some(parts)
}

/// The definition as it is after an edit.
pub(super) fn edited(definition: &str, edit: &Edit<'_>) -> String {
    let tokens: Vec<&str> = Token::all(definition).map(|token| token.0).collect();
    let (ty, attributes) = tokens.split_at(type_length(&tokens));
    let after_type = ty.last().map_or(0, |last| offset(definition, last) + last.len());
    let mut text = edit.ty.unwrap_or(&definition[..after_type]).to_owned();
    if edit.exact {
        text.push_str(&format!(" CHARACTER SET utf8mb4 {EXACT}"));
    }
    let mut at = after_type;
    for (range, replacement) in replacements(definition, attributes, edit) {
        // Of two that overlap, the first one has seen to all.
        let Some(between) = definition.get(at..range.start) else { continue };
        text.push_str(between);
        text.push_str(&replacement);
        at = range.end;
    }
    text.push_str(&definition[at..]);
    text
}

/// Where a part of a text begins in it.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// How many tokens are the type.
fn type_length(tokens: &[&str]) -> usize {
    let is_type = |(at, token): &(usize, &&str)| {
        let words = ["unsigned", "zerofill"];
        *at == 0
            || token.starts_with('(')
            || words.iter().any(|word| token.eq_ignore_ascii_case(word))
    };
    tokens.iter().enumerate().take_while(is_type).count()
}

/// The parts of a definition that become others, in their order.
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

/// How many of the tokens ahead become another text.
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
        // The current time has as many digits as the column.
        [_, next @ ..] if datetime && are(&["current_timestamp"]) => {
            let group = next.first().is_some_and(|next| next.starts_with('('));
            Some((1 + usize::from(group), "CURRENT_TIMESTAMP(6)".to_owned()))
        }
        // A literal can be the default of long texts and bytes only as an expression.
        [_, value, ..] if long && are(&["default"]) && is_literal(value) => {
            Some((2, format!("DEFAULT ({value})")))
        }
        _ => None,
    }
}

fn is_literal(token: &str) -> bool {
    token.starts_with('\'') || token.starts_with("0x")
}

/// A definition in whose checks and expressions a column has another name.
pub(super) fn renamed(definition: &str, from: &str, to: &str) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let (from, to) = (quoted(from).to_lowercase(), quoted(to));
    let (mut text, mut at) = (String::new(), 0);
    for Token(token) in Token::everywhere(definition) {
        let start = offset(definition, token);
        let token_or_name = if token.to_lowercase() == from { &to } else { token };
        text.push_str(&definition[at..start]);
        text.push_str(token_or_name);
        at = start + token.len();
    }
    text + &definition[at..]
}

/// Whether a statement has this name, as a word or in backticks.
pub(super) fn mentions(statement: &str, name: &str) -> bool {
    let lower = name.to_lowercase();
    let quoted = format!("`{}`", lower.replace('`', "``"));
    Token::everywhere(statement).any(|Token(token)| {
        let token = token.to_lowercase();
        token == lower || token == quoted
    })
}

/// A word, a quoted name or text, a group in parentheses, a comment or another character.
#[derive(Debug, Clone, Copy)]
struct Token<'a>(&'a str);

impl<'a> Token<'a> {
    /// The tokens of a text, groups as one.
    fn all(text: &'a str) -> impl Iterator<Item = Self> {
        Self::each(text, true)
    }

    /// The tokens of a text and of the groups in it.
    fn everywhere(text: &'a str) -> impl Iterator<Item = Self> {
        Self::each(text, false)
    }

    fn each(text: &'a str, groups: bool) -> impl Iterator<Item = Self> {
        let mut rest = text;
        std::iter::from_fn(move || {
            rest = rest.trim_start();
            let length = length(rest, groups);
            let (token, after) = rest.split_at_checked(length).filter(|_| length > 0)?;
            rest = after;
            Some(Self(token))
        })
    }

    fn first(text: &'a str) -> Option<Self> {
        Self::all(text).next()
    }
}

/// How long the token is that a text begins with.
fn length(text: &str, groups: bool) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    match first {
        '\'' | '"' | '`' => quoted(text, first),
        '(' if groups => group(text),
        '/' if text.starts_with("/*") => text.find("*/").map_or(text.len(), |end| end + 2),
        first if is_word(first) => text.find(|c| !is_word(c)).unwrap_or(text.len()),
        other => other.len_utf8(),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$' | '@' | '.')
}

/// A quoted part: a doubled quote is one, and so is one behind a backslash but in a name.
fn quoted(text: &str, quote: char) -> usize {
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = rest.next() {
        match character {
            '\\' if quote != '`' => drop(rest.next()),
            other if other == quote => match rest.peek() {
                Some((_, next)) if *next == quote => drop(rest.next()),
                _ => return at + quote.len_utf8(),
            },
            _ => {}
        }
    }
    text.len()
}

/// A group with all that is in it.
fn group(text: &str) -> usize {
    let mut at = 1;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        match rest.starts_with(')') {
            true => return at + 1,
            false => at += length(rest, true).max(1),
        }
    }
    text.len()
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
    fn only_what_is_asked_for_changes() {
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
    fn a_check_follows_the_name() {
        assert_eq!(
            renamed("int DEFAULT '`a`' CHECK ((`A` > 0))", "a", "b`c"),
            "int DEFAULT '`a`' CHECK ((`b``c` > 0))"
        );
    }

    #[test]
    fn a_name_is_found_in_a_statement() {
        let body = "BEGIN SET NEW.x = (`Old` + 'other'); END";
        assert!(mentions(body, "old") && !mentions(body, "other") && !mentions(body, "ol"));
        assert!(mentions("SET NEW.x = 1", "NEW.x"));
    }
}
