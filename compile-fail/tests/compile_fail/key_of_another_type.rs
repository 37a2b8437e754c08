use hilcat::Cache;

fn main() {
    let cache = Cache::memory();
    let words = cache.map::<String, i64>("words").unwrap();
    words.fetch(7).unwrap();
    let routes = cache.map::<(String, i64), i64>("routes").unwrap();
    routes.fetch("JFK").unwrap();
}
