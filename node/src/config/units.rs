//! Sizes and times as people write them.

/// Units of a size, each in bytes. A bare `K` or `M` is refused, since people mean two things by it.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Units of a time, each in milliseconds.
const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes from `512MiB`, `1.5 GiB` or `1048576`.
pub fn size_bytes(text: &str) -> Option<u64> {
    amount(text, SIZES)
}

/// Milliseconds from `10m`, `1.5h` or `30000`.
pub fn time_ms(text: &str) -> Option<u64> {
    amount(text, TIMES)
}

/// A whole number without a unit, or a decimal one with; exact, or nothing.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let factor = match unit {
        "" if fraction.is_empty() => 1,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    if number.contains('.') && fraction.is_empty() {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if !fraction.is_empty() {
        let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(fraction.parse::<u64>().ok()?.checked_mul(factor)? / scale)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::{size_bytes, time_ms};

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1_048_576", Some(1 << 20)),
            ("512MiB", Some(512 << 20)),
            (" 1.5 GiB ", Some(3 << 29)),
            ("2GB", Some(2_000_000_000)),
            ("10M", None),
            ("10m", None),
            ("1.5", None),
            ("1.", None),
            ("-1", None),
            ("", None),
            ("MiB", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(size_bytes(text), bytes, "{text:?}");
        }
        for (text, ms) in [("250ms", Some(250)), ("10m", Some(600_000)), ("1.5h", Some(5_400_000)), ("10min", None)] {
            assert_eq!(time_ms(text), ms, "{text:?}");
        }
    }
}
