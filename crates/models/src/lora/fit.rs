use super::group::{Algorithm, Group, LoraFile};
use super::index::Module;
use super::key::Part;

/// Fails, with what is wrong, unless a group's tensors have the shapes that this layer's change needs.
pub(super) fn fit(file: &LoraFile, group: &Group, module: &Module) -> Result<(), String> {
    let out = module.shape.first().copied().unwrap_or(0);
    let wide: usize = module.shape.iter().skip(1).product();
    let inputs = module.shape.get(1).copied().unwrap_or(1);
    let taps = wide / inputs.max(1);
    let sizes = Sizes { file, group };
    match group.algorithm {
        Algorithm::Lora | Algorithm::LoCon => {
            let (rank, columns) = sizes.rows(Part::Down)?;
            match sizes.optional(Part::Mid)? {
                None => sizes.expect(Part::Down, columns == wide && rank > 0, &format!("(rank, {wide})"))?,
                Some(_) => {
                    sizes.expect(Part::Down, columns == inputs && rank > 0, &format!("(rank, {inputs})"))?;
                    let (left, right) = sizes.rows(Part::Mid)?;
                    sizes.expect(Part::Mid, right == rank * taps && left == sizes.rows(Part::Up)?.1, &format!("(rank, {rank}, {taps} taps)"))?;
                }
            }
            let (rows, inner) = sizes.rows(Part::Up)?;
            sizes.expect(Part::Up, rows == out && (inner == rank || group.parts.contains_key(&Part::Mid)), &format!("({out}, {rank})"))?;
        }
        Algorithm::LoHa => {
            for (t, a, b) in [(Part::HadaT1, Part::HadaW1A, Part::HadaW1B), (Part::HadaT2, Part::HadaW2A, Part::HadaW2B)] {
                let found = sizes.pair(t, a, b)?;
                sizes.expect(a, found == (out, wide), &format!("factors of ({out}, {wide})"))?;
            }
        }
        Algorithm::LoKr => {
            let full = |part| group.parts.contains_key(&part);
            let first = if full(Part::LokrW1) { sizes.rows(Part::LokrW1)? } else { sizes.pair(Part::LokrW1, Part::LokrW1A, Part::LokrW1B)? };
            let second = if full(Part::LokrW2) { sizes.rows(Part::LokrW2)? } else { sizes.pair(Part::LokrT2, Part::LokrW2A, Part::LokrW2B)? };
            let whole_taps = second.1.is_multiple_of(taps.max(1));
            let fits = first.0.checked_mul(second.0) == Some(out) && first.1.checked_mul(second.1) == Some(wide) && whole_taps;
            let first_key = if full(Part::LokrW1) { Part::LokrW1 } else { Part::LokrW1A };
            sizes.expect(first_key, fits, &format!("factors of ({out}, {wide})"))?;
        }
        Algorithm::Full => {
            if let Some(count) = sizes.optional(Part::Diff)? {
                sizes.expect(Part::Diff, count == out * wide, &format!("{:?}", module.shape))?;
            }
        }
        Algorithm::GLora => {
            let old = file.is_old_glora(group);
            let first = |a, b| if old { sizes.product(b, a) } else { sizes.product(a, b) };
            let mixed = first(Part::GloraA1, Part::GloraA2)?;
            sizes.expect(Part::GloraA1, mixed == (inputs, inputs), &format!("factors of ({inputs}, {inputs})"))?;
            let added = match file.shape(group, Part::GloraBm) {
                None => first(Part::GloraB1, Part::GloraB2)?,
                Some(core) => {
                    let ((rows, left), (right, columns)) = (sizes.rows(Part::GloraB1)?, sizes.rows(Part::GloraB2)?);
                    let taps: usize = core.iter().skip(2).product();
                    sizes.expect(Part::GloraBm, core.len() == 4 && core.starts_with(&[left, right]), &format!("({left}, {right}, height, width)"))?;
                    (rows, columns * taps)
                }
            };
            sizes.expect(Part::GloraB1, added == (out, wide), &format!("factors of ({out}, {wide})"))?;
        }
        Algorithm::Oft | Algorithm::Boft => {
            let part = if group.parts.contains_key(&Part::OftBlocks) { Part::OftBlocks } else { Part::OftDiag };
            let fits = match *file.shape(group, part).unwrap_or_default() {
                [blocks, size, other] => size == other && blocks.checked_mul(size) == Some(out),
                // Stage i mixes channels in groups of 2^i * size.
                [stages, blocks, size, other] => {
                    let whole = u32::try_from(stages.saturating_sub(1)).ok().and_then(|last| size.checked_shl(last));
                    size == other && size % 2 == 0 && blocks.checked_mul(size) == Some(out) && whole.is_some_and(|n| n > 0 && out % n == 0)
                }
                _ => false,
            };
            sizes.expect(part, fits, &format!("square blocks over {out} channels"))?;
            if let Some(count) = sizes.optional(Part::Rescale)? {
                sizes.expect(Part::Rescale, count == out, &format!("({out}, 1)"))?;
            }
        }
        Algorithm::Ia3 => {
            let part = if group.parts.contains_key(&Part::Ia3) { Part::Ia3 } else { Part::Ia3Factor };
            let count = sizes.optional(part)?.unwrap_or(0);
            sizes.expect(part, count == out || count == inputs, &format!("({out}) or ({inputs})"))?;
        }
    }
    for part in [Part::DoraScale, Part::Magnitude] {
        if let Some(count) = sizes.optional(part)? {
            sizes.expect(part, count == out || count == inputs, &format!("({out}, 1) or (1, {inputs})"))?;
        }
    }
    match (module.bias, sizes.optional(Part::DiffB)?) {
        (Some(bias), Some(count)) => sizes.expect(Part::DiffB, count == bias, &format!("({bias})")),
        _ => Ok(()),
    }
}

struct Sizes<'a> {
    file: &'a LoraFile,
    group: &'a Group,
}

impl Sizes<'_> {
    /// Number of values, `None` without this part.
    fn optional(&self, part: Part) -> Result<Option<usize>, String> {
        let Some(shape) = self.file.shape(self.group, part) else { return Ok(None) };
        shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).map(Some).ok_or_else(|| format!("{part:?} of {shape:?}"))
    }

    /// First dimension and product of the others.
    fn rows(&self, part: Part) -> Result<(usize, usize), String> {
        let shape = self.file.shape(self.group, part).unwrap_or_default();
        let rest = shape.iter().skip(1).try_fold(1usize, |count, &size| count.checked_mul(size));
        match (shape.as_slice(), rest) {
            ([first, _, ..], Some(rest)) => Ok((*first, rest)),
            _ => Err(self.wrong(part, "at least two dimensions")),
        }
    }

    /// Rows and columns that two factors give.
    fn product(&self, a: Part, b: Part) -> Result<(usize, usize), String> {
        let ((rows, inner), (rank, columns)) = (self.rows(a)?, self.rows(b)?);
        self.expect(b, inner == rank, &format!("{inner} rows"))?;
        Ok((rows, columns))
    }

    /// Rows and columns that two factors give, or two and the core of a convolution.
    fn pair(&self, core: Part, a: Part, b: Part) -> Result<(usize, usize), String> {
        let ((rows, inner), (rank, columns)) = (self.rows(a)?, self.rows(b)?);
        match self.file.shape(self.group, core) {
            None => {
                self.expect(b, inner == rank, &format!("{inner} rows"))?;
                Ok((rows, columns))
            }
            Some(shape) => {
                let (left, right) = self.rows(core)?;
                let taps: usize = shape.iter().skip(2).product();
                self.expect(core, left == rows && right == rank * taps, &format!("({rows}, {rank}, ...)"))?;
                Ok((inner, columns * taps))
            }
        }
    }

    fn expect(&self, part: Part, fits: bool, wanted: &str) -> Result<(), String> {
        if fits {
            return Ok(());
        }
        Err(self.wrong(part, wanted))
    }

    fn wrong(&self, part: Part, wanted: &str) -> String {
        let key = self.group.parts.get(&part).map_or("a missing tensor", String::as_str);
        format!("{key} (expected {wanted}, found {:?})", self.file.shape(self.group, part).unwrap_or_default())
    }
}
