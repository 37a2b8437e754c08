use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(dropped = ["name"])]
struct DroppedAndAField {
    #[scope(unique)]
    id: String,
    name: String,
}

#[derive(ScopeRecord)]
#[scope(keep = ["id"])]
struct KeptAndAKey {
    #[scope(unique)]
    id: String,
}

#[derive(ScopeRecord)]
#[scope(dropped = ["old"])]
struct DroppedAndRenamed {
    #[scope(unique)]
    id: String,
    #[scope(was = "old")]
    name: String,
}

#[derive(ScopeRecord)]
#[scope(dropped = ["old"], keep = ["old"])]
struct DroppedAndKept {
    #[scope(unique)]
    id: String,
}

#[derive(ScopeRecord)]
#[scope(dropped = "old")]
struct NoList {
    #[scope(unique)]
    id: String,
}

#[derive(ScopeRecord)]
#[scope(keep = [1])]
struct NoName {
    #[scope(unique)]
    id: String,
}

fn main() {}
