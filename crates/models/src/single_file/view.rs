use crate::error::{ModelError, Result};
use crate::weights::{Element, WeightSource, Weights};
use candle_core::{Device, Tensor};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// How a tensor of one layout is made from those of another.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recipe {
    /// The same tensor by another name.
    Same(String),
    /// The same values in another shape.
    Shaped(String, Vec<usize>),
    /// One of several equal parts of the rows: OpenCLIP keeps q, k and v in one matrix.
    Rows { of: String, part: usize, parts: usize },
    /// Several tensors' rows one after the other.
    Joined(Vec<String>),
    /// A matrix with rows and columns swapped.
    Transposed(String),
}

/// Another source's tensors under other names; nothing is read, or copied, before it is asked for.
pub(super) struct View {
    source: Weights,
    recipes: HashMap<String, Recipe>,
}

impl View {
    /// Errors: `ModelError::Weights` for a recipe whose ingredients have shapes that do not go together, naming the keys.
    pub fn new(source: Weights, recipes: HashMap<String, Recipe>) -> Result<Self> {
        let view = Self { source, recipes };
        for (name, recipe) in &view.recipes {
            if view.described(recipe).is_none() {
                let origin = view.source.origin();
                return Err(ModelError::Weights(format!(
                    "Expected tensors in {origin} from which to make {name} but {recipe:?} is missing or misshapen"
                )));
            }
        }
        Ok(view)
    }

    fn described(&self, recipe: &Recipe) -> Option<(Element, Vec<usize>)> {
        match recipe {
            Recipe::Same(name) => self.source.describe(name),
            Recipe::Shaped(name, shape) => {
                let (element, found) = self.source.describe(name)?;
                (found.iter().product::<usize>() == shape.iter().product::<usize>()).then(|| (element, shape.clone()))
            }
            Recipe::Rows { of, parts, .. } => {
                let (element, mut shape) = self.source.describe(of)?;
                let rows = shape.first_mut()?;
                *rows = rows.is_multiple_of(*parts).then_some(*rows / parts)?;
                Some((element, shape))
            }
            Recipe::Joined(names) => {
                let mut all = names.iter().map(|name| self.source.describe(name));
                let (element, mut shape) = all.next()??;
                for next in all {
                    let (other, next) = next?;
                    if other != element || next.get(1..) != shape.get(1..) {
                        return None;
                    }
                    *shape.first_mut()? += next.first()?;
                }
                Some((element, shape))
            }
            Recipe::Transposed(name) => {
                let (element, mut shape) = self.source.describe(name)?;
                shape.reverse();
                (shape.len() == 2).then_some((element, shape))
            }
        }
    }

    fn recipe(&self, name: &str) -> Result<&Recipe> {
        self.recipes.get(name).ok_or_else(|| crate::weights::missing(name, &self.source.origin()))
    }
}

impl WeightSource for View {
    fn origin(&self) -> String {
        self.source.origin()
    }

    fn names(&self) -> Vec<String> {
        self.recipes.keys().cloned().collect()
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        self.described(self.recipes.get(name)?)
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let recipe = self.recipe(name)?;
        if let Recipe::Same(name) = recipe {
            return self.source.read(name, device);
        }
        let (element, shape) = self.described(recipe).ok_or_else(|| crate::weights::missing(name, &self.source.origin()))?;
        let tensor = element.decode(&self.bytes(name)?, &shape, device);
        self.release(name);
        tensor
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        match self.recipe(name)? {
            Recipe::Same(name) | Recipe::Shaped(name, _) => self.source.bytes(name),
            Recipe::Rows { of, part, parts } => Ok(match self.source.bytes(of)? {
                Cow::Borrowed(all) => Cow::Borrowed(rows(all, *part, *parts)),
                Cow::Owned(all) => Cow::Owned(rows(&all, *part, *parts).to_vec()),
            }),
            Recipe::Joined(names) => {
                let mut all = Vec::new();
                for name in names {
                    all.extend_from_slice(&self.source.bytes(name)?);
                }
                Ok(Cow::Owned(all))
            }
            Recipe::Transposed(name) => {
                let (element, shape) = self.source.describe(name).ok_or_else(|| crate::weights::missing(name, &self.source.origin()))?;
                let columns = shape.get(1).copied().unwrap_or(1);
                Ok(Cow::Owned(transposed(&self.source.bytes(name)?, columns, element.bytes())))
            }
        }
    }

    fn view(&self, name: &str) -> Option<&[u8]> {
        match self.recipes.get(name)? {
            Recipe::Same(name) | Recipe::Shaped(name, _) => self.source.view(name),
            Recipe::Rows { of, part, parts } => self.source.view(of).map(|all| rows(all, *part, *parts)),
            Recipe::Joined(_) | Recipe::Transposed(_) => None,
        }
    }

    fn release(&self, name: &str) {
        match self.recipes.get(name) {
            Some(Recipe::Same(name) | Recipe::Shaped(name, _) | Recipe::Rows { of: name, .. } | Recipe::Transposed(name)) => {
                self.source.release(name)
            }
            Some(Recipe::Joined(names)) => names.iter().for_each(|name| self.source.release(name)),
            None => {}
        }
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.source.metadata()
    }
}

fn rows(all: &[u8], part: usize, parts: usize) -> &[u8] {
    let length = all.len() / parts;
    all.get(part * length..(part + 1) * length).unwrap_or_default()
}

fn transposed(bytes: &[u8], columns: usize, width: usize) -> Vec<u8> {
    let stride = columns * width;
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in bytes.chunks_exact(stride.max(1)) {
            out.extend_from_slice(row.get(column * width..(column + 1) * width).unwrap_or_default());
        }
    }
    out
}
