use hilcat::{Cache, ScopeRecord};

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    origin: String,
    #[scope(unique)]
    dest: i32,
    #[scope(colunm = "n")]
    name: String,
}

fn main() {
    // The key is known all the same.
    let articles = Cache::memory().scope::<Article>().unwrap();
    articles.fetch(("JFK", 1)).unwrap();
}
