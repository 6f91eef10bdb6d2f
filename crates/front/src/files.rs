//! Certificates and keys from their files, and whether those have changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};

use crate::error::FrontError;

/// Where the front's certificate, its key, and what clients' certificates are judged by are found: PEM files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, then those between it and its root.
    pub certificate: PathBuf,
    /// The certificate's private key; nobody else may read it.
    pub key: PathBuf,
    /// By whom clients may be certified. `None` asks for no certificate.
    pub clients: Option<ClientAuthority>,
}

/// Who certifies clients.
#[derive(Clone, Debug)]
pub struct ClientAuthority {
    /// The roots.
    pub roots: PathBuf,
    /// Certificates that were revoked. A list that is past its date lets nobody in.
    pub revoked: Option<PathBuf>,
    /// Whether a client without a certificate is sent away; a wrong certificate never gets in.
    pub is_required: bool,
}

/// What shows that a file is another than before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(u64, u64, SystemTime)>>);

impl Files {
    /// Shows whether one of the files is another than when this was called before.
    pub(crate) fn stamp(&self) -> Stamp {
        let clients = self.clients.iter().flat_map(|clients| [Some(&clients.roots), clients.revoked.as_ref()]);
        let paths = [Some(&self.certificate), Some(&self.key)].into_iter().chain(clients).flatten();
        let of = |path: &PathBuf| {
            let found = path.metadata().ok()?;
            Some((found.ino(), found.len(), found.modified().ok()?))
        };
        Stamp(paths.map(of).collect())
    }

    /// What the files make of a server, without a protocol named.
    ///
    /// # Errors
    /// [`FrontError::File`] or [`FrontError::Exposed`]: which file, and what is wrong with it.
    pub(crate) fn load(&self) -> Result<ServerConfig, FrontError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain: Vec<CertificateDer<'static>> = all(&self.certificate, "certificate")?;
        let mode = metadata_mode(&self.key)?;
        if mode & 0o077 != 0 {
            return Err(FrontError::Exposed { path: self.key.clone(), mode });
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|error| FrontError::file(&self.key, format_args!("is no private key in PEM: {error}")))?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| FrontError::file(&self.certificate, error))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            FrontError::file(&self.certificate, format_args!("does not go with {}: {error}", self.key.display()))
        })?;
        // No session is resumed: every connection's certificate is judged when it comes, by the files of then.
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl ClientAuthority {
    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, FrontError> {
        let mut roots = RootCertStore::empty();
        for root in all::<CertificateDer<'static>>(&self.roots, "certificate")? {
            roots.add(root).map_err(|error| FrontError::file(&self.roots, error))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        if let Some(revoked) = &self.revoked {
            let lists = all::<CertificateRevocationListDer<'static>>(revoked, "list of revoked certificates")?;
            builder = builder.with_crls(lists).only_check_end_entity_revocation().enforce_revocation_expiration();
        }
        if !self.is_required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| FrontError::file(self.revoked.as_ref().unwrap_or(&self.roots), error))
    }
}

fn metadata_mode(path: &Path) -> Result<u32, FrontError> {
    let found = path.metadata().map_err(|error| FrontError::file(path, format_args!("cannot be read: {error}")))?;
    Ok(found.mode() & 0o777)
}

fn read(path: &Path) -> Result<Vec<u8>, FrontError> {
    std::fs::read(path).map_err(|error| FrontError::file(path, format_args!("cannot be read: {error}")))
}

/// All things of a kind in a file, at least one.
fn all<T: PemObject>(path: &Path, what: &str) -> Result<Vec<T>, FrontError> {
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| FrontError::file(path, format_args!("is no {what} in PEM: {error}")))?;
    if found.is_empty() {
        return Err(FrontError::file(path, format_args!("there is no {what} in it, in PEM")));
    }
    Ok(found)
}
