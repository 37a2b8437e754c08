//! The tokens of a SQL statement, as parts of its text: enough to change a few words of a
//! definition and keep all others as they were written.

/// How an engine quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// A backslash in a text escapes the character behind it.
    #[cfg(feature = "mysql")]
    Mysql,
    /// Names can be in brackets.
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

    /// The words, quoted names and texts, groups in parentheses and other characters of a text,
    /// without comments.
    pub(super) fn tokens(self, text: &str) -> impl Iterator<Item = &str> {
        self.each(text, true)
    }

    /// The same with the tokens in groups, and the parentheses, one by one.
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

    /// A text from its first token on.
    fn skip_blank(self, text: &str) -> &str {
        let mut rest = text.trim_start();
        while let Some(length) = self.comment(rest) {
            rest = rest[length..].trim_start();
        }
        rest
    }

    /// How long the comment is that a text begins with.
    fn comment(self, text: &str) -> Option<usize> {
        let line = if self.escapes() { "-- " } else { "--" };
        let end = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
        match () {
            () if text.starts_with("/*") => Some(end("*/")),
            () if text.starts_with(line) => Some(end("\n")),
            () => None,
        }
    }

    /// How long the token is that a text begins with.
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

    /// A quoted part: a doubled quote in it is one.
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

    /// A group with all that is in it.
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

    /// The parts of a list between commas.
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

/// Where a part of a text begins in it.
pub(super) fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// The name that a token is, quoted or not.
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

/// A text of which ranges, in their order, became others. Of two that overlap the first counts.
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
