//! The options of backends that connect with hilcat's own sockets and TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::tls::{self, SslMode};
use crate::store::Uri;
use crate::{Error, Result};

/// How connections are opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConnectOptions {
    /// The timeout of connecting and logging in, if it differs from that of a call.
    pub(crate) timeout: Option<Duration>,
    pub(crate) ssl_mode: SslMode,
    /// A PEM file of trusted authorities, which replaces Mozilla's.
    pub(crate) ssl_root_cert: Option<PathBuf>,
}

impl ConnectOptions {
    /// The names of the TLS options in a URI.
    pub(crate) const TLS_NAMES: [&'static str; 2] = ["sslmode", "sslrootcert"];

    /// Takes the timeout, `connect_timeout`, from a URI.
    pub(crate) fn take_timeout(&mut self, uri: &mut Uri) -> Result<()> {
        self.timeout = uri.take_duration("connect_timeout")?;
        Ok(())
    }

    /// Takes the TLS options from a URI, where the mode is one of `modes`. `aliases` are further
    /// spellings of [`TLS_NAMES`](Self::TLS_NAMES).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the option.
    pub(crate) fn take_tls(
        &mut self,
        uri: &mut Uri,
        modes: &[(&str, SslMode)],
        aliases: [Option<&'static str>; 2],
    ) -> Result<()> {
        let [mode, root_cert] = Self::TLS_NAMES;
        let mode = uri.spelling(mode, aliases[0])?;
        self.ssl_mode = uri.take_choice(mode, modes)?.unwrap_or(self.ssl_mode);
        let root_cert = uri.spelling(root_cert, aliases[1])?;
        self.ssl_root_cert = uri.take(root_cert).map(PathBuf::from);
        Ok(())
    }

    /// Returns the mode in effect: as in libpq, trusted authorities turn [`SslMode::Require`] into
    /// [`SslMode::VerifyCa`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if there are trusted
    /// authorities but the mode does not verify certificates.
    pub(crate) fn effective_mode(&self) -> Result<SslMode> {
        match (self.ssl_mode, &self.ssl_root_cert) {
            (SslMode::Require, Some(_)) => Ok(SslMode::VerifyCa),
            (SslMode::Disable | SslMode::Prefer, Some(_)) => Err(Error::invalid_config(
                "the option `sslrootcert` has no effect unless certificates are verified; set `sslmode` to verify-ca or verify-full",
            )),
            (mode, _) => Ok(mode),
        }
    }

    /// Returns the TLS configuration of a mode.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the file of authorities
    /// cannot be read.
    pub(crate) fn tls(&self, mode: SslMode) -> Result<Arc<ClientConfig>> {
        tls::config(mode, self.ssl_root_cert.as_deref()).map_err(|error| {
            Error::invalid_config(format!("the file of `sslrootcert` cannot be read: {error}"))
        })
    }
}

/// Defines the builder methods of the [`ConnectOptions`] in the field `connect_options`. `$default`
/// documents the default of the mode.
macro_rules! connect_option_methods {
    ($default:literal) => {
        /// Sets the timeout of connecting and logging in; that of a call by default.
        pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.connect_options.timeout = Some(timeout);
            self
        }

        /// Sets whether connections use TLS, and how the server's certificate is verified;
        #[doc = $default]
        #[doc(alias = "ssl-mode")]
        pub fn ssl_mode(mut self, mode: crate::backend::SslMode) -> Self {
            self.connect_options.ssl_mode = mode;
            self
        }

        /// Sets a PEM file of the authorities to trust, in place of Mozilla's. With it,
        /// [`SslMode::Require`](crate::backend::SslMode::Require) verifies certificates as
        /// [`SslMode::VerifyCa`](crate::backend::SslMode::VerifyCa) does.
        #[doc(alias = "ssl_ca")]
        pub fn ssl_root_cert(mut self, path: impl Into<std::path::PathBuf>) -> Self {
            self.connect_options.ssl_root_cert = Some(path.into());
            self
        }
    };
}
pub(crate) use connect_option_methods;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn options(ssl_mode: SslMode, ssl_root_cert: Option<&str>) -> ConnectOptions {
        let ssl_root_cert = ssl_root_cert.map(PathBuf::from);
        ConnectOptions { ssl_mode, ssl_root_cert, ..ConnectOptions::default() }
    }

    #[test]
    fn authorities_are_never_ignored() {
        let mode = |mode, cert| options(mode, cert).effective_mode().map_err(|error| error.kind());
        assert_eq!(mode(SslMode::Require, None), Ok(SslMode::Require));
        assert_eq!(mode(SslMode::Require, Some("/c")), Ok(SslMode::VerifyCa));
        assert_eq!(mode(SslMode::VerifyFull, Some("/c")), Ok(SslMode::VerifyFull));
        for unverified in [SslMode::Disable, SslMode::Prefer] {
            assert_eq!(mode(unverified, None), Ok(unverified));
            assert_eq!(mode(unverified, Some("/c")), Err(ErrorKind::InvalidConfig));
        }
        let error = options(SslMode::VerifyCa, Some("/nowhere")).tls(SslMode::VerifyCa);
        assert!(error.unwrap_err().message().contains("`sslrootcert`"));
    }

    #[test]
    fn both_spellings_of_an_option_are_accepted() {
        let take = |uri: &str| {
            let mut options = ConnectOptions::default();
            let aliases = [Some("ssl-mode"), Some("ssl-ca")];
            options.take_tls(&mut uri.parse()?, &SslMode::CHOICES, aliases).map(|()| options)
        };
        let expected = options(SslMode::VerifyCa, Some("/c"));
        assert_eq!(take("a:?sslmode=verify-ca&sslrootcert=/c").unwrap(), expected);
        assert_eq!(take("a:?ssl-mode=verify-ca&ssl-ca=/c").unwrap(), expected);
        let error = take("a:?sslrootcert=/c&ssl-ca=/c").unwrap_err();
        assert!(error.message().contains("`sslrootcert` and `ssl-ca`"), "{error}");
    }
}
