use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique, was = "id")]
    id: String,
    #[scope(was = "n")]
    name: String,
    #[scope(was = "n")]
    title: String,
}

fn main() {}
