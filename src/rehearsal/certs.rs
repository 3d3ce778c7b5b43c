//! A certificate authority of the pair's own, made at its start, and a server certificate of each
//! cluster for loopback. None of them is ever written to disk.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, version};
use time::{Duration, OffsetDateTime};

use crate::model::habit::Habit;

/// How long a certificate is valid, where it is a habit that this is brief.
const BRIEF: Duration = Duration::days(10);

/// Who signs the certificates of both clusters.
pub struct Authority {
    /// Its certificate, for clients to trust.
    pub ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// The cryptographic library refused; not to be expected.
    pub fn new() -> io::Result<Self> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "pusher-canary rehearsal CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let ca_pem = ca.self_signed(&key).map_err(io::Error::other)?.pem();
        Ok(Self { ca_pem, issuer: Issuer::new(ca, key) })
    }

    /// The server's side of a cluster with these habits, with a certificate for `localhost` and the
    /// addresses of loopback.
    ///
    /// # Errors
    /// The cryptographic library refused; not to be expected.
    pub fn server(&self, habits: &BTreeSet<Habit>) -> io::Result<Arc<ServerConfig>> {
        let names = ["localhost".to_owned()];
        let mut server = CertificateParams::new(names).map_err(io::Error::other)?;
        server.subject_alt_names.extend([
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
            SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
        ]);
        server.distinguished_name.push(DnType::CommonName, "pusher-canary rehearsal");
        server.use_authority_key_identifier_extension = true;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if habits.contains(&Habit::BriefCertificate) {
            server.not_after = OffsetDateTime::now_utc() + BRIEF;
        }
        let kind = match habits.contains(&Habit::Ed25519) {
            true => &PKCS_ED25519,
            false => &PKCS_ECDSA_P256_SHA256,
        };
        let key = KeyPair::generate_for(kind).map_err(io::Error::other)?;
        let certificate = server.signed_by(&key, &self.issuer).map_err(io::Error::other)?;

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = match habits.contains(&Habit::Tls13) {
            true => &[&version::TLS13][..],
            false => rustls::DEFAULT_VERSIONS,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
