//! HTTP requests to one host.
//!
//! The transport of the `elasticsearch` crate is not used, since it follows redirects with the
//! credentials to any address, and reads responses of unlimited length.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::Certificate;
use elasticsearch::http::headers::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use elasticsearch::http::{Method, Url};
use reqwest::redirect::Policy;

use crate::{Error, Result};

/// A host and the credentials for it.
#[derive(Clone)]
pub(super) struct Transport {
    client: reqwest::Client,
    url: Url,
    /// The maximum size of a response body.
    limit: u64,
}

/// The maximum number of bytes allocated in advance: the announced length is not trusted.
const MAX_PREALLOCATED: u64 = 1 << 20;

/// The content type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    /// Newline-delimited JSON.
    Lines,
}

impl Content {
    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
        })
    }
}

/// Why a request has no response.
pub(super) enum TransportError {
    Client(reqwest::Error),
    /// The response body is longer than this limit.
    TooLarge(u64),
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        Self::Client(error)
    }
}

impl Transport {
    pub(super) fn new(
        url: Url,
        credentials: Option<&Credentials>,
        authorities: Option<Certificate>,
        limit: u64,
    ) -> Result<Self> {
        // Compression is disabled: most responses are short and the network is fast.
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .no_gzip()
            .default_headers(headers(credentials)?);
        for authority in authorities.into_iter().flatten() {
            builder = builder.add_root_certificate(authority);
        }
        let client = builder.build().map_err(|_| unusable())?;
        Ok(Self { client, url, limit })
    }

    /// Sends a request and returns the status and the body of the response.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Arc<Vec<u8>>>,
        content: Content,
    ) -> Result<(u16, Vec<u8>), TransportError> {
        let Ok(url) = self.url.join(path) else { return Ok((400, Vec::new())) };
        let mut request = self.client.request(named(method), url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, content.name()).body(body.as_slice().to_vec());
        }
        let mut response = request.send().await?;
        let status = response.status().as_u16();
        let length = response.content_length().unwrap_or_default();
        if length > self.limit {
            return Err(TransportError::TooLarge(self.limit));
        }
        let mut received = Vec::with_capacity(length.min(MAX_PREALLOCATED) as usize);
        while let Some(chunk) = response.chunk().await? {
            if (received.len() + chunk.len()) as u64 > self.limit {
                return Err(TransportError::TooLarge(self.limit));
            }
            received.extend_from_slice(&chunk);
        }
        Ok((status, received))
    }
}

fn named(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Put => reqwest::Method::PUT,
        Method::Post => reqwest::Method::POST,
        Method::Delete => reqwest::Method::DELETE,
        Method::Head => reqwest::Method::HEAD,
    }
}

/// Returns the headers of all requests.
fn headers(credentials: Option<&Credentials>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let login = match credentials {
        Some(Credentials::Basic(user, password)) => {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
        }
        Some(Credentials::ApiKey(id, key)) => {
            format!("ApiKey {}", BASE64_STANDARD.encode(format!("{id}:{key}")))
        }
        Some(Credentials::EncodedApiKey(key)) => format!("ApiKey {key}"),
        _ => return Ok(headers),
    };
    let mut login = HeaderValue::try_from(login).map_err(|_| unusable())?;
    login.set_sensitive(true);
    headers.insert(AUTHORIZATION, login);
    Ok(headers)
}

fn unusable() -> Error {
    Error::invalid_config(
        "the HTTP client for Elasticsearch cannot be configured with these options; check the host and the credentials",
    )
}
