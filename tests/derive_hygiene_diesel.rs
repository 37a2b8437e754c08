//! Derived code with a Diesel table, in a crate in which the names that derived code uses have other
//! meanings and all warnings are denied. Diesel's own macro needs the prelude.

#![cfg(all(feature = "derive", feature = "sqlite"))]
#![deny(warnings, missing_docs, unused, unused_qualifications, unreachable_pub)]
#![deny(clippy::all, clippy::pedantic, clippy::allow_attributes)]
#![deny(clippy::allow_attributes_without_reason)]

extern crate hilcat as library;

/// A module with other meanings of the names that derived code uses.
pub mod shadowed {
    use ::hilcat::ScopeRecord as Record;

    /// Not the item of the library.
    #[derive(Debug)]
    pub struct Schema;
    /// Not the item of `core`.
    #[derive(Debug)]
    pub enum Result {}
    /// Not the item of Diesel.
    #[derive(Debug)]
    pub enum Cell {}
    mod core {}
    mod std {}
    mod hilcat {}

    /// A record.
    #[derive(Debug, Record)]
    #[scope(crate = ::library, diesel)]
    pub struct Hygienic {
        /// The key.
        #[scope(unique, type = "varchar(9)")]
        pub cells: String,
        /// A field with a name that derived code may use for a variable.
        pub row: Option<i32>,
        /// In JSON.
        #[scope(json, default)]
        pub schema: Vec<u8>,
        /// Renamed.
        #[deprecated]
        pub pairs: i32,
    }

    /// A private record.
    #[derive(Debug, Record)]
    #[scope(crate = ::library, diesel)]
    struct Private {
        #[scope(unique)]
        r#type: i32,
    }

    #[test]
    fn tables_are_named() {
        use ::hilcat::ScopeRecord as _;
        assert_eq!(Private::schema().name(), "private");
        assert_eq!(Private { r#type: 1 }.r#type, 1);
        let _ = (hygienic::table, private::r#type);
    }
}
