//! What was gone through, in numbers: an exhaustion that shrank to nothing must be seen to.

use std::collections::BTreeMap;

use scrubd::tag::Class;

use super::subsets::Subsets;

/// Cuts of which every subset was tried, and cuts that have too many; the subsets that were left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exhausted {
    whole: u64,
    capped: u64,
    left_out: u64,
}

impl Exhausted {
    pub fn add(&mut self, subsets: &Subsets) {
        let left_out = subsets.left_out();
        *(if left_out == 0 { &mut self.whole } else { &mut self.capped }) += 1;
        self.left_out += left_out;
    }

    fn sum(&mut self, other: Exhausted) {
        self.whole += other.whole;
        self.capped += other.capped;
        self.left_out += other.left_out;
    }

    pub fn capped(&self) -> u64 {
        self.capped
    }
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>10}  cuts exhausted, {} capped ({} subsets left out)", self.whole, self.capped, self.left_out)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub runs: u64,
    /// Steps of an engine after which power was lost, and those that left something that no earlier one did.
    pub cut_points: u64,
    pub distinct_cuts: u64,
    pub honest_subsets: Exhausted,
    pub lying_subsets: Exhausted,
    /// Disks and states that a check judged, and those that were the same as one judged before.
    pub honest: u64,
    pub lying: u64,
    pub judged_before: u64,
    /// The honest ones, by the number of cuts that they came after.
    pub by_cuts: BTreeMap<usize, u64>,
    pub most_volatile_atoms: usize,
    /// Blocks of honest disks by verdict: intact, rolled back, interrupted, unwritten.
    pub verdicts: [u64; 4],
    pub proved_by_the_disk: u64,
    /// Starts after a cut that were followed step by step.
    pub lives: u64,
    /// Of these, after the process was killed and the disk lived on.
    pub kills: u64,
    pub checkpoints_compared: u64,
    /// Blocks that lied, by the name that they were given, or by the rule that no proof was left.
    pub named: BTreeMap<Class, u64>,
    pub unprovable: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn judged(&self) -> u64 {
        self.honest + self.lying
    }

    pub fn add(&mut self, other: &Tally) {
        let sums = [
            (&mut self.runs, other.runs),
            (&mut self.cut_points, other.cut_points),
            (&mut self.distinct_cuts, other.distinct_cuts),
            (&mut self.honest, other.honest),
            (&mut self.lying, other.lying),
            (&mut self.judged_before, other.judged_before),
            (&mut self.proved_by_the_disk, other.proved_by_the_disk),
            (&mut self.lives, other.lives),
            (&mut self.kills, other.kills),
            (&mut self.checkpoints_compared, other.checkpoints_compared),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.verdicts.iter_mut().zip(other.verdicts).for_each(|(sum, more)| *sum += more);
        self.honest_subsets.sum(other.honest_subsets);
        self.lying_subsets.sum(other.lying_subsets);
        self.most_volatile_atoms = self.most_volatile_atoms.max(other.most_volatile_atoms);
        other.by_cuts.iter().for_each(|(cuts, more)| *self.by_cuts.entry(*cuts).or_default() += more);
        other.named.iter().for_each(|(class, more)| *self.named.entry(*class).or_default() += more);
        other.unprovable.iter().for_each(|(rule, more)| *self.unprovable.entry(rule).or_default() += more);
    }

    pub fn print(&self, name: &str, seconds: f64) {
        println!(
            "{name}: {} worlds judged in {seconds:.1} s, {:.0} a second",
            self.judged(),
            self.judged() as f64 / seconds
        );
        println!(
            "  {:>10}  tiny runs, {} starts after a cut followed step by step, {} of them after a kill",
            self.runs, self.lives, self.kills
        );
        println!("  {:>10}  cut points, {} of them distinct", self.cut_points, self.distinct_cuts);
        println!("  {}; at most {} volatile atoms", self.honest_subsets, self.most_volatile_atoms);
        println!("  {}, with lies", self.lying_subsets);
        let [intact, rolled_back, interrupted, unwritten] = self.verdicts;
        println!(
            "  {:>10}  honest worlds; blocks: {intact} intact, {rolled_back} rolled back, {interrupted} interrupted, {unwritten} unwritten; D proved by the disk {} times",
            self.honest, self.proved_by_the_disk
        );
        println!("  {:>10}  lying worlds; {} more were the same as one before", self.lying, self.judged_before);
        self.by_cuts.iter().for_each(|(cuts, worlds)| println!("  {worlds:>10}  after {cuts} cuts"));
        println!("  {:>10}  checkpoints compared with the oracle's own ledger", self.checkpoints_compared);
        self.named.iter().for_each(|(class, blocks)| println!("  {blocks:>10}  blocks that lied named {class}"));
        self.unprovable
            .iter()
            .for_each(|(rule, blocks)| println!("  {blocks:>10}  blocks that lied unprovably: {rule}"));
    }
}
