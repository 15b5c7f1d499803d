//! Memory and processor time of nodes that have nothing to do: one alone with an empty ledger, and two paired ones.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::machine::Machine;
use crate::row::{Area, Row, Target, quantile};

/// After the start, before the measurement: what a start leaves to do is no idleness.
const SETTLE: Duration = Duration::from_secs(5);
/// Looks, one a period.
const LOOKS: usize = 30;
const PERIOD: Duration = Duration::from_secs(1);

/// Measures all three over the same time.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let alone = Machine::with_ledger(bin, "alone").await?;
    let inviter = Machine::with_ledger(bin, "inviter").await?;
    let mut joiner = Machine::new(bin, "joiner");
    inviter.pair(&mut joiner).await?;
    let machines = [("a node alone", &alone), ("a paired node", &inviter), ("the other paired node", &joiner)];
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + SETTLE, PERIOD);
    ticks.tick().await;
    let begun = Instant::now();
    let mut before = Vec::new();
    for (_, machine) in &machines {
        before.push(machine.processor_s()?);
    }
    let mut memory = vec![Vec::new(); machines.len()];
    for _ in 0..LOOKS {
        ticks.tick().await;
        for ((_, machine), memory) in machines.iter().zip(&mut memory) {
            memory.push(machine.memory_mb()?);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    for (((who, machine), before), memory) in machines.iter().zip(before).zip(memory) {
        let used = (machine.processor_s()? - before) / seconds * 100.0;
        let row = Row::new(Area::Ledger, &format!("idle memory of {who}"), quantile(&memory, 0.5), "MB", LOOKS);
        add(row.target(Target::AtMost(80.0)));
        let row = Row::new(Area::Ledger, &format!("idle processor of {who}, over {LOOKS} s"), used, "%", 1);
        add(row.target(Target::AtMost(1.0)));
    }
    Ok(())
}
