//! All vectors of choices, one per volatile atom; where they are too many, a dense part of them without chance.

/// How many choices each place has.
#[derive(Clone, Debug)]
pub struct Subsets {
    radices: Vec<usize>,
    total: u64,
    taken: u64,
}

/// A prime: its multiples visit all indexes, far from each other, before they come back to one.
const STRIDE: u64 = 1_000_003;

impl Subsets {
    /// All vectors, or `cap` of them.
    pub fn new(radices: Vec<usize>, cap: u64) -> Self {
        let total = radices.iter().fold(1_u64, |total, radix| total.saturating_mul(*radix as u64));
        Subsets { radices, total, taken: total.min(cap) }
    }

    pub fn left_out(&self) -> u64 {
        self.total - self.taken
    }

    /// The vectors; the one of all first choices and the one of all last choices are always among them.
    pub fn iter(&self) -> impl Iterator<Item = Vec<usize>> {
        let index = |nth: u64| match nth {
            nth if self.left_out() == 0 => nth,
            0 => self.total - 1,
            nth => (u128::from(nth - 1) * u128::from(STRIDE) % u128::from(self.total - 1)) as u64,
        };
        (0..self.taken).map(move |nth| self.vector(index(nth)))
    }

    fn vector(&self, mut index: u64) -> Vec<usize> {
        let digit = |radix: &usize| {
            let digit = index % *radix as u64;
            index /= *radix as u64;
            digit as usize
        };
        self.radices.iter().map(digit).collect()
    }
}

#[test]
fn every_vector_comes_once_and_a_part_of_them_has_no_doubles() {
    for cap in [1_000, 7] {
        let vectors: std::collections::BTreeSet<_> = Subsets::new(vec![2, 1, 3, 4], cap).iter().collect();
        assert_eq!(vectors.len() as u64, cap.min(24));
        assert!(vectors.contains(&vec![0, 0, 0, 0]) && vectors.contains(&vec![1, 0, 2, 3]));
    }
}
