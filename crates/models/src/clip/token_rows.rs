use crate::error::{ModelError, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Embeddings of token ids that a text encoder's own table does not have, or has another row for.
#[derive(Clone, Default)]
pub(super) struct TokenRows {
    /// Rows by token id.
    places: Arc<BTreeMap<u32, u32>>,
    /// (n, C) in f32.
    rows: Option<Tensor>,
}

impl TokenRows {
    /// Rows (n, C) for `ids`, rounded to the type of the table (V, C). Errors: another shape, an id twice, ids that leave a gap after the table.
    pub fn new(ids: &[u32], rows: &Tensor, table: &Tensor) -> Result<Self> {
        let (vocabulary, width) = table.dims2()?;
        if rows.dims() != [ids.len(), width] {
            return Err(ModelError::shape("embeddings", format!("shape ({}, {width})", ids.len()), rows));
        }
        let places: BTreeMap<u32, u32> = ids.iter().zip(0..).map(|(id, row)| (*id, row)).collect();
        let beyond = places.keys().filter(|id| **id as usize >= vocabulary);
        let gap = beyond.zip(vocabulary..).find(|(id, next)| **id as usize != *next);
        if places.len() != ids.len() || gap.is_some() {
            return Err(ModelError::argument("ids", format!("different token ids that go on from {vocabulary}"), format!("{ids:?}")));
        }
        let rows = rows.to_device(table.device())?.to_dtype(table.dtype())?.to_dtype(DType::F32)?.contiguous()?;
        Ok(Self { places: Arc::new(places), rows: Some(rows) })
    }

    /// How many ids a table of `vocabulary` rows has with these.
    pub fn count(&self, vocabulary: usize) -> usize {
        self.places.keys().last().map_or(vocabulary, |last| vocabulary.max(*last as usize + 1))
    }

    /// The embeddings of ids, (n, C) in f32.
    pub fn select(&self, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
        let Some(rows) = &self.rows else { return Ok(pick(table, ids)?.to_dtype(DType::F32)?) };
        let own: Vec<u32> = ids.iter().map(|id| if self.places.contains_key(id) { 0 } else { *id }).collect();
        let both = Tensor::cat(&[&pick(table, &own)?.to_dtype(DType::F32)?, rows], 0)?;
        let merged: Vec<u32> = ids.iter().zip(0..).map(|(id, at)| self.places.get(id).map_or(at, |row| ids.len() as u32 + row)).collect();
        pick(&both, &merged)
    }

    /// The table as it is with these rows.
    pub fn table(&self, table: &Tensor) -> Result<Tensor> {
        if self.rows.is_none() {
            return Ok(table.clone());
        }
        let ids: Vec<u32> = (0..self.count(table.dim(0)?) as u32).collect();
        Ok(self.select(table, &ids)?.to_dtype(table.dtype())?)
    }
}

fn pick(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    Ok(table.index_select(&Tensor::new(ids, table.device())?, 0)?)
}
