//! The line of 64-bit numbers, cut into pieces in proportion to weights: a point on it chooses a piece.
//!
//! A random point chooses at random. Points that advance by the golden ratio of the line choose in turn: of any number of them
//! in a row each piece gets its share to within a few, and its points come at no more than three different distances (Steinhaus'
//! three-gap theorem). So no heap of deadlines is needed, nor a walk past those whose turn it is not, as the static stride
//! scheduler of gRFC A58 makes.

use super::guide::Guide;

/// 2^64 divided by the golden ratio.
pub(super) const GOLDEN_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Pieces in the order of their weights.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// The last point of each piece.
    ends: Vec<u64>,
    guide: Guide,
}

impl Shares {
    /// Cuts the line anew. Weights are positive and finite.
    pub(super) fn rebuild(&mut self, weights: impl Iterator<Item = f64> + Clone) {
        let total: f64 = weights.clone().sum();
        let mut sum = 0.0;
        self.ends.clear();
        self.ends.extend(weights.map(|weight| {
            sum += weight;
            (sum / total * 2_f64.powi(64)) as u64 // saturates
        }));
        // Sums of floats may end a little short.
        if let Some(last) = self.ends.last_mut() {
            *last = u64::MAX;
        }
        self.guide.rebuild(&self.ends);
    }

    /// The piece in which `point` lies.
    ///
    /// # Panics
    /// If there is no piece.
    pub(super) fn find(&self, point: u64) -> usize {
        self.guide.find(&self.ends, point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_golden_walk_gives_each_its_share_to_within_a_few() {
        let weights = [1.0, 2.0, 3.0, 94.0];
        let mut shares = Shares::default();
        shares.rebuild(weights.iter().copied());
        let (mut point, mut counts) = (12_345_u64, [0_i32; 4]);
        for picks in 1..=10_000 {
            counts[shares.find(point)] += 1;
            point = point.wrapping_add(GOLDEN_STEP);
            for (count, weight) in counts.iter().zip(weights) {
                assert!(
                    (f64::from(*count) - weight / 100.0 * f64::from(picks)).abs() < 4.0,
                    "{picks}: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn the_first_and_the_last_point_lie_in_the_first_and_the_last_piece() {
        let mut shares = Shares::default();
        shares.rebuild([0.1; 10].into_iter());
        assert_eq!((shares.find(0), shares.find(u64::MAX)), (0, 9));
        shares.rebuild([7.0].into_iter());
        assert_eq!((shares.find(0), shares.find(u64::MAX)), (0, 0));
    }
}
