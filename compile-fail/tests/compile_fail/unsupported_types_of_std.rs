use hilcat::ScopeRecord;
use std::collections::HashMap;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    counts: Option<Vec<String>>,
    #[scope(default)]
    words: HashMap<String, i32>,
    #[scope(type = "bigint")]
    size: usize,
}

fn main() {}
