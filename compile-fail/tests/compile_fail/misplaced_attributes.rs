use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(unique)]
struct Article {
    #[scope(unique)]
    id: String,
}

#[derive(ScopeRecord)]
struct Page {
    #[scope(unique, ttl = "1h")]
    id: String,
}

fn main() {}
