//! Makes a schedule that breaks a promise shorter, as long as it still breaks one.

use super::attempt;
use super::plan::Plan;

/// Most runs spent on it.
const RUNS_MAX: usize = 400;

/// Leaves out ever smaller parts of the schedule, and then members that nothing needs.
pub fn shrink(mut plan: Plan, mut message: String) -> (Plan, String) {
    let hook = std::panic::take_hook();
    // each of the runs fails in its own words
    std::panic::set_hook(Box::new(|_| {}));
    let mut runs = 0;
    let mut part = plan.schedule.len().div_ceil(2);
    while part > 0 && runs < RUNS_MAX {
        let mut from = 0;
        let mut shorter_found = false;
        while from < plan.schedule.len() && runs < RUNS_MAX {
            let mut shorter = plan.clone();
            shorter.schedule.drain(from..(from + part).min(plan.schedule.len()));
            runs += 1;
            match attempt(&shorter) {
                Ok(_) => from += part,
                // another fault than the one found is another story
                Err(why) if kind(&why) != kind(&message) => from += part,
                Err(why) => {
                    (plan, message) = (shorter, why);
                    shorter_found = true;
                }
            }
        }
        if !shorter_found || part > 1 {
            part /= 2;
        }
    }
    std::panic::set_hook(hook);
    (plan, message)
}

/// The words of a message before the first that differs from run to run.
fn kind(message: &str) -> &str {
    let end = message.find(|letter: char| letter.is_ascii_digit() || letter == '{').unwrap_or(message.len());
    &message[..end]
}
