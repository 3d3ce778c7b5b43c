//! Charts as inline SVG. What is drawn lies between 0 and 1; type and strokes keep their size
//! however wide the screen is.

use std::fmt::Write;

use crate::report::markup::escaped;
use crate::report::text::grouped;

/// Most marks of an axis for values.
const TICKS_MAX: usize = 6;
/// Most marks of an axis for counts.
const COUNT_TICKS_MAX: f64 = 4.0;

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Where, from 0 to 1.
    pub(super) at: f64,
    /// What stands beside it.
    pub(super) label: String,
    /// Whether a narrow screen has no room for the label.
    pub(super) is_spare: bool,
}

/// An axis for values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Axis {
    /// Milliseconds, by their logarithm.
    Millis {
        /// The decimal logarithm of the least value.
        low: f64,
        /// That of the largest one.
        high: f64,
    },
    /// Counts from nought.
    Counts {
        /// The largest count.
        high: f64,
        /// From one mark to the next.
        step: f64,
    },
}

/// The largest of 1, 2 and 5 times a power of ten that is at most this.
fn rounded_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    // A quotient of doubles may miss by a hair what it is.
    let times = value / power * (1.0 + 1e-9);
    power * [5.0, 2.0].into_iter().find(|step| times >= *step).unwrap_or(1.0)
}

/// The smallest of them that is at least this.
fn rounded_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let times = value / power * (1.0 - 1e-9);
    power * [1.0, 2.0, 5.0].into_iter().find(|step| times <= *step).unwrap_or(10.0)
}

impl Axis {
    /// An axis that has room for these milliseconds. What is no time is left out.
    pub(super) fn millis(values: impl Iterator<Item = f64>) -> Self {
        // From a microsecond to a day: beyond that nothing was measured.
        let values = values.filter(|ms| ms.is_finite()).map(|ms| ms.clamp(1e-3, 1e8));
        let least_and_most = values.fold(None, |known: Option<(f64, f64)>, ms| {
            Some(known.map_or((ms, ms), |(low, high)| (low.min(ms), high.max(ms))))
        });
        let (low, high) = least_and_most.unwrap_or((1.0, 1.0));
        let (low, mut high) = (rounded_down(low), rounded_up(high));
        if high / low < 1.5 {
            high = rounded_up(low * 1.5);
        }
        Self::Millis { low: low.log10(), high: high.log10() }
    }

    /// An axis from nought to this count.
    pub(super) fn counts(most: u64) -> Self {
        let most = (most as f64).max(1.0);
        let step = rounded_up(most / COUNT_TICKS_MAX).max(1.0);
        Self::Counts { high: (most / step).ceil() * step, step }
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn at(&self, value: f64) -> f64 {
        let at = match self {
            Self::Millis { low, high } => (value.max(1e-3).log10() - low) / (high - low),
            Self::Counts { high, .. } => value / high,
        };
        if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) }
    }

    /// What is marked on it.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let tick = |value: f64, label: String| Tick { at: self.at(value), label, is_spare: false };
        match self {
            Self::Millis { low, high } => {
                let (first, last) = (low.floor() as i32, high.ceil() as i32);
                let values = |steps: &[f64]| -> Vec<f64> {
                    let powers = (first..=last).map(|power| 10_f64.powi(power));
                    let all = powers.flat_map(|power| steps.iter().map(move |step| power * step));
                    let is_within = |ms: &f64| (low - 1e-6..=high + 1e-6).contains(&ms.log10());
                    all.filter(is_within).collect()
                };
                let fine = values(&[1.0, 2.0, 5.0]);
                let mut shown = if fine.len() <= TICKS_MAX { fine } else { values(&[1.0]) };
                while shown.len() > TICKS_MAX {
                    shown = shown.into_iter().step_by(2).collect();
                }
                shown.into_iter().map(|ms| tick(ms, duration(ms))).collect()
            }
            Self::Counts { high, step } => {
                let count = (high / step).round() as u64;
                (0..=count).map(|n| n as f64 * step).map(|v| tick(v, short(v as u64))).collect()
            }
        }
    }
}

/// A round count, so short that there is room for it beside a chart.
fn short(count: u64) -> String {
    match count {
        n if n >= 1_000_000_000 => format!("{} G", n as f64 / 1e9),
        n if n >= 1_000_000 => format!("{} M", n as f64 / 1e6),
        n => grouped(n),
    }
}

/// A round number of milliseconds, as short as it is exact.
fn duration(ms: f64) -> String {
    if ms >= 999.5 {
        return format!("{} s", grouped((ms / 1e3).round() as u64));
    }
    let decimals = (-ms.log10().floor()).clamp(0.0, 3.0) as usize;
    format!("{ms:.decimals$} ms")
}

/// A line through points; `None` is a gap.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Which classes its look has.
    pub(super) class: String,
    /// Its points, each coordinate from 0 to 1, upwards and to the right.
    pub(super) points: Vec<Option<(f64, f64)>>,
}

impl Line {
    /// As the path of an SVG that is 1000 wide and high. A point by itself is a dot.
    fn path(&self) -> String {
        let mut path = String::new();
        let mut is_drawing = false;
        for point in &self.points {
            let Some((x, y)) = point else {
                is_drawing = false;
                continue;
            };
            let (x, y) = (x * 1e3, (1.0 - y) * 1e3);
            // Writing to a String cannot fail.
            let _ = match is_drawing {
                true => write!(path, "L{x:.1} {y:.1}"),
                false => write!(path, "M{x:.1} {y:.1}h0"),
            };
            is_drawing = true;
        }
        path
    }
}

/// How something that lasts looks. Each look has a pattern of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    /// A connection that the cluster closed.
    Close,
    /// One that was cut.
    Network,
    /// One that was not completed.
    Handshake,
    /// One that the agent ended on purpose.
    Agent,
    /// Seconds that cannot be relied on.
    Tainted,
    /// Something that happened.
    Incident,
    /// Something that a provider announced.
    Announced,
}

impl Look {
    /// Every look.
    pub(super) const ALL: [Self; 7] = [
        Self::Close,
        Self::Network,
        Self::Handshake,
        Self::Agent,
        Self::Tainted,
        Self::Incident,
        Self::Announced,
    ];

    /// The name of its pattern.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Network => "network",
            Self::Handshake => "handshake",
            Self::Agent => "agent",
            Self::Tainted => "tainted",
            Self::Incident => "incident",
            Self::Announced => "announced",
        }
    }

    /// What is drawn on a tile of 8 by 8 units.
    const fn strokes(self) -> &'static str {
        match self {
            Self::Close | Self::Incident => "",
            Self::Network => "M-1 9L9-1M-1 1L1-1M7 9L9 7",
            Self::Handshake => "M4 0V8M0 4H8",
            Self::Agent => "M2 4h.1M6 0h.1M6 8h.1",
            Self::Tainted => "M-1-1L9 9M-1 7L1 9M7-1L9 1",
            Self::Announced => "M0 4H8",
        }
    }
}

/// The patterns, once for all charts of a page.
pub(super) fn write_patterns(out: &mut String) -> std::fmt::Result {
    write!(out, "<svg class=\"patterns\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>")?;
    for look in Look::ALL {
        let (name, strokes) = (look.name(), look.strokes());
        write!(
            out,
            "<pattern id=\"look-{name}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">\
             <g class=\"look {name}\"><rect width=\"8\" height=\"8\"/><path d=\"{strokes}\"/></g>\
             </pattern>"
        )?;
    }
    writeln!(out, "</defs></svg>")
}

/// Something that lasts, from left to right.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    /// Where it begins, from 0 to 1.
    pub(super) from: f64,
    /// Where it ends.
    pub(super) until: f64,
    /// How it looks; without a look it is only named.
    pub(super) look: Option<Look>,
    /// What it is, shown where the pointer rests on it. No markup yet; empty for nothing.
    pub(super) title: String,
}

impl Band {
    /// Over the whole height.
    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        let (x, width) = (self.from * 100.0, (self.until - self.from).max(0.0) * 100.0);
        write!(out, "<rect x=\"{x:.2}%\" width=\"{width:.2}%\" height=\"100%\"")?;
        match self.look {
            Some(look) => {
                let name = look.name();
                write!(out, " class=\"band {name}\" fill=\"url(#look-{name})\"")?;
            }
            None => write!(out, " class=\"slot\"")?,
        }
        match self.title.as_str() {
            "" => write!(out, "/>"),
            title => write!(out, "><title>{}</title></rect>", escaped(title)),
        }
    }
}

/// A chart with two axes.
pub(super) struct Plot<'a> {
    /// What it shows, for whoever cannot see it. No markup yet.
    pub(super) label: String,
    /// Whether it has a page's attention, or is one of several.
    pub(super) is_tall: bool,
    /// What is marked below it.
    pub(super) across: &'a [Tick],
    /// What is marked at its left.
    pub(super) up: Vec<Tick>,
    /// What lies behind its lines.
    pub(super) bands: Vec<Band>,
    /// Its lines.
    pub(super) lines: Vec<Line>,
    /// What is named where the pointer rests on it.
    pub(super) slots: Vec<Band>,
}

impl Plot<'_> {
    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        let class = if self.is_tall { "plot tall" } else { "plot" };
        let label = escaped(&self.label);
        writeln!(out, "<div class=\"{class}\"><svg role=\"img\" aria-label=\"{label}\">")?;
        for band in &self.bands {
            band.write(out)?;
        }
        for Tick { at, label, .. } in &self.up {
            let y = (1.0 - at) * 100.0;
            write!(
                out,
                "<line class=\"grid\" x2=\"100%\" y1=\"{y:.2}%\" y2=\"{y:.2}%\"/>\
                 <text class=\"up\" x=\"-8\" y=\"{y:.2}%\" dy=\".35em\">{label}</text>"
            )?;
        }
        write_across(out, self.across)?;
        write!(
            out,
            "\n<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" width=\"100%\" \
             height=\"100%\">"
        )?;
        for line in &self.lines {
            write!(out, "<path class=\"line {}\" d=\"{}\"/>", line.class, line.path())?;
        }
        writeln!(out, "</svg>")?;
        for slot in &self.slots {
            slot.write(out)?;
        }
        writeln!(out, "</svg></div>")
    }
}

/// The marks below a chart, each within its width.
pub(super) fn write_across(out: &mut String, ticks: &[Tick]) -> std::fmt::Result {
    for Tick { at, label, is_spare } in ticks {
        let (x, spare) = (at * 100.0, if *is_spare { " spare" } else { "" });
        // At the left there is room beside the chart.
        let anchor = if *at > 0.91 { "end" } else { "middle" };
        write!(
            out,
            "<line class=\"grid{spare}\" y2=\"100%\" x1=\"{x:.2}%\" x2=\"{x:.2}%\"/>\
             <text class=\"across{spare}\" x=\"{x:.2}%\" y=\"100%\" dy=\"1.75em\" \
             text-anchor=\"{anchor}\">{label}</text>"
        )?;
    }
    Ok(())
}

/// What the lines of charts mean.
pub(super) fn write_key(out: &mut String, lines: &[(&str, &str)]) -> std::fmt::Result {
    write!(out, "<ul class=\"key\">")?;
    for (class, meaning) in lines {
        write!(
            out,
            "<li><svg width=\"30\" height=\"12\" aria-hidden=\"true\"><path class=\"line {class}\" \
             d=\"M2 6H28\"/></svg>{meaning}</li>"
        )?;
    }
    writeln!(out, "</ul>")
}

/// What the looks of bands mean.
pub(super) fn write_looks(out: &mut String, looks: &[(Look, &str)]) -> std::fmt::Result {
    write!(out, "<ul class=\"key\">")?;
    for (look, meaning) in looks {
        let name = look.name();
        write!(
            out,
            "<li><svg width=\"30\" height=\"14\" aria-hidden=\"true\"><rect class=\"band {name}\" \
             width=\"30\" height=\"14\" fill=\"url(#look-{name})\"/></svg>{meaning}</li>"
        )?;
    }
    writeln!(out, "</ul>")
}
