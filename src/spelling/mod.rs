//! The spellings that the library and its macros share: column types, durations and suggestions.
//!
//! `derive/src/spelling` is a symbolic link to this folder, so both crates are compiled from the
//! same source. The code here uses nothing else of either crate.

pub(crate) mod column_type;
pub(crate) mod duration;

/// Returns the end of a message that suggests the candidate most similar to `given`, or an empty
/// text if none is similar.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 2)
        .min()
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near() {
        assert_eq!(did_you_mean("colums", ["columns", "table"]), "; did you mean `columns`?");
        assert_eq!(did_you_mean("zebra", ["columns", "table"]), "");
    }
}
