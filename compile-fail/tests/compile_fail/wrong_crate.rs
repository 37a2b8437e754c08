use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(crate = "::hillcat")]
struct Article {
    #[scope(unique)]
    id: String,
    name: Option<String>,
}

fn main() {}
