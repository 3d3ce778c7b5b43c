//! Ratios as percentages, rounded so that what is said of them stays true.

/// A ratio as a percentage, as near as two significant digits tell: of what is missing to 100 %,
/// where that is less.
pub fn percent(ratio: f64) -> String {
    rounded(ratio, f64::round)
}

/// An upper bound as a percentage. Never less than it is: "below" must stay true.
pub fn percent_above(ratio: f64) -> String {
    rounded(ratio, f64::ceil)
}

/// A lower bound as a percentage. Never more than it is: "at least" must stay true.
pub(super) fn percent_below(ratio: f64) -> String {
    rounded(ratio, f64::floor)
}

fn rounded(ratio: f64, round: fn(f64) -> f64) -> String {
    let percent = ratio * 100.0;
    let telling = percent.min(100.0 - percent);
    if telling <= 0.0 {
        return format!("{percent:.0} %");
    }
    let decimals = (1.0 - telling.log10().floor()).clamp(0.0, 12.0);
    let scale = 10_f64.powf(decimals);
    // A decimal fraction has no exact double: 0.05 % is not to become 0.051 % for that.
    let nearest = (percent * scale).round();
    let scaled =
        if (percent * scale - nearest).abs() < 1e-6 { nearest } else { round(percent * scale) };
    let text = format!("{:.*}", decimals as usize, scaled / scale);
    // Near 100 % the digits tell how much is missing, and noughts at their end tell nothing.
    let text = if percent > 10.0 && text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &*text
    };
    format!("{text} %")
}
