//! What is served, on which address, and to whom.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::keeper::Keeper;
use crate::cli::WebArgs;
use crate::exit::Exit;
use crate::model::Secret;
use crate::serve::web_config::WebConfig;
use crate::serve::{self, Occupancy, Pages};

use super::{Stop, complain};

/// Where to listen, and who may read.
pub(super) struct Web {
    address: SocketAddr,
    /// The web configuration's file, if there is one, and what was read of it and of those that it
    /// names.
    file: Option<(PathBuf, Read)>,
    config: watch::Sender<Arc<WebConfig>>,
}

/// Files by their names, as they were read; or why one could not be.
type Read = Vec<(String, Result<Secret, String>)>;

impl Web {
    /// Reads the web configuration, if there is one.
    ///
    /// # Errors
    /// It is of no use, or is missing where others than this machine could read.
    pub(super) fn new(address: SocketAddr, args: &WebArgs) -> Result<Self, Stop> {
        let Some(path) = &args.web_config_file else {
            if !address.ip().is_loopback() {
                let message = format!(
                    "--listen {address} can be read from elsewhere: say in --web-config-file who \
                     may, and how; an empty file means everybody"
                );
                return Err(Stop::new(Exit::Usage, message));
            }
            return Ok(Self { address, file: None, config: watch::Sender::default() });
        };
        let (config, read) = load(path);
        let config = watch::Sender::new(Arc::new(config?));
        Ok(Self { address, file: Some((path.clone(), read)), config })
    }

    /// Reads the web configuration again: a certificate is renewed while it is used. What is of no
    /// use changes nothing, and is said once.
    pub(super) fn look(&mut self) {
        let Some((path, known)) = &mut self.file else { return };
        let (config, read) = load(path);
        if *known == read {
            return;
        }
        *known = read;
        match config {
            Ok(config) => {
                self.config.send_replace(Arc::new(config));
                tracing::info!("the web configuration is another one now");
            }
            Err(stop) => complain(&format!("who may read stays as it was: {}", stop.message)),
        }
    }

    /// Serves until `stop`, and says where. `pages` are named beside `/metrics`.
    pub(super) async fn serve(
        &self,
        pages: Pages,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, Stop> {
        let Self { address, config, .. } = self;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Stop::new(Exit::Usage, format!("cannot listen on {address}: {error}"))
        })?;
        if let Ok(address) = listener.local_addr() {
            let scheme = if config.borrow().tls.is_some() { "https" } else { "http" };
            complain(&format!("metrics on {scheme}://{address}/metrics"));
            if pages.watch.is_some() {
                complain(&format!("live page on {scheme}://{address}/"));
            }
        }
        Ok(tokio::spawn(serve::run(listener, pages, config.subscribe(), stop)))
    }
}

/// Reads a web configuration and the files that it names, whose paths start at its own folder.
fn load(path: &Path) -> (Result<WebConfig, Stop>, Read) {
    let shown = path.display();
    let unusable = |error: &dyn std::fmt::Display| {
        Stop::new(Exit::Usage, format!("--web-config-file {shown}: {error}"))
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let seen = RefCell::new(Read::new());
    let read = |file: &Path| {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
        let kept = text.as_deref().map(Secret::new).map_err(Clone::clone);
        seen.borrow_mut().push((file.display().to_string(), kept));
        text
    };
    let config = read(path).map_err(|error| unusable(&error)).and_then(|text| {
        let config = WebConfig::new(&text, |file| read(&folder.join(file)));
        config.map_err(|error| unusable(&error))
    });
    (config, seen.into_inner())
}

/// Who is on which channel, where webhooks are received.
pub(super) fn occupancy(keeper: Option<Arc<Keeper>>) -> Option<Occupancy> {
    keeper.map(|keeper| -> Occupancy { Arc::new(move |prefix| keeper.page(prefix)) })
}
