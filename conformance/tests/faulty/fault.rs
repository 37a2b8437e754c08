//! The faults, and what they do to keys and values.

use hilcat::Value;

/// Defines the enum of faults, and the list of all of them.
macro_rules! faults {
    ($($fault:ident),* $(,)?) => {
        /// The fault of a store.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault {
            None,
            /// No fault either: expiry is a capability that a store may lack.
            LacksExpiry,
            $($fault),*
        }

        /// All faults.
        pub(crate) const FAULTS: &[Fault] = &[$(Fault::$fault),*];
    };
}
faults! {
    // Keys.
    TrimsKeys, LowersKeys, ComposesKeys, JoinsKeys, TruncatesKeys,
    // Values.
    LosesNull, ReadsEmptyAsNull, TrimsText, ReadsNumbersInText, WrapsUnsigned, RoundsIntegers,
    RoundsFloats, DropsTheSignOfZero, TruncatesMicroseconds, TruncatesText,
    // Writes of one record.
    IgnoresPartialSets, SetsNullForAbsent, KeepsTheFirstWrite, ReturnsTheNewRecord, IsNotAtomic,
    // Conditional inserts.
    InsertsOverRecords, ReturnsTheRefusedRecord, InsertsInTwoSteps, InsertsManyOverRecords,
    // Removals.
    ForgetsPop, PopReturnsNothing, ClearsNothing,
    // Batches.
    DropsTheLastOfABatch, StoresTheFirstOfDuplicates, StoresBatchesInPart, SortsFetchMany,
    SkipsMissing, PopsOneKeyTwice,
    // Listings.
    ListsAPage, ListsTwice, RefusesWritesWhileListing, CountsOneTooMany,
    // Scopes and schemas.
    MixesScopes, HidesScopes, ForgetsOnUpgrade, AcceptsAnySchema, PlansNothing,
}

/// Applies the fault to a value of a key.
pub(crate) fn spoil_key(fault: Fault, value: Value) -> Value {
    match (fault, value) {
        (Fault::TrimsKeys, Value::Text(text)) => text.trim_end_matches(' ').into(),
        (Fault::LowersKeys, Value::Text(text)) => text.to_lowercase().into(),
        (Fault::ComposesKeys, Value::Text(text)) => text.replace("e\u{301}", "\u{e9}").into(),
        (Fault::TruncatesKeys, Value::Text(text)) => {
            text.chars().take(255).collect::<String>().into()
        }
        (_, value) => value,
    }
}

/// Applies the fault to a value outside the key.
pub(crate) fn spoil_value(fault: Fault, value: Value, nullable: bool) -> Value {
    match (fault, value) {
        (Fault::LosesNull, Value::Null) => Value::Absent,
        (Fault::SetsNullForAbsent, Value::Absent) if nullable => Value::Null,
        (Fault::ReadsEmptyAsNull, Value::Text(text)) if text.is_empty() && nullable => Value::Null,
        (Fault::TrimsText, Value::Text(text)) => text.trim_end().into(),
        (Fault::TruncatesText, Value::Text(text)) => {
            text.chars().take(65_535).collect::<String>().into()
        }
        (Fault::ReadsNumbersInText, Value::Text(text)) => match text.parse::<i64>() {
            Ok(number) => number.to_string().into(),
            Err(_) => text.into(),
        },
        (Fault::WrapsUnsigned, Value::UInt(value)) => Value::UInt(value & i64::MAX as u64),
        (Fault::RoundsIntegers, Value::Int(value)) => Value::Int(value as f64 as i64),
        (Fault::RoundsFloats, Value::Float(value)) => {
            Value::Float(format!("{value:.15e}").parse().unwrap_or(value))
        }
        (Fault::DropsTheSignOfZero, Value::Float(value)) => Value::Float(value + 0.0),
        (Fault::TruncatesMicroseconds, Value::Timestamp(value)) => {
            Value::Timestamp(value.div_euclid(1_000) * 1_000)
        }
        (_, value) => value,
    }
}
