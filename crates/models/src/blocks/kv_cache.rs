use crate::error::Result;
use candle_core::{Tensor, TensorId};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Prompts whose keys and values are kept: a prompt pair for each of a few runs at the same time.
const ENTRIES: usize = 4;

/// Keys and values of cross-attention, which depend on the prompt only, kept from step to step under the identity of the prompt's tensor.
pub(crate) struct KvCache {
    entries: Mutex<VecDeque<(TensorId, Arc<KvEntry>)>>,
    slots: usize,
}

/// Keys and values of one prompt, one slot per attention layer.
pub(crate) struct KvEntry {
    slots: Vec<OnceLock<(Tensor, Tensor)>>,
    context: OnceLock<Tensor>,
}

impl KvCache {
    /// A cache for a model with this many cross-attention layers.
    pub fn new(slots: usize) -> Self {
        Self { entries: Mutex::default(), slots }
    }

    /// The entry of a prompt tensor; the least recently used entry makes room for a new one.
    pub fn entry(&self, prompt: &Tensor) -> Arc<KvEntry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let position = entries.iter().position(|(id, _)| *id == prompt.id());
        let found = position.and_then(|at| entries.remove(at));
        let (id, entry) = found.unwrap_or_else(|| (prompt.id(), Arc::new(KvEntry::new(self.slots))));
        entries.push_front((id, entry.clone()));
        entries.truncate(ENTRIES);
        entry
    }
}

impl KvEntry {
    fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| OnceLock::new()).collect(), context: OnceLock::new() }
    }

    /// The keys and values of a layer, computed at the first call.
    pub fn get(&self, slot: usize, compute: impl FnOnce() -> Result<(Tensor, Tensor)>) -> Result<(Tensor, Tensor)> {
        let Some(cell) = self.slots.get(slot) else { return compute() };
        if let Some(kv) = cell.get() {
            return Ok(kv.clone());
        }
        let kv = compute()?;
        Ok(cell.get_or_init(|| kv).clone())
    }

    /// The prompt as the attention layers read it, computed at the first call.
    pub fn context(&self, compute: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        if let Some(context) = self.context.get() {
            return Ok(context.clone());
        }
        let context = compute()?;
        Ok(self.context.get_or_init(|| context).clone())
    }
}

/// Hands out slot numbers while a model is built.
#[derive(Default)]
pub(crate) struct Slots {
    kv: Cell<usize>,
    image: RefCell<Vec<String>>,
    own: RefCell<Vec<String>>,
}

/// Names of a model's attention layers, such as `mid_block.attentions.0.transformer_blocks.0.attn2`, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttentionNames {
    /// Those that image prompts attach to.
    pub image: Vec<String>,
    /// Those over the image itself.
    pub own: Vec<String>,
}

impl Slots {
    /// A slot of the cache, for any attention that reads the prompt.
    pub fn kv(&self) -> usize {
        self.kv.replace(self.kv.get() + 1)
    }

    /// The position of a named layer among those that image prompts attach to, in diffusers' order of attention processors.
    pub fn image(&self, name: &str) -> usize {
        Self::add(&self.image, name)
    }

    /// The position of a named layer among those over the image itself.
    pub fn own(&self, name: &str) -> usize {
        Self::add(&self.own, name)
    }

    fn add(names: &RefCell<Vec<String>>, name: &str) -> usize {
        let mut names = names.borrow_mut();
        names.push(name.to_string());
        names.len() - 1
    }

    /// The layers that got a position.
    pub fn names(&self) -> AttentionNames {
        AttentionNames { image: self.image.borrow().clone(), own: self.own.borrow().clone() }
    }

    /// How many cache slots were handed out.
    pub fn count(&self) -> usize {
        self.kv.get()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use candle_core::Device;

    fn tensor(value: f32) -> Tensor {
        Tensor::new(&[value], &Device::Cpu).unwrap()
    }

    #[test]
    fn keys_and_values_are_computed_once_per_prompt() {
        let cache = KvCache::new(2);
        let prompt = tensor(1.0);
        let first = cache.entry(&prompt).get(1, || Ok((tensor(2.0), tensor(3.0)))).unwrap();
        let again = cache.entry(&prompt).get(1, || panic!("computed twice")).unwrap();
        assert_eq!(first.0.id(), again.0.id());
        let other = cache.entry(&tensor(1.0)).get(1, || Ok((tensor(5.0), tensor(6.0)))).unwrap();
        assert_eq!(other.0.to_vec1::<f32>().unwrap(), [5.0]);
    }

    #[test]
    fn the_least_recently_used_prompt_is_dropped() {
        let cache = KvCache::new(1);
        let prompts: Vec<Tensor> = (0..ENTRIES + 1).map(|i| tensor(i as f32)).collect();
        for prompt in &prompts[..ENTRIES] {
            cache.entry(prompt).get(0, || Ok((tensor(0.0), tensor(0.0)))).unwrap();
        }
        cache.entry(&prompts[0]);
        cache.entry(&prompts[ENTRIES]);
        let mut recomputed = false;
        cache.entry(&prompts[0]).get(0, || panic!("was dropped")).unwrap();
        let compute = || {
            recomputed = true;
            Ok((tensor(0.0), tensor(0.0)))
        };
        cache.entry(&prompts[1]).get(0, compute).unwrap();
        assert!(recomputed);
    }
}
