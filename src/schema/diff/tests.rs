use super::*;
use Change::*;

fn existing(columns: &[(&str, ColumnType, bool)], key: &[&str]) -> ExistingTable {
    let column = |&(name, ty, nullable): &(&str, ColumnType, bool)| ExistingColumn {
        name: name.into(),
        declared: ty.to_string(),
        ty: Some(ty),
        known: false,
        nullable,
        required: !nullable,
    };
    ExistingTable {
        columns: columns.iter().map(column).collect(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        full_key_columns: Vec::new(),
        computed: Vec::new(),
    }
}

fn changes(existing: &ExistingTable, schema: &Schema) -> Vec<Change> {
    diff(existing, schema, |have, want| have.ty == Some(want.ty))
}

fn schema() -> Schema {
    Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::BigInt))
}

#[test]
fn an_equal_table_needs_nothing() {
    let table =
        existing(&[("id", ColumnType::Text, false), ("n", ColumnType::BigInt, true)], &["id"]);
    assert_eq!(changes(&table, &schema()), []);
}

#[test]
fn safe_and_unsafe_changes_are_distinguished() {
    let table =
        existing(&[("id", ColumnType::Text, false), ("n", ColumnType::Int, false)], &["id"]);
    let new = Column::new("m", ColumnType::Int);
    let wanted = schema().column(new.clone().nullable(true));
    let found = changes(&table, &wanted);
    let widened = WidenColumn { column: "n".into(), from: "int".into(), to: ColumnType::BigInt };
    assert_eq!(found, [AddColumn(new.clone().nullable(true)), widened]);
    assert!(found.iter().all(Change::is_safe));

    let found = changes(&table, &schema().column(new.clone()));
    assert!(!found.iter().all(Change::is_safe));
    assert!(found.contains(&AddRequiredColumn(new)));
}

#[test]
fn the_expiry_column_is_no_possible_rename() {
    let schema = |name: &str| {
        let id = Column::new("id", ColumnType::Text);
        Schema::new("a").unique(id).column(Column::new(name, ColumnType::Int).nullable(true))
    };
    let changes = |existing: &Schema, schema: &Schema| {
        diff(&ExistingTable::of(existing), schema, |have, want| have.ty == Some(want.ty))
    };
    let found = changes(&schema("n"), &schema(EXPIRES_AT));
    assert!(matches!(&found[..], [Change::AddColumn(_)]), "{found:?}");
    let found = changes(&schema(EXPIRES_AT), &schema("n"));
    assert!(matches!(&found[..], [Change::AddColumn(_)]), "{found:?}");
}

#[test]
fn an_unknown_column_is_left_alone_unless_it_is_required_or_may_be_renamed() {
    let column = |name: &str| Column::new(name, ColumnType::Int).nullable(true);
    let narrow = || {
        Schema::new("a")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("v", ColumnType::Int))
    };
    let of = |nullable| {
        let columns = [
            ("id", ColumnType::Text, false),
            ("v", ColumnType::Int, false),
            ("n", ColumnType::Int, nullable),
        ];
        existing(&columns, &["id"])
    };
    assert_eq!(changes(&of(true), &narrow()), []);
    assert_eq!(changes(&of(false), &narrow()), [UnknownRequiredColumn("n".into())]);
    let kept = narrow().keep(["n"]);
    assert_eq!(changes(&of(false), &kept), [UnknownRequiredColumn("n".into())]);
    let dropped = narrow().dropped(["n", "gone"]);
    assert_eq!(changes(&of(false), &dropped), [DropColumn("n".into())]);

    let renamed = changes(&of(true), &narrow().column(column("m")));
    let possible = PossibleRename { column: column("m"), unknown: vec!["n".into()] };
    assert_eq!(renamed, [possible]);
    let text = renamed[0].to_string();
    for way in [r#"was = "n""#, r#"dropped = ["n"]"#, r#"keep = ["n"]"#] {
        assert!(text.contains(way), "{text}");
    }
    assert!(!renamed[0].is_safe());
    assert_eq!(changes(&of(true), &kept.column(column("m"))), [AddColumn(column("m"))]);
    assert_eq!(
        changes(&of(true), &dropped.column(column("m"))),
        [AddColumn(column("m")), DropColumn("n".into())]
    );
}

#[test]
fn a_renamed_key_column_keeps_the_key() {
    let table =
        existing(&[("old", ColumnType::Text, false), ("n", ColumnType::BigInt, false)], &["old"]);
    let renamed = Schema::new("a")
        .unique(Column::new("id", ColumnType::Text).was("old"))
        .column(Column::new("n", ColumnType::BigInt));
    assert_eq!(changes(&table, &renamed), [RenameColumn { from: "old".into(), to: "id".into() }]);
    let rekeyed =
        existing(&[("id", ColumnType::Text, false), ("n", ColumnType::BigInt, false)], &["n"]);
    assert_eq!(
        changes(&rekeyed, &schema()),
        [ChangeKey { from: vec!["n".into()], to: vec!["id".into()] }]
    );
}
