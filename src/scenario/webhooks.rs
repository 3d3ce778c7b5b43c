//! `[webhooks]`: where the apps' webhooks arrive.

use core::net::SocketAddr;

use serde::Serialize;

use super::reader::Section;

/// An address and a port.
const ADDRESS: &str = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$";
/// The path of a URL.
const PATH: &str = "^/[!\"$->@-~]*$";

/// `[webhooks]`.
#[derive(Clone, Debug, Serialize)]
pub struct Webhooks {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The path that they are posted to.
    pub path: String,
}

/// Reads the section, if it is there.
pub(super) fn read(section: &mut Section<'_>) -> Option<Webhooks> {
    if !section.is_present() {
        return None;
    }
    if !section.requires("listen") {
        let message = "is missing; say where webhooks arrive: \"127.0.0.1:9185\"";
        section.problem("listen", message);
    }
    let listen = section.text_like("listen", ADDRESS, None).and_then(|text| {
        let listen = text.parse();
        if listen.is_err() {
            let message =
                format!("{text:?} is no IP address with a port; write \"127.0.0.1:9185\"");
            section.problem("listen", message);
        }
        listen.ok()
    });
    let path = section.text_like("path", PATH, Some("/webhooks"));
    let path = path.unwrap_or_else(|| "/webhooks".to_owned());
    let is_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    if !path.starts_with('/') || !path.bytes().all(is_path) {
        section.problem("path", "must be a path such as \"/webhooks\"");
    }
    Some(Webhooks { listen: listen.unwrap_or_else(nowhere), path })
}

/// Where nothing ever listens: the scenario has a problem.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}
