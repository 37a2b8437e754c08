//! SQL types for Diesel whose storage differs between engines.
//!
//! `#[scope(diesel)]` generates a Diesel table for a struct. Most of its columns have Diesel's own
//! SQL types. Each engine stores the types in this module differently, and any one of Diesel's types
//! would be read or compared wrongly on some engine.
//!
//! In an expression, wrap the value for such a column in [`value`]:
//! `events::at.gt(value(chrono::Utc::now()))`.
//!
//! SQLite stores [`DecimalOf`] and [`UBigInt`] as text: there they can be compared for equality, but
//! neither ordered nor summed. MySQL stores a key text that is too long for an index as its beginning
//! and a digest, which is what Diesel reads.

use diesel::query_builder::QueryId;
use diesel::sql_types::{
    self as of_diesel, HasSqlType, Nullable, SingleValue, SqlOrd, SqlType, TypeMetadata,
    is_nullable,
};

pub use super::column_value::Cell;
use crate::{ColumnType, ColumnValue};

/// Declares SQL types, with the Diesel type by which each engine stores them.
macro_rules! sql_types {
    ($($(#[$doc:meta])* $name:ident $({$($param:ident),*})?,
        sqlite: $sqlite:ty, postgresql: $postgresql:ty, mysql: $mysql:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name $(<$(const $param: u16),*>)?;

        impl $(<$(const $param: u16),*>)? SqlType for $name $(<$($param),*>)? {
            type IsNull = is_nullable::NotNull;
        }
        impl $(<$(const $param: u16),*>)? SingleValue for $name $(<$($param),*>)? {}
        impl $(<$(const $param: u16),*>)? SqlOrd for $name $(<$($param),*>)? {}
        impl $(<$(const $param: u16),*>)? QueryId for $name $(<$($param),*>)? {
            type QueryId = Self;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        stored_as!("sqlite", diesel::sqlite::Sqlite, $sqlite, $name $({$($param),*})?);
        stored_as!("postgresql", diesel::pg::Pg, $postgresql, $name $({$($param),*})?);
        stored_as!("mysql", diesel::mysql::Mysql, $mysql, $name $({$($param),*})?);
    )*};
}

/// Declares the Diesel type by which an engine stores a SQL type of this module.
macro_rules! stored_as {
    ($feature:literal, $engine:ty, $stored:ty, $name:ident $({$($param:ident),*})?) => {
        #[cfg(feature = $feature)]
        impl $(<$(const $param: u16),*>)? HasSqlType<$name $(<$($param),*>)?> for $engine {
            fn metadata(
                lookup: &mut <Self as TypeMetadata>::MetadataLookup,
            ) -> <Self as TypeMetadata>::TypeMetadata {
                <Self as HasSqlType<$stored>>::metadata(lookup)
            }
        }
    };
}

sql_types! {
    /// A point in time, in UTC.
    UtcTimestamp, sqlite: of_diesel::Text, postgresql: of_diesel::Timestamptz,
        mysql: of_diesel::Datetime;
    /// A UUID.
    Uuid, sqlite: of_diesel::Binary, postgresql: of_diesel::Uuid, mysql: of_diesel::Binary;
    /// A decimal number of `P` digits, `S` of them after the decimal point.
    DecimalOf {P, S}, sqlite: of_diesel::Text, postgresql: of_diesel::Numeric,
        mysql: of_diesel::Numeric;
    /// A JSON value.
    Json, sqlite: of_diesel::Text, postgresql: of_diesel::Jsonb, mysql: of_diesel::Json;
    /// A 64-bit unsigned integer.
    UBigInt, sqlite: of_diesel::Text, postgresql: of_diesel::Numeric,
        mysql: of_diesel::Unsigned<of_diesel::BigInt>;
}

/// Converts a value to an expression of the SQL type that a column of its Rust type has, nullable or
/// not: `events::at.gt(value(chrono::Utc::now()))`.
///
/// The SQL types of this module need this, and so does any type of your own that implements
/// [`ColumnValue`]. Diesel accepts values of the usual types without it.
pub fn value(value: impl ColumnValue) -> Cell {
    Cell::new(value.into_value())
}

/// The SQL type of a column whose [`ColumnType`] is known.
pub trait Typed: SqlType + SingleValue {
    /// The type of the column.
    const TYPE: ColumnType;
}

impl<ST: Typed<IsNull = is_nullable::NotNull>> Typed for Nullable<ST> {
    const TYPE: ColumnType = ST::TYPE;
}

macro_rules! typed {
    ($($sql:ty as $ty:ident;)*) => {$(
        impl Typed for $sql {
            const TYPE: ColumnType = ColumnType::$ty;
        }
    )*};
}
typed! {
    of_diesel::Bool as Bool;
    of_diesel::SmallInt as SmallInt;
    of_diesel::Integer as Int;
    of_diesel::BigInt as BigInt;
    of_diesel::Float as Real;
    of_diesel::Double as Double;
    of_diesel::Text as Text;
    of_diesel::Binary as Bytes;
    of_diesel::Date as Date;
    of_diesel::Time as Time;
    UBigInt as UBigInt;
    Json as Json;
    UtcTimestamp as Timestamp;
    Uuid as Uuid;
}

impl<const P: u16, const S: u16> Typed for DecimalOf<P, S> {
    const TYPE: ColumnType = ColumnType::Decimal { precision: P, scale: S };
}
