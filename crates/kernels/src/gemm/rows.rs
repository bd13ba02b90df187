/// Where the rows of A lie.
pub(crate) trait Rows: Sync {
    /// Pointers to the channels of rows `first..first + out.len()` of a set.
    fn fill(&self, set: usize, first: usize, out: &mut [*const f32]);

    /// One scale per row, where rows are bytes.
    fn scales(&self) -> *const f32;
}

/// Rows one behind the other: a linear layer.
pub(crate) struct Strided<'a> {
    pub data: &'a [f32],
    /// Lanes from one row to the next.
    pub width: usize,
    /// One per row, where rows are bytes.
    pub scales: *const f32,
}

// SAFETY: the scales are only read.
unsafe impl Sync for Strided<'_> {}

impl Rows for Strided<'_> {
    #[inline]
    fn fill(&self, _set: usize, first: usize, out: &mut [*const f32]) {
        let base = self.data.as_ptr();
        for (i, p) in out.iter_mut().enumerate() {
            *p = base.wrapping_add((first + i) * self.width);
        }
    }

    fn scales(&self) -> *const f32 {
        self.scales
    }
}
