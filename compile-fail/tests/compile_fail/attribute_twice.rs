use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(name = "a", name = "b")]
struct Article {
    #[scope(unique)]
    id: String,
}

#[derive(ScopeRecord)]
struct Page {
    #[scope(unique)]
    #[scope(unique)]
    id: String,
}

fn main() {}
