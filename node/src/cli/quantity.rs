//! Quantities as people type them: cores, bytes, spans of time.

use clap::ValueEnum;

/// The limits of a run, by the name of their option.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LimitName {
    /// Cores
    Cpu,
    /// Memory
    Memory,
    /// Processes and threads
    Processes,
    /// Work tree and temporary files
    Disk,
    /// Time
    Wall,
    /// Bytes of log
    Log,
}

/// Thousandths of a core: `2`, `0.5` or `500m`.
pub fn cpu_milli(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no number of cores, such as 2, 0.5 or 500m");
    let milli = match text.strip_suffix('m') {
        Some(number) => number.parse().map_err(|_| wrong())?,
        None => scaled(text, 1000).ok_or_else(wrong)?,
    };
    if milli == 0 { Err(wrong()) } else { Ok(milli) }
}

/// Bytes: `1000`, `64K`, `512M`, `1.5G`, `2T`; powers of 1,024, with or without `iB` or `B` behind.
pub fn byte_count(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size, such as 1000, 64K, 512M or 1.5G");
    let at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    scaled(number, scale).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// Milliseconds: `250ms`, `30s`, `10m`, `1h`, `7d`, and several of them together, such as `1h30m`.
pub fn span_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no span of time, such as 250ms, 30s, 10m, 1h30m or 7d");
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let at = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(at);
        let end = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let scale = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        total = scaled(number, scale).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = behind;
    }
    if total == 0 { Err(wrong()) } else { Ok(total) }
}

/// A decimal number times `scale`, cut to a whole; none when it is no number or too large.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    /// More digits behind the point say nothing at our scales.
    const DIGITS_MAX: usize = 9;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > DIGITS_MAX || !digits(whole) || !digits(part) || number.ends_with('.') {
        return None;
    }
    let divisor = 10u128.pow(u32::try_from(part.len()).ok()?);
    let part = if part.is_empty() { 0 } else { part.parse::<u128>().ok()? };
    let value = (whole.parse::<u128>().ok()?.checked_mul(divisor)? + part).checked_mul(u128::from(scale))?;
    u64::try_from(value / divisor).ok()
}

/// Bytes, short enough for a table.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = bytes.saturating_mul(10);
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

/// Milliseconds, short enough for a line.
pub fn show_ms(span: u64) -> String {
    match span {
        0..1000 => format!("{span} ms"),
        1000..60_000 => format!("{}.{} s", span / 1000, span % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", span / 60_000, span % 60_000 / 1000),
        _ => format!("{} h {} min", span / 3_600_000, span % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantities are read as a person means them, and nothing else is read.
    #[test]
    fn reads_quantities() {
        let cores = [("2", 2000), ("0.5", 500), ("500m", 500), ("1.25", 1250)];
        for (text, milli) in cores {
            assert_eq!(cpu_milli(text), Ok(milli), "{text}");
        }
        let sizes = [("1000", 1000), ("64K", 65_536), ("1.5G", 3 << 29), ("2TiB", 2 << 40), ("10mb", 10 << 20)];
        for (text, bytes) in sizes {
            assert_eq!(byte_count(text), Ok(bytes), "{text}");
        }
        let spans = [("250ms", 250), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("1.5s", 1500)];
        for (text, span) in spans {
            assert_eq!(span_ms(text), Ok(span), "{text}");
        }
    }

    /// What is no quantity is refused with the text and an example.
    #[test]
    fn refuses_what_is_no_quantity() {
        for text in ["", "0", "0.0", "m", "-1", "1.", ".5", "x2", "1e3", "99999999999999999999"] {
            assert!(cpu_milli(text).is_err(), "{text}");
        }
        for text in ["", "0", "K", "1X", "1.5.5G", "-1M", "99999999999T", "1 G"] {
            assert!(byte_count(text).is_err(), "{text}");
        }
        for text in ["", "30", "s", "0s", "1y", "1h30", "-1s", "99999999999999999d"] {
            assert!(span_ms(text).is_err(), "{text}");
        }
        assert_eq!(span_ms("30").unwrap_err(), "'30' is no span of time, such as 250ms, 30s, 10m, 1h30m or 7d");
    }

    /// What is shown is short and says its unit.
    #[test]
    fn shows_quantities() {
        let sizes = [(5, "5 B"), (1024, "1.0 KiB"), (1536 << 20, "1.5 GiB")];
        for (bytes, text) in sizes {
            assert_eq!(show_bytes(bytes), text);
        }
        let spans = [(5, "5 ms"), (1234, "1.2 s"), (61_000, "1 min 1 s"), (3_660_000, "1 h 1 min")];
        for (span, text) in spans {
            assert_eq!(show_ms(span), text);
        }
    }
}
