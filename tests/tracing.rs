//! Events through the `tracing` facade.
#![cfg(all(feature = "derive", feature = "sqlite", feature = "tracing"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::fmt::Write;
use std::sync::{LazyLock, Mutex};

use hilcat::{Cache, cached};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::from_uri("sqlite::memory:").unwrap());
static EVENTS: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

/// Collects the events of hilcat.
struct Events;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hilcat")
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        EVENTS.lock().unwrap().push((*event.metadata().level(), text.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[cached(cache = CACHE, scope = "counted")]
fn before(word: &str) -> i64 {
    word.len().try_into().unwrap()
}

#[cached(cache = CACHE, scope = "counted")]
fn after(word: &str) -> String {
    word.to_uppercase()
}

#[test]
fn a_changed_signature_is_logged_once() {
    tracing::subscriber::set_global_default(Events).unwrap();
    before("secret");
    for _ in 0..3 {
        assert_eq!(after("secret"), "SECRET");
    }
    let events = EVENTS.lock().unwrap();
    let said: Vec<_> = events.iter().filter(|(_, text)| text.contains("signature")).collect();
    let [(level, text)] = said[..] else { panic!("{events:?}") };
    assert_eq!(*level, Level::WARN);
    for part in ["scope=\"counted\"", "function=\"after\"", "change column `value`"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.to_lowercase().contains("secret"), "{text}");
}
