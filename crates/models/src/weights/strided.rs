use std::borrow::Cow;
use std::ops::Range;

/// Dimensions that a tensor may have; weights have four at most.
const MOST_DIMENSIONS: usize = 8;

/// A tensor's place in a file: the bytes it spans, and steps between its elements where they do not follow one another.
#[derive(Clone, Debug)]
pub(super) struct Strided {
    pub shape: Vec<usize>,
    /// The bytes of the file from the first element to the last.
    pub range: Range<usize>,
    /// Elements from one index to the next by dimension; none for plain row-major order.
    steps: Option<Vec<usize>>,
}

impl Strided {
    /// The view of `storage` (bytes of the file) that torch describes by offset, size and stride in elements of `width` bytes. `None` if it
    /// reaches outside the storage or repeats elements beyond its size.
    pub fn new(storage: Range<usize>, width: usize, offset: u64, size: &[usize], stride: &[usize]) -> Option<Self> {
        if size.len() > MOST_DIMENSIONS {
            return None;
        }
        let count = size.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let capacity = storage.len() / width;
        if count == 0 {
            return Some(Self { shape: size.to_vec(), range: storage.start..storage.start, steps: None });
        }
        let last = size.iter().zip(stride).try_fold(0usize, |n, (d, step)| n.checked_add((d - 1).checked_mul(*step)?))?;
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(last)?.checked_add(1).filter(|end| *end <= capacity)?;
        if count > capacity {
            return None;
        }
        let range = storage.start + offset * width..storage.start + end * width;
        let steps = (!is_row_major(size, stride)).then(|| stride.to_vec());
        Some(Self { shape: size.to_vec(), range, steps })
    }

    /// The elements where they lie, if that is in row-major order.
    pub fn in_place<'f>(&self, file: &'f [u8]) -> Option<&'f [u8]> {
        if self.steps.is_some() {
            return None;
        }
        file.get(self.range.clone())
    }

    /// The elements in row-major order; copied only where they do not lie so. Empty if the file has become shorter.
    pub fn bytes<'f>(&self, file: &'f [u8], width: usize) -> Cow<'f, [u8]> {
        let bytes = file.get(self.range.clone()).unwrap_or_default();
        let Some(steps) = &self.steps else { return Cow::Borrowed(bytes) };
        let mut out = Vec::with_capacity(self.shape.iter().product::<usize>() * width);
        gather(bytes, width, &self.shape, steps, 0, &mut out);
        Cow::Owned(out)
    }
}

fn gather(bytes: &[u8], width: usize, shape: &[usize], steps: &[usize], at: usize, out: &mut Vec<u8>) {
    match (shape.split_first(), steps.split_first()) {
        (Some((count, shape)), Some((step, steps))) => (0..*count).for_each(|i| gather(bytes, width, shape, steps, at + i * step, out)),
        _ => out.extend_from_slice(bytes.get(at * width..(at + 1) * width).unwrap_or_default()),
    }
}

/// Whether elements follow one another; the step of a dimension of size 1 does not matter.
fn is_row_major(size: &[usize], stride: &[usize]) -> bool {
    let mut expected = 1;
    size.iter().zip(stride).rev().all(|(d, step)| {
        let fits = *d == 1 || *step == expected;
        expected *= d;
        fits
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn transposed_views_are_gathered_and_plain_ones_borrowed() {
        let file: Vec<u8> = (0..8).collect();
        let plain = Strided::new(2..8, 1, 0, &[2, 3], &[3, 1]).unwrap();
        assert!(matches!(plain.bytes(&file, 1), Cow::Borrowed(&[2, 3, 4, 5, 6, 7])));
        let turned = Strided::new(2..8, 1, 0, &[3, 2], &[1, 3]).unwrap();
        assert_eq!(&*turned.bytes(&file, 1), [2, 5, 3, 6, 4, 7]);
        let row = Strided::new(2..8, 1, 3, &[1, 3], &[99, 1]).unwrap();
        assert_eq!(&*row.bytes(&file, 1), [5, 6, 7]);
    }

    #[test]
    fn views_outside_or_larger_than_their_storage_are_refused() {
        assert!(Strided::new(0..6, 1, 1, &[2, 3], &[3, 1]).is_none());
        assert!(Strided::new(0..6, 1, 0, &[1000], &[0]).is_none());
        assert!(Strided::new(0..6, 1, u64::MAX, &[2], &[1]).is_none());
        assert!(Strided::new(0..6, 1, 0, &[usize::MAX, 2], &[1, 1]).is_none());
    }
}
