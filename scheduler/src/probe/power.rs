//! Whether the machine runs on a battery, as Linux tells it in `/sys/class/power_supply`.

use std::path::Path;

/// A battery of the machine itself discharges, or there is one and no mains is online. What cannot be read says nothing.
pub(super) fn on_battery(supplies: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(supplies) else { return false };
    let (mut battery, mut discharging, mut mains) = (false, false, None);
    for entry in entries.flatten() {
        let read = |name: &str| {
            let text = std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        match read("type").as_str() {
            // a mouse has a battery too
            "Battery" if read("scope") != "Device" => {
                battery = true;
                discharging |= read("status") == "Discharging";
            }
            "Mains" | "USB" => mains = Some(mains.unwrap_or(false) || read("online") == "1"),
            _ => {}
        }
    }
    match mains {
        Some(true) | None => battery && discharging,
        Some(false) => battery,
    }
}
