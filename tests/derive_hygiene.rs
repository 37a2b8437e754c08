//! Derived code in a crate without a prelude, in which the names that derived code uses have other
//! meanings and all warnings are denied.

#![cfg(feature = "derive")]
#![no_implicit_prelude]
#![deny(warnings, missing_docs, unused, unused_qualifications, unreachable_pub)]
#![deny(clippy::all, clippy::pedantic, clippy::absolute_paths, clippy::allow_attributes)]
#![deny(clippy::allow_attributes_without_reason)]

extern crate hilcat as library;

/// A module with the library under another name, and with other meanings of the names that derived code uses.
pub mod shadowed {
    use ::hilcat::ScopeRecord as Record;
    use ::std::convert::From;
    use ::std::string::String;
    use ::std::vec::Vec;

    /// Not the item of the library.
    #[derive(Debug)]
    pub struct Schema;
    /// Not the item of the library.
    #[derive(Debug)]
    pub struct Row;
    /// Not the item of `core`.
    #[derive(Debug)]
    pub enum Option {}
    /// Not the item of `core`.
    #[derive(Debug)]
    pub enum Result {
        /// Not the item of `core`.
        Ok,
    }
    /// Not the item of `core`.
    pub trait Default {}
    /// Not a name of derived code.
    pub const COLUMNS: &str = "mine";
    mod core {}
    mod std {}
    mod hilcat {}

    /// A record.
    #[derive(Debug, Record)]
    #[scope(crate = ::library, name = "hygiene")]
    pub struct Shadowed {
        /// The key.
        #[scope(unique, type = "varchar(9)")]
        pub row: String,
        /// A field with a name that derived code may use for a variable.
        #[scope(default = From::from(COLUMNS))]
        pub cells: String,
        /// In JSON.
        #[scope(json, default)]
        pub value: Vec<u8>,
        /// Renamed.
        #[deprecated]
        pub old: i32,
        /// Skipped.
        #[scope(skip)]
        pub r#self_: i32,
    }

    /// A record that names the library by another path.
    #[derive(Debug, Record)]
    #[scope(crate = "::library")]
    pub struct ByText {
        /// The key.
        #[scope(unique)]
        pub id: i32,
    }
}

#[::core::prelude::v1::test]
fn derived_code_uses_the_items_of_the_library() {
    use ::hilcat::ScopeRecord;
    use ::std::borrow::ToOwned;
    use ::std::option::Option;

    let schema = shadowed::Shadowed::schema();
    ::std::assert_eq!(schema.name(), "hygiene");
    let mine = Option::Some(::hilcat::Value::Text("mine".to_owned()));
    ::std::assert_eq!(schema.columns()[1].default, mine);
    ::std::assert_eq!(shadowed::ByText::schema().name(), "by_text");
}
