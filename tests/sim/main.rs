//! The real engine, ledger, tag and recovery code over a simulated disk: seeded histories, named histories, oracles.

#![allow(unreachable_pub, reason = "a test is a crate of its own: there is nobody to reach anything")]
#![allow(clippy::unwrap_used, reason = "a test fails where it has nothing to go on with")]

mod exhaustive;
mod histories;
mod history;
mod mutants;
mod oracles;
mod oracles_can_fail;
mod plan;
mod scenarios;
mod seeds;
