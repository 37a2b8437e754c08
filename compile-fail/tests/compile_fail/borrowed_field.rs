use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    title: &'static str,
}

fn main() {}
