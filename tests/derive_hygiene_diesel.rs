//! Derived code with a table of Diesel's in a crate with names of its own for everything and all
//! warnings denied. Diesel's own macro needs the prelude.

#![cfg(all(feature = "derive", feature = "sqlite"))]
#![deny(warnings, missing_docs, unused, unused_qualifications, unreachable_pub)]
#![deny(clippy::all, clippy::pedantic, clippy::allow_attributes)]
#![deny(clippy::allow_attributes_without_reason)]

extern crate hilcat as library;

/// A module that has its own of what derived code uses.
pub mod shadowed {
    use ::hilcat::ScopeRecord as Record;

    /// Not the library's.
    #[derive(Debug)]
    pub struct Schema;
    /// Not the one of core.
    #[derive(Debug)]
    pub enum Result {}
    /// Not Diesel's.
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
        /// A field named as what derived code may name a variable.
        pub row: Option<i32>,
        /// In JSON.
        #[scope(json, default)]
        pub schema: Vec<u8>,
        /// Of old.
        #[deprecated]
        pub pairs: i32,
    }

    /// Not for others.
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
