use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[rustfmt::skip]
struct Wide {
    #[scope(unique)] a: i32,
    #[scope(unique)] b: i32,
    #[scope(unique)] c: i32,
    #[scope(unique)] d: i32,
    #[scope(unique)] e: i32,
    #[scope(unique)] f: i32,
    #[scope(unique)] g: i32,
    #[scope(unique)] h: i32,
    #[scope(unique)] i: i32,
    #[scope(unique)] j: i32,
}

fn main() {}
