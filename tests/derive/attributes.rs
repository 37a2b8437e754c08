//! Attributes, and the schema that they declare.

use std::time::Duration;

use hilcat::{Column, Migrate, Schema};

use super::*;

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "things", table = "all_things")]
#[scope(ttl = "1h30m", migrate = "manual")]
struct Everything {
    #[scope(unique, column = "thing_id", type = "varchar(50)", was = "key")]
    id: String,
    #[scope(type = "smallint", default = 200)]
    status: i32,
    #[scope(type = "decimal(12,0)", skip_nothing_here)]
    #[cfg(any())]
    never: i32,
    #[scope(default)]
    note: Option<String>,
    #[scope(default)]
    r#type: String,
    #[scope(skip)]
    seen: Vec<Duration>,
    #[cfg_attr(all(), scope(column = "last", default = f64::from(1_u8) / 4.0))]
    ratio: f64,
}

#[test]
fn the_schema_is_the_one_built_by_hand() {
    let by_hand = Schema::new("things")
        .table("all_things")
        .unique(Column::new("thing_id", ColumnType::Varchar(50)).was("key"))
        .column(Column::new("status", ColumnType::SmallInt).default_value(200_i32))
        .column(Column::new("note", ColumnType::Text).nullable(true).default_value(Value::Null))
        .column(Column::new("type", ColumnType::Text).default_value(""))
        .column(Column::new("last", ColumnType::Double).default_value(0.25))
        .ttl(Duration::from_secs(5400))
        .migrate(Migrate::Manual);
    assert_eq!(Everything::schema(), by_hand);
    by_hand.validate().unwrap();
}

#[test]
fn without_attributes_a_schema_has_its_defaults() {
    let by_hand = Schema::new("http_page").unique(Column::new("id", ColumnType::Int));
    #[derive(ScopeRecord)]
    struct HTTPPage {
        #[scope(unique)]
        id: i32,
    }
    assert_eq!(HTTPPage::schema(), by_hand);
    assert_eq!(HTTPPage { id: 1 }.to_row().unwrap(), [Value::Int(1)]);
    #[derive(ScopeRecord)]
    #[scope(migrate = "recreate", name = "p")]
    struct Recreated {
        #[scope(unique)]
        id: i32,
    }
    assert_eq!(Recreated::schema().migrate_policy(), Migrate::Recreate);
    assert_eq!(Recreated::from_row(vec![Value::Int(1)]).unwrap().id, 1);
}

#[test]
fn a_skipped_field_is_read_as_its_default() {
    let thing = Everything {
        id: "a".into(),
        status: 404,
        note: None,
        r#type: "x".into(),
        seen: vec![Duration::ZERO],
        ratio: 0.5,
    };
    let things = scope::<Everything>();
    let computed = things.get("a", || thing.clone()).unwrap();
    assert_eq!(computed, Everything { seen: Vec::new(), ..thing });
    assert_eq!(things.fetch("a").unwrap(), Some(computed));
}

#[test]
fn a_value_outside_its_column_names_it() {
    let things = scope::<Everything>();
    let mut thing = Everything::from_row(vec![
        "a".into(),
        Value::Int(200),
        Value::Null,
        "x".into(),
        0.5.into(),
    ])
    .unwrap();
    thing.status = 40_000;
    let error = things.set(&thing).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("status")));
    assert_eq!(error.scope(), Some("things"));
    thing.status = 200;
    thing.id = "x".repeat(51);
    let error = things.set(&thing).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("thing_id")));
    assert_eq!(things.len().unwrap(), 0);
}

#[test]
fn freshness_is_set_by_attributes() {
    use std::time::SystemTime;

    use hilcat::{OnUnavailable, SingleFlight, Ttl};

    #[derive(Debug, Clone, PartialEq, ScopeRecord)]
    #[scope(
        name = "answers",
        ttl = "1h",
        stale_while_revalidate = "10m",
        stale_if_error = "1d",
        jitter = "10%",
        negative_ttl = "30s",
        max_records = 1_000,
        auto_purge = "off",
        single_flight = "shared",
        lease = "10s",
        on_unavailable = "compute"
    )]
    struct Answer {
        #[scope(unique)]
        id: String,
    }
    let said = Answer::schema().freshness().clone();
    let second = Duration::from_secs(1);
    assert_eq!(said.ttl, Some(Ttl::After(3_600 * second)));
    assert_eq!(said.stale_while_revalidate, Some(600 * second));
    assert_eq!(said.stale_if_error, Some(86_400 * second));
    assert_eq!((said.jitter, said.negative_ttl), (Some(0.1), Some(30 * second)));
    assert_eq!((said.max_records, said.auto_purge), (Some(1_000), Some(false)));
    assert_eq!(said.single_flight, Some(SingleFlight::Shared { lease: 10 * second }));
    assert_eq!(said.on_unavailable, Some(OnUnavailable::Compute));

    #[derive(Debug, Clone, PartialEq, ScopeRecord)]
    struct Token {
        #[scope(unique)]
        user: String,
        #[scope(expires_at)]
        until: Option<SystemTime>,
    }
    assert_eq!(Token::schema().freshness().expires_at.as_deref(), Some("until"));
    let tokens = hilcat::Cache::memory().scope::<Token>().unwrap();
    let ended = Token { user: "a".into(), until: Some(SystemTime::UNIX_EPOCH) };
    let endless = Token { user: "b".into(), until: None };
    tokens.set_many([&ended, &endless]).unwrap();
    assert_eq!(tokens.fetch_many(["a", "b"]).unwrap(), [None, Some(endless)]);
    let beyond = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 365 * 9_000);
    let error = tokens.set(&Token { user: "c".into(), until: Some(beyond) }).unwrap_err();
    assert_eq!(error.column(), Some("until"), "{error}");
}
