//! How large an event may be, by each way to publish it.

use crate::model::ChannelKind;
use crate::pusher::frame;
use crate::pusher::rest::{Event, Publication};
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault};
use super::{ACCEPTED, Found, Site};

const EVENT: &str = "client-pc-probe";
/// What is tried, in bytes of data. Documents say 10 kB; servers made 10,000 of it, 10,240, and
/// twice that.
const SIZES: [usize; 6] = [10_000, 10_001, 10_240, 10_241, 20_480, 20_481];

/// What any limit lets through.
const SMALL: usize = 10;

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Private, "sizes")?;
    let name = channel.as_str();
    for (row, is_batch) in [(Row::SizeTrigger, false), (Row::SizeBatch, true)] {
        let mut largest = Largest::default();
        for size in SIZES {
            let data = text(size);
            let request = if is_batch {
                let event = Event { name: EVENT, channel: name, data: &data };
                site.signer.batch(&[event], site.now())
            } else {
                let publication = Publication {
                    name: EVENT,
                    channels: &[name],
                    data: &data,
                    ..Publication::default()
                };
                site.signer.publish(&publication, site.now())
            };
            if !largest.takes(size, site.status(&request).await?) {
                break;
            }
        }
        found.push((row, largest.reading()));
    }
    found.push((Row::SizeClientEvent, client_event(site).await?));
    Ok(())
}

async fn client_event(site: &Site) -> Result<Reading, Fault> {
    let channel = site.channel(ChannelKind::Private, "client-sizes")?;
    let mut other = Client::connect(site).await?;
    other.subscribe(&channel, "").await?;
    let mut largest = Largest::default();
    for size in [SMALL].into_iter().chain(SIZES) {
        let mut sender = Client::connect(site).await?;
        sender.subscribe(&channel, "").await?;
        sender.send(frame::client_event(EVENT, channel.as_str(), &text(size))).await?;
        let fate = sender.fate(|_| false).await?;
        sender.leave().await;
        site.fence(&channel).await?;
        let heard = other.until_fence(&channel).await?;
        let is_taken = heard.iter().any(|h| h.is(EVENT, &channel));
        if !is_taken && size == SMALL {
            other.leave().await;
            return Ok(Reading::NotApplicable("client events are not delivered".to_owned()));
        }
        let said = if is_taken { ACCEPTED.to_owned() } else { fate.said() };
        if !largest.takes(size, said) {
            break;
        }
    }
    other.leave().await;
    Ok(largest.reading())
}

/// A JSON text of so many bytes.
fn text(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)))
}

/// The largest size that is taken, and what becomes of the next one.
#[derive(Debug, Default)]
struct Largest {
    taken: Option<usize>,
    refused: Option<String>,
}

impl Largest {
    /// Whether this size is taken, by what was said to it.
    fn takes(&mut self, size: usize, said: String) -> bool {
        if said == ACCEPTED {
            self.taken = Some(size);
            return true;
        }
        self.refused = Some(said);
        false
    }

    /// How large it may be. In which words the next one is refused is another row's.
    fn reading(self) -> Reading {
        Reading::Value(match (self.taken, self.refused) {
            (Some(taken), Some(_)) => format!("{taken} bytes"),
            (Some(taken), None) => format!("{taken} bytes and more"),
            (None, said) => format!("not even {} bytes: {}", SIZES[0], said.unwrap_or_default()),
        })
    }
}
