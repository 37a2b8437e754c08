//! `#[scope(diesel)]` sees a type by its name.

use hilcat::ScopeRecord;

type Id = i64;
type Maybe = Option<i32>;
/// Not the one of serde_json.
type Value = String;

#[derive(ScopeRecord)]
#[scope(diesel)]
struct Unknown {
    #[scope(unique)]
    id: Id,
    count: Option<Option<i32>>,
    list: Vec<i32>,
}

#[derive(ScopeRecord)]
#[scope(diesel)]
struct Misleading {
    #[scope(unique)]
    id: i64,
    value: Value,
    #[scope(type = "int")]
    count: Maybe,
}

fn main() {}
