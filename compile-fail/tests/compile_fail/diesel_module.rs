//! The module of Diesel's table needs the name of a module.

use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(diesel = "no module")]
struct NoModule {
    #[scope(unique)]
    id: i64,
}

#[derive(ScopeRecord)]
#[scope(diesel = true)]
struct NoText {
    #[scope(unique)]
    id: i64,
    #[scope(diesel)]
    misplaced: i64,
}

fn main() {}
