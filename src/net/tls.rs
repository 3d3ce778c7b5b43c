//! TLS by rustls, with the system's roots or a CA file in their place.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::model::Secret;

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA file holds no certificate.
    #[error("the CA file holds no certificate in PEM form")]
    NoCertificate,
    /// A certificate of the CA file cannot be used as a root.
    #[error("the CA file holds a certificate that cannot be a root: {0}")]
    BadRoot(rustls::Error),
    /// The system has no roots.
    #[error("the system has no root certificates; install them, or set tls.ca_file")]
    NoSystemRoots,
    /// The file of a server's own certificates holds none.
    #[error("cert_file holds no certificate in PEM form")]
    NoOwnCertificate,
    /// The file of a server's key holds none.
    #[error("key_file holds no private key in PEM form")]
    NoKey,
    /// A server's certificate and key are two different ones.
    #[error("the certificate in cert_file and the key in key_file do not belong together")]
    Mismatch,
    /// Nobody vouches for clients that must show a certificate.
    #[error("client_ca_file holds no certificate in PEM form that can be a root")]
    NoClientCa,
    /// rustls refused the configuration.
    #[error("TLS cannot be configured: {0}")]
    Config(rustls::Error),
}

/// A client configuration that trusts `ca_pem` alone or, without one, the system's roots.
///
/// # Errors
/// See [`TlsError`].
pub fn client_config(ca_pem: Option<&str>) -> Result<Arc<ClientConfig>, TlsError> {
    client_config_of(ca_pem, rustls::DEFAULT_VERSIONS)
}

/// The same that speaks these versions of TLS alone.
///
/// # Errors
/// See [`TlsError`].
pub fn client_config_of(
    ca_pem: Option<&str>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()).flatten() {
            roots.add(certificate).map_err(TlsError::BadRoot)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoCertificate);
        }
    } else {
        // A root that cannot be parsed is left out, as browsers do; none at all is an error.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoSystemRoots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsError::Config)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whom a server believes, beside showing its certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clients<'a> {
    /// Certificates (PEM) of whoever vouches for clients, who must all show one; `None`: anybody.
    pub ca_pem: Option<&'a str>,
    /// Whether they must speak TLS 1.3.
    pub is_tls13_only: bool,
}

/// A server configuration that shows the certificates of `chain` and owns `key`, both PEM.
///
/// # Errors
/// See [`TlsError`].
pub fn server_config(chain: &str, key: &Secret) -> Result<Arc<ServerConfig>, TlsError> {
    server_config_for(chain, key, Clients::default())
}

/// The same for these clients alone.
///
/// # Errors
/// See [`TlsError`].
pub fn server_config_for(
    chain: &str,
    key: &Secret,
    clients: Clients<'_>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).flatten().collect();
    if chain.is_empty() {
        return Err(TlsError::NoOwnCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes());
    let key = key.map_err(|_| TlsError::NoKey)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = match clients.is_tls13_only {
        true => &[&rustls::version::TLS13][..],
        false => rustls::DEFAULT_VERSIONS,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Config)?;
    let builder = match clients.ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten();
            roots.add_parsable_certificates(certificates);
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|_| TlsError::NoClientCa)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
        error => TlsError::Config(error),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What clients learn of a server by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The kind of its key.
    pub key: &'static str,
    /// Until when it is valid: seconds since 1970 in UTC.
    pub not_after: i64,
}

/// Reads a certificate; `None` if it is none.
pub fn read_certificate(der: &CertificateDer<'_>) -> Option<Shown> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let kind = certificate.public_key().algorithm.algorithm.to_id_string();
    let key = match kind.as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.10045.2.1" => "elliptic curve",
        "1.3.101.112" => "Ed25519",
        _ => "of another kind",
    };
    Some(Shown { key, not_after: certificate.validity().not_after.timestamp() })
}
