use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    #[scope(type = "text")]
    count: i64,
    #[scope(type = "varchar(9)")]
    ratio: Option<f64>,
    #[scope(type = "ubigint")]
    age: u8,
}

fn main() {}
