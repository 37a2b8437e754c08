use hilcat::{Cache, ScopeRecord};

#[derive(ScopeRecord)]
struct Article {
    id: String,
}

fn main() {
    // The uses of a struct that has an error add none.
    let articles = Cache::memory().scope::<Article>().unwrap();
    articles.set(&Article { id: "a".into() }).unwrap();
}
