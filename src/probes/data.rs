//! Whether data arrives as it was published, byte for byte.

use crate::model::ChannelKind;
use crate::pusher::rest::Publication;
use crate::verify::parity::{Reading, Row};

use super::client::{Client, Fault, Heard};
use super::{Found, Site};

/// Characters of altered data that are shown.
const SHOWN_MAX: usize = 60;

/// What is published.
const CASES: [(Row, &str); 8] = [
    (Row::DataText, "plain text, no JSON"),
    (Row::DataObject, r#"{"b": 1,"a":[true,null,{}],"b2":{"c":"d"}}"#),
    (Row::DataNumber, "1234.5600"),
    (Row::DataNull, "null"),
    (Row::DataEmpty, ""),
    (Row::DataUnicode, "{\"t\":\"żółć 漢字 😀 \u{2028}\"}"),
    (Row::DataEscapes, r#"{"t":"\u0041\/\n\t\\ \" <a href='x'>&amp;"}"#),
    (Row::DataIntegers, r#"{"n":9007199254740993,"m":123456789012345678901234567890}"#),
];

pub(super) async fn probe(site: &Site, found: &mut Found) -> Result<(), Fault> {
    let channel = site.channel(ChannelKind::Public, "data")?;
    let mut client = Client::connect(site).await?;
    client.subscribe(&channel, "").await?;
    let channels = &[channel.as_str()];
    for (row, data) in CASES {
        // A late copy of one must not be taken for another.
        let event = format!("pc-{}", row.as_str());
        let publication = Publication { name: &event, channels, data, ..Publication::default() };
        let reading = match site.publish(&publication).await {
            Err(fault @ Fault::Refused(_)) => fault.reading(),
            Err(fault) => return Err(fault),
            Ok(_) => {
                let came = client.awaited(|h| h.is(&event, &channel)).await?;
                Reading::Value(came.map_or("nothing".to_owned(), |came| arrived(data, &came)))
            }
        };
        found.push((row, reading));
    }
    client.leave().await;
    Ok(())
}

fn arrived(data: &str, came: &Heard) -> String {
    match (came.data == data, came.is_text) {
        (true, true) => "as published".to_owned(),
        (true, false) => "as published, but not as a string".to_owned(),
        (false, is_text) => {
            let shown: String = came.data.chars().take(SHOWN_MAX).collect();
            let form = if is_text { "" } else { ", and not as a string" };
            format!("altered{form}: {shown}")
        }
    }
}
