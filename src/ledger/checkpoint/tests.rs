//! Any checkpoint comes back, and what is cut short or contradicts itself does not.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Numbers of the ledger are below 2^63.
fn number() -> std::ops::Range<u64> {
    0..1 << 63
}

fn window() -> impl Strategy<Value = Window> {
    let states = select(vec![WriteState::Unissued, WriteState::Issued, WriteState::Completed, WriteState::Durable]);
    (0..1_u64 << 62, prop::collection::vec(states, 0..300))
        .prop_map(|(base, states)| Window::with_states(Seq(base), states))
}

fn epochs() -> impl Strategy<Value = Epochs> {
    let words = (any::<u64>(), number(), number(), number());
    prop::collection::btree_map(number(), words, 0..6).prop_map(|table| {
        let record = |(number, (nonce, restart, reserved, last_checkpoint))| EpochRecord {
            epoch: Epoch { number, nonce },
            restart: Seq(restart),
            reserved: Seq(reserved),
            last_checkpoint,
        };
        Epochs::from_records(table.into_iter().map(record).collect()).expect("in order")
    })
}

fn flushes() -> impl Strategy<Value = Vec<FlushRecord>> {
    let flush = (number(), number(), number());
    let flush = flush.prop_map(|(number, durable, wall_ns)| FlushRecord { number, durable: Seq(durable), wall_ns });
    prop::collection::vec(flush, 0..=MAX_FLUSHES)
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let promise = select(vec![Promise::Ack, Promise::Fua, Promise::Flush]);
    let totals = (number(), number(), number());
    let rest = (any::<u64>(), any::<bool>(), 0_u64..1 << 20, any::<u64>(), number());
    (promise, window(), epochs(), flushes(), totals, rest).prop_map(
        |(promise, window, epochs, flushes, (written, read, cuts), (number, clean, ahead, below, wall_ns))| {
            Checkpoint {
                number,
                promise,
                clean,
                reserved: Seq(window.end().0 + ahead),
                verified: Seq(below % (window.end().0 + 1)),
                window,
                epochs,
                flushes,
                totals: Totals { written, verified: read, cuts },
                wall_ns,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_checkpoint_is_read_as_it_was_written(saved in checkpoint()) {
        prop_assert_eq!(Checkpoint::decode(saved.number, &saved.encode()), Ok(saved));
    }

    /// The envelope's BLAKE3 keeps damage out. What gets past it was written so, and is believed only where it agrees
    /// with itself: then what was read is what stands there, but for bits that mean nothing.
    #[test]
    fn what_is_cut_short_is_refused_and_what_is_changed_is_read_as_what_it_then_says(
        saved in checkpoint(), at: Index, cut: Index,
    ) {
        let bytes = saved.encode();
        prop_assert!(Checkpoint::decode(saved.number, &bytes[..cut.index(bytes.len())]).is_err());
        let mut changed = bytes.clone();
        let bit = at.index(bytes.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = Checkpoint::decode(saved.number, &changed) {
            let padding = changed.len() - 1;
            let meant = |at: &usize| !(76..80).contains(at) && (*at != padding || saved.window.states().len() % 4 == 0);
            let again = read.encode();
            prop_assert_eq!(again.len(), changed.len());
            prop_assert!((0..changed.len()).filter(meant).all(|at| again[at] == changed[at]), "bit {bit}");
        }
    }
}
