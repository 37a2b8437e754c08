use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    name: String,
    #[scope(column = "name")]
    title: String,
}

fn main() {}
