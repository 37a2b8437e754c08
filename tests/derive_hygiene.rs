//! Derived code in a crate without a prelude, with names of its own for everything and all
//! warnings denied.

#![cfg(feature = "derive")]
#![no_implicit_prelude]
#![deny(warnings, missing_docs, unused, unused_qualifications, unreachable_pub)]
#![deny(clippy::all, clippy::pedantic, clippy::absolute_paths, clippy::allow_attributes)]
#![deny(clippy::allow_attributes_without_reason)]

extern crate hilcat as library;

/// A module that has the library under another name, and its own of what derived code uses.
pub mod shadowed {
    use ::hilcat::ScopeRecord as Record;
    use ::std::convert::From;
    use ::std::string::String;
    use ::std::vec::Vec;

    /// Not the library's.
    #[derive(Debug)]
    pub struct Schema;
    /// Not the library's.
    #[derive(Debug)]
    pub struct Row;
    /// Not the one of core.
    #[derive(Debug)]
    pub enum Option {}
    /// Not the one of core.
    #[derive(Debug)]
    pub enum Result {
        /// Not the one of core.
        Ok,
    }
    /// Not the one of core.
    pub trait Default {}
    /// Not derived code's.
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
        /// A field named as what derived code may name a variable.
        #[scope(default = From::from(COLUMNS))]
        pub cells: String,
        /// In JSON.
        #[scope(json, default)]
        pub value: Vec<u8>,
        /// Of old.
        #[deprecated]
        pub old: i32,
        /// Not kept.
        #[scope(skip)]
        pub r#self_: i32,
    }

    /// A record by the library's other path.
    #[derive(Debug, Record)]
    #[scope(crate = "::library")]
    pub struct ByText {
        /// The key.
        #[scope(unique)]
        pub id: i32,
    }
}

#[::core::prelude::v1::test]
fn it_means_what_it_should() {
    use ::hilcat::ScopeRecord;
    use ::std::borrow::ToOwned;
    use ::std::option::Option;

    let schema = shadowed::Shadowed::schema();
    ::std::assert_eq!(schema.name(), "hygiene");
    let mine = Option::Some(::hilcat::Value::Text("mine".to_owned()));
    ::std::assert_eq!(schema.columns()[1].default, mine);
    ::std::assert_eq!(shadowed::ByText::schema().name(), "by_text");
}
