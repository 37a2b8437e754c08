use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    #[scope(skip, unique, column = "k")]
    key: String,
    #[scope(json, type = "text")]
    tags: Vec<String>,
    #[scope(unique, json)]
    links: Vec<String>,
    #[scope(unique, type = "json")]
    any: serde_json::Value,
    #[scope(unique)]
    perhaps: Option<String>,
}

fn main() {}
