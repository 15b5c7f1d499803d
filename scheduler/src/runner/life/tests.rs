//! Deadlines, walls and stops, moment by moment.

use super::*;

fn at(deadline: u64) -> Life {
    let mut life = Life::new(Deadline::At(BootMs(deadline)), 60_000, BootMs(1_000));
    life.started(BootNs(1_000_000_000));
    life
}

/// Runs the clock from one wished-for moment to the next and notes what was due.
fn play(life: &mut Life, until: u64) -> Vec<(u64, Due)> {
    let mut seen = Vec::new();
    let mut now = BootMs(1_000);
    while now.0 <= until {
        let due = life.due(now);
        if due != Due::Nothing {
            seen.push((now.0, due));
        }
        now = life.next().max(now.plus(1));
    }
    seen
}

#[test]
fn a_deadline_asks_first_and_kills_on_time() {
    // Asked a lead before, killed at it, and killed again while anything is left.
    let mut life = at(5_000);
    let seen = play(&mut life, 5_050);
    assert_eq!(seen, [(5_000 - POLITE_LEAD_MS, Due::Terminate), (5_000, Due::Kill), (5_050, Due::Kill)]);
    assert_eq!(life.verdict(0, "").0, RunOutcome::Lost);
}

#[test]
fn an_extension_never_shortens_and_comes_in_time_or_not_at_all() {
    // A later deadline moves both moments; an earlier one changes nothing; after the polite signal it is refused.
    let mut life = at(5_000);
    assert_eq!(life.extend(BootMs(9_000)), Ok(BootMs(9_000)));
    assert_eq!(life.extend(BootMs(2_000)), Ok(BootMs(9_000)));
    assert_eq!(play(&mut life, 8_600), [(9_000 - POLITE_LEAD_MS, Due::Terminate)]);
    assert!(life.extend(BootMs(20_000)).is_err());
    let mut held = Life::new(Deadline::Held, 1, BootMs(0));
    assert!(held.extend(BootMs(5)).is_err());
}

#[test]
fn a_grace_never_outlives_the_lease() {
    // A stop with a long grace is cut at the deadline, and its outcome is still the stop's.
    let mut life = at(5_000);
    life.end(Cause::Stop(StopReason::Released), BootMs(60_000));
    assert_eq!(play(&mut life, 5_000), [(1_000, Due::Terminate), (5_000, Due::Kill)]);
    assert_eq!(life.verdict(0, "").0, RunOutcome::Released);
    // While it is being stopped its lease may still be renewed.
    let mut renewed = at(5_000);
    renewed.end(Cause::Stop(StopReason::Released), BootMs(8_000));
    renewed.extend(BootMs(10_000)).unwrap();
    assert_eq!(play(&mut renewed, 8_000), [(1_000, Due::Terminate), (8_000, Due::Kill)]);
}

#[test]
fn a_wall_limit_times_out() {
    // Counted from the first instruction, with a grace after the polite signal.
    let mut life = Life::new(Deadline::Held, 2_000, BootMs(1_000));
    life.started(BootNs(1_000_000_000));
    assert_eq!(play(&mut life, 4_000), [(3_000, Due::Terminate), (3_000 + WALL_GRACE_MS, Due::Kill)]);
    assert_eq!(life.verdict(0, "").0, RunOutcome::TimedOut);
}

#[test]
fn what_has_not_started_is_killed_soon() {
    // Whatever the grace: only the moment in which the command may run unheard is waited for.
    let mut life = Life::new(Deadline::Held, 2_000, BootMs(1_000));
    life.end(Cause::Stop(StopReason::Cancelled), BootMs(30_000));
    assert_eq!(play(&mut life, 1_500), [(1_000, Due::Terminate), (1_000 + PREPARING_GRACE_MS, Due::Kill)]);
    let mut heard = Life::new(Deadline::Held, 60_000, BootMs(1_000));
    heard.end(Cause::Stop(StopReason::Cancelled), BootMs(30_000));
    assert_eq!(heard.due(BootMs(1_000)), Due::Terminate);
    heard.started(BootNs(1_000_000_000));
    assert_eq!(heard.next(), BootMs(30_000));
}

#[test]
fn once_the_command_has_ended_its_results_are_stored() {
    // Neither deadline nor stop disturb it, whether the command ended by itself or because it was asked; a failing
    // host does.
    for asked in [false, true] {
        let mut life = at(5_000);
        if asked {
            life.end(Cause::Stop(StopReason::Cancelled), BootMs(2_000));
            assert_eq!(life.due(BootMs(1_500)), Due::Terminate);
        }
        life.command_ended(CommandEnd::Exited(0), BootNs(1), BootMs(1_900));
        life.end(Cause::Stop(StopReason::Released), BootMs(1_901));
        assert_eq!(life.due(BootMs(50_000)), Due::Nothing);
        let expected = if asked { RunOutcome::Cancelled } else { RunOutcome::Exited { code: 0 } };
        assert_eq!(life.verdict(0, "").0, expected);
        life.end(Cause::HostFailed("disk full".into()), BootMs(50_001));
        assert_eq!(life.due(BootMs(50_001)), Due::Kill);
    }
}

#[test]
fn out_of_memory_is_told_from_a_plain_failure() {
    // A kill of the kernel explains a failed command or a vanished sandbox, and not a command that went on to succeed.
    let ended = |end| {
        let mut life = at(5_000);
        life.command_ended(end, BootNs(1), BootMs(2));
        life
    };
    assert_eq!(ended(CommandEnd::Signalled(9)).verdict(1, "").0, RunOutcome::OutOfMemory);
    assert_eq!(ended(CommandEnd::Signalled(9)).verdict(0, "").0, RunOutcome::Signalled { signal: 9 });
    assert_eq!(ended(CommandEnd::Exited(0)).verdict(1, "").0, RunOutcome::Exited { code: 0 });
    assert_eq!(at(5_000).verdict(1, "").0, RunOutcome::OutOfMemory);
    assert_eq!(at(5_000).verdict(0, "").0, RunOutcome::Lost);
}
