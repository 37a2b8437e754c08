use hilcat::ScopeRecord;

type Perhaps = Option<String>;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: Perhaps,
    #[scope(unique)]
    any: serde_json::Value,
}

fn main() {}
