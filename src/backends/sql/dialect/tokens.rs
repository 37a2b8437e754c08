//! A tokenizer of SQL definitions that returns slices of the text, so that a part of a definition
//! can be changed and the rest kept verbatim.

/// The quoting rules of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// A backslash in a string escapes the next character.
    #[cfg(feature = "mysql")]
    Mysql,
    /// Names can be quoted in brackets.
    #[cfg(feature = "sqlite")]
    Sqlite,
}

impl Syntax {
    fn escapes(self) -> bool {
        match self {
            #[cfg(feature = "mysql")]
            Self::Mysql => true,
            #[cfg(feature = "sqlite")]
            Self::Sqlite => false,
        }
    }

    /// Returns the tokens of a text without comments: words, quoted names and strings, groups in
    /// parentheses, and single other characters.
    pub(super) fn tokens(self, text: &str) -> impl Iterator<Item = &str> {
        self.each(text, true)
    }

    /// Returns the tokens of a text, with parentheses and the tokens in groups as separate tokens.
    #[cfg(feature = "mysql")]
    pub(super) fn all_tokens(self, text: &str) -> impl Iterator<Item = &str> {
        self.each(text, false)
    }

    fn each(self, text: &str, groups: bool) -> impl Iterator<Item = &str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            rest = self.skip_blank(rest);
            let length = self.length(rest, groups);
            let (token, after) = rest.split_at_checked(length).filter(|_| length > 0)?;
            rest = after;
            Some(token)
        })
    }

    /// Skips white space and comments.
    fn skip_blank(self, text: &str) -> &str {
        let mut rest = text.trim_start();
        while let Some(length) = self.comment(rest) {
            rest = rest[length..].trim_start();
        }
        rest
    }

    /// Returns the length of a comment at the start of a text.
    fn comment(self, text: &str) -> Option<usize> {
        let line = if self.escapes() { "-- " } else { "--" };
        let end = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
        match () {
            () if text.starts_with("/*") => Some(end("*/")),
            () if text.starts_with(line) => Some(end("\n")),
            () => None,
        }
    }

    /// Returns the length of the token at the start of a text.
    fn length(self, text: &str, groups: bool) -> usize {
        let Some(first) = text.chars().next() else { return 0 };
        match first {
            '\'' | '"' | '`' => self.quoted(text, first),
            '[' if !self.escapes() => text.find(']').map_or(text.len(), |end| end + 1),
            '(' if groups => self.group(text),
            first if is_word(first) => text.find(|c| !is_word(c)).unwrap_or(text.len()),
            other => other.len_utf8(),
        }
    }

    /// Returns the length of a quoted token, in which a doubled quote is an escaped quote.
    fn quoted(self, text: &str, quote: char) -> usize {
        let mut rest = text.char_indices().skip(1).peekable();
        while let Some((at, character)) = rest.next() {
            match character {
                '\\' if self.escapes() && quote != '`' => drop(rest.next()),
                other if other == quote => match rest.peek() {
                    Some((_, next)) if *next == quote => drop(rest.next()),
                    _ => return at + quote.len_utf8(),
                },
                _ => {}
            }
        }
        text.len()
    }

    /// Returns the length of a group with its content.
    fn group(self, text: &str) -> usize {
        let mut rest = &text[1..];
        loop {
            rest = self.skip_blank(rest);
            match rest.starts_with(')') {
                _ if rest.is_empty() => return text.len(),
                true => return offset(text, rest) + 1,
                false => rest = &rest[self.length(rest, true)..],
            }
        }
    }

    /// Splits a text at its top-level commas.
    pub(super) fn list(self, text: &str) -> Vec<&str> {
        let mut parts = Vec::new();
        let mut start = 0;
        for comma in self.tokens(text).filter(|token| *token == ",") {
            let at = offset(text, comma);
            parts.push(&text[start..at]);
            start = at + 1;
        }
        parts.push(&text[start..]);
        parts
    }
}

/// Returns the byte offset of a part of a text.
pub(super) fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// Returns the unquoted name of a token.
pub(super) fn name_of(token: &str) -> String {
    let Some(quote @ ('\'' | '"' | '`' | '[')) = token.chars().next() else {
        return token.to_owned();
    };
    let inside = token.get(1..token.len() - 1).unwrap_or_default();
    match quote {
        '[' => inside.to_owned(),
        quote => inside.replace(&format!("{quote}{quote}"), &quote.to_string()),
    }
}

/// Replaces ranges of a text, in order. Of two overlapping ranges the first is replaced.
pub(super) fn replaced(text: &str, edits: &[(std::ops::Range<usize>, String)]) -> String {
    let (mut result, mut at) = (String::new(), 0);
    for (range, replacement) in edits {
        let Some(between) = text.get(at..range.start) else { continue };
        result.push_str(between);
        result.push_str(replacement);
        at = range.end;
    }
    result.push_str(&text[at..]);
    result
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$' | '@')
}
