//! A web service that caches records: `cargo run -p hilcat-tests --features async --example axum`,
//! then `curl http://127.0.0.1:3000/planets/earth`.
//!
//! The records are rows of the file `planets.db`, or of the database that `HILCAT_CACHE` names, with
//! a tier in memory in front. A record is computed again after ten seconds; meanwhile, and for one
//! more minute, requests are served the stale one. `PORT` sets the port; 0 lets the system choose.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use hilcat::{AsyncCache, AsyncScope, ErrorKind, ScopeRecord};

#[derive(Debug, Clone, PartialEq, ScopeRecord, serde::Serialize)]
#[scope(name = "planets", ttl = "10s", stale_while_revalidate = "1m")]
struct Planet {
    #[scope(unique)]
    name: String,
    radius_km: i64,
}

#[derive(Clone)]
struct Service {
    cache: AsyncCache,
    planets: AsyncScope<Planet>,
}

/// The reason why a request has no answer.
type Refusal = (StatusCode, String);

/// Serves until the program is ended.
#[tokio::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let uri = std::env::var("HILCAT_CACHE").unwrap_or_else(|_| "sqlite:///planets.db".to_owned());
    let near = AsyncCache::from_uri("memory:?max_entries=10000").await?;
    let far = AsyncCache::builder(uri).timeout(Duration::from_secs(2)).open().await?;
    let cache = AsyncCache::tiered(near, far);
    let service = Service { planets: cache.scope().await?, cache };

    let routes = Router::new()
        .route("/planets/{name}", get(planet).delete(forget))
        .route("/health", get(health))
        .with_state(service);
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn planet(
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Result<Json<Planet>, Refusal> {
    let wanted = name.clone();
    match service.planets.try_get(name, || look_up(wanted)).await {
        Ok(planet) => Ok(Json(planet)),
        Err(error) if error.kind() == ErrorKind::Compute => {
            Err((StatusCode::NOT_FOUND, "no such planet\n".to_owned()))
        }
        Err(error) => Err(unavailable(&error)),
    }
}

async fn forget(
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    match service.planets.pop(name).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Answers whether the store can be reached.
async fn health(State(service): State<Service>) -> Result<&'static str, Refusal> {
    service.cache.scopes().await.map(|_| "ok\n").map_err(|error| unavailable(&error))
}

fn unavailable(error: &hilcat::Error) -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
}

/// A slow source: an API, a model, a remote database.
async fn look_up(name: String) -> Result<Planet, String> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    let radius_km = match name.as_str() {
        "mercury" => 2_440,
        "venus" => 6_052,
        "earth" => 6_371,
        "mars" => 3_390,
        _ => return Err(format!("`{name}` is no planet of the table")),
    };
    Ok(Planet { name, radius_km })
}
