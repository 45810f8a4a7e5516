//! A simulated disk with a volatile cache and faults, in virtual time. Pure.
