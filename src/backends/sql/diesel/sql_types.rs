//! SQL types for Diesel, of columns that engines keep in different types of their own.
//!
//! `#[scope(diesel)]` gives a struct a Diesel table. Most of its columns are of Diesel's own SQL
//! types; those that are here are kept as another type by each engine, and a type of Diesel's would
//! read or compare them wrongly on one of them.
//!
//! Where one of these stands in an expression, its value goes through [`value`]:
//! `events::at.gt(value(chrono::Utc::now()))`.
//!
//! In SQLite, [`DecimalOf`] and [`UBigInt`] are text: they can be compared for equality there, but
//! neither for order nor be added up. In MySQL, a text of a key that is too long for an index stands
//! in its column as its beginning and a digest, and Diesel sees that.

use diesel::query_builder::QueryId;
use diesel::sql_types::{
    self as of_diesel, HasSqlType, Nullable, SingleValue, SqlOrd, SqlType, TypeMetadata,
    is_nullable,
};

pub use super::column_value::Cell;
use crate::{ColumnType, ColumnValue};

/// Declares SQL types, and as which of Diesel's own each engine keeps them.
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

        kept_as!("sqlite", diesel::sqlite::Sqlite, $sqlite, $name $({$($param),*})?);
        kept_as!("postgresql", diesel::pg::Pg, $postgresql, $name $({$($param),*})?);
        kept_as!("mysql", diesel::mysql::Mysql, $mysql, $name $({$($param),*})?);
    )*};
}

/// Says as which of Diesel's SQL types an engine keeps one of ours.
macro_rules! kept_as {
    ($feature:literal, $engine:ty, $kept:ty, $name:ident $({$($param:ident),*})?) => {
        #[cfg(feature = $feature)]
        impl $(<$(const $param: u16),*>)? HasSqlType<$name $(<$($param),*>)?> for $engine {
            fn metadata(
                lookup: &mut <Self as TypeMetadata>::MetadataLookup,
            ) -> <Self as TypeMetadata>::TypeMetadata {
                <Self as HasSqlType<$kept>>::metadata(lookup)
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
    /// A decimal of `P` digits, `S` of them after the point.
    DecimalOf {P, S}, sqlite: of_diesel::Text, postgresql: of_diesel::Numeric,
        mysql: of_diesel::Numeric;
    /// JSON.
    Json, sqlite: of_diesel::Text, postgresql: of_diesel::Jsonb, mysql: of_diesel::Json;
    /// An unsigned integer of 64 bits.
    UBigInt, sqlite: of_diesel::Text, postgresql: of_diesel::Numeric,
        mysql: of_diesel::Unsigned<of_diesel::BigInt>;
}

/// A value for an expression of whatever SQL type a column of its Rust type has, NULL or not:
/// `events::at.gt(value(chrono::Utc::now()))`.
///
/// Diesel takes the usual types as they are; the SQL types of this module, and any type of your own
/// that is a [`ColumnValue`], need this.
pub fn value(value: impl ColumnValue) -> Cell {
    Cell::new(value.into_value())
}

/// The SQL type of a column, with the column's type.
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
