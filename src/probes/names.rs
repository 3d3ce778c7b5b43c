//! How long names may be, and of what characters.

use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::Fault;
use super::{ACCEPTED, Found, Site};

const EVENT: &str = "pc-probe";
/// Lengths of a channel's name, in characters. Documents say 164, and servers 200.
const CHANNEL_LENGTHS: [usize; 4] = [164, 165, 200, 201];
const EVENT_LENGTHS: [usize; 2] = [200, 201];
/// Characters that documents allow in a channel's name, beside letters and digits.
const ALLOWED: &str = "_-=@,.;";
/// Others, each tried by itself.
const OTHERS: [char; 8] = [':', '#', '!', ' ', '/', '+', '*', 'é'];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let is_taken = async |channel: &str, event: &str| {
        let channels = &[channel];
        let publication = Publication { name: event, channels, data: "{}", ..Default::default() };
        let said = site.status(&site.signer.publish(&publication, site.now())).await?;
        Ok::<_, Fault>(said == ACCEPTED)
    };
    let mut longest = None;
    for length in CHANNEL_LENGTHS {
        if !is_taken(&format!("{:x<length$}", site.tail), EVENT).await? {
            break;
        }
        longest = Some(length);
    }
    found.push((Row::ChannelNameLength, up_to(longest, &CHANNEL_LENGTHS)));
    longest = None;
    for length in EVENT_LENGTHS {
        if !is_taken(&site.tail, &format!("{EVENT:x<length$}")).await? {
            break;
        }
        longest = Some(length);
    }
    found.push((Row::EventNameLength, up_to(longest, &EVENT_LENGTHS)));
    let usual = is_taken(&format!("{}{ALLOWED}", site.tail), EVENT).await?;
    let mut others = String::new();
    for other in OTHERS {
        if is_taken(&format!("{}-{other}-", site.tail), EVENT).await? {
            others.push(other);
        }
    }
    let said = match (usual, others.as_str()) {
        (true, "") => ALLOWED.to_owned(),
        (true, others) => format!("{ALLOWED} and {others:?}"),
        (false, _) => format!("not all of {ALLOWED}"),
    };
    found.push((Row::ChannelNameCharacters, Reading::Value(said)));
    Ok(())
}

fn up_to(longest: Option<usize>, tried: &[usize]) -> Reading {
    Reading::Value(match longest {
        Some(length) if tried.last() == Some(&length) => format!("{length} characters and more"),
        Some(length) => format!("{length} characters"),
        None => format!("fewer than {} characters", tried.first().copied().unwrap_or_default()),
    })
}
