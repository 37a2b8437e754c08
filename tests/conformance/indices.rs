//! An unused prefix of indices in a cluster, and plain requests to the cluster.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use elasticsearch::http::{Method, Url};
use serde_json::Value as Json;

/// The indices of a cluster under an unused prefix. They are deleted on drop.
pub struct Indices {
    /// The URI of the cluster, without options.
    pub base: String,
    /// The certificate file of the authority that signed the certificate of the cluster.
    pub ca: Option<String>,
    pub prefix: String,
}

impl Indices {
    /// Chooses a prefix in the cluster whose URI is in an environment variable.
    pub fn new(variable: &str) -> Result<Self, String> {
        let base = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        let random = RandomState::new().hash_one(std::process::id());
        let ca = std::env::var(format!("{variable}_CA")).ok();
        Ok(Self { base, ca, prefix: format!("t{random:016x}-") })
    }

    /// Returns the URI of a cache on these indices, with more options.
    pub fn uri(&self, options: &str) -> String {
        let mut uri = format!("{}?prefix={}&replicas=0", self.base, self.prefix);
        if let Some(ca) = &self.ca {
            uri.push_str(&format!("&ca={ca}"));
        }
        if !options.is_empty() {
            uri.push_str(&format!("&{options}"));
        }
        uri
    }

    /// Sends a request, and returns the status and the body of the response.
    pub fn send(&self, method: Method, path: &str, body: Option<Json>) -> (u16, Json) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let body = body.map(|body| body.to_string());
        runtime.block_on(async {
            let transport = self.transport();
            let headers = HeaderMap::new();
            let sent =
                transport.send(method, path, headers, None::<&()>, body, None).await.unwrap();
            let status = sent.status_code().as_u16();
            (status, serde_json::from_str(&sent.text().await.unwrap()).unwrap_or_default())
        })
    }

    fn transport(&self) -> Transport {
        let rest = self.base.split_once("://").unwrap().1;
        let (login, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        let scheme = if self.base.starts_with("es+https") { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{host}")).unwrap();
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url)).disable_proxy();
        if let Some((user, password)) = login.split_once(':') {
            let password = percent_encoding::percent_decode_str(password).decode_utf8().unwrap();
            builder = builder.auth(Credentials::Basic(user.into(), password.into()));
        }
        if let Some(ca) = &self.ca {
            let pem = Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
            builder = builder.cert_validation(CertificateValidation::Full(pem));
        }
        builder.build().unwrap()
    }

    /// Returns the names of the existing indices.
    pub fn names(&self) -> Vec<String> {
        let path = format!("{}*?filter_path=*.aliases&expand_wildcards=all", self.prefix);
        let (_, found) = self.send(Method::Get, &path, None);
        let found: BTreeMap<String, Json> = serde_json::from_value(found).unwrap_or_default();
        found.into_keys().collect()
    }
}

impl Drop for Indices {
    fn drop(&mut self) {
        let encode = |name: &String| {
            percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        for names in self.names().chunks(20) {
            let names: Vec<String> = names.iter().map(encode).collect();
            // The test may have deleted the index itself.
            let path = format!("{}?ignore_unavailable=true", names.join(","));
            let removed = self.send(Method::Delete, &path, None);
            assert!(removed.0 < 300 || std::thread::panicking(), "{removed:?}");
        }
    }
}
