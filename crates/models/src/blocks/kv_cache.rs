use crate::error::Result;
use candle_core::{Tensor, TensorId};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Prompts whose keys and values are kept: a prompt pair for each of a few runs at the same time. A run that goes round more texts gets room for them.
const ENTRIES: usize = 4;

/// Most bytes that the entries of a run of many texts take.
const BUDGET: usize = 512 << 20;

/// Forgotten prompts that are still recognised: a run of more texts than this is not worth keeping.
const REMEMBERED: usize = 256;

/// Keys and values of cross-attention, which depend on the prompt only, kept from step to step under the identity of the prompt's tensor.
pub(crate) struct KvCache {
    kept: Mutex<Kept>,
    slots: usize,
}

/// The entries of the prompts that were used last, and as many as have come back when they were gone.
struct Kept {
    /// From the latest to the earliest.
    entries: VecDeque<(TensorId, Arc<KvEntry>)>,
    /// Prompts without an entry any more, from the latest to the earliest.
    gone: VecDeque<TensorId>,
    /// How many entries there may be.
    room: usize,
    /// New prompts since the room beyond `ENTRIES` was of use.
    idle: usize,
}

/// Keys and values of one prompt, one slot per attention layer.
pub(crate) struct KvEntry {
    slots: Vec<OnceLock<(Tensor, Tensor)>>,
    context: OnceLock<Tensor>,
}

impl KvCache {
    /// A cache for a model with this many cross-attention layers.
    pub fn new(slots: usize) -> Self {
        let kept = Kept { entries: VecDeque::new(), gone: VecDeque::new(), room: ENTRIES, idle: 0 };
        Self { kept: Mutex::new(kept), slots }
    }

    /// The entry of a prompt tensor; the least recently used entry makes room for a new one.
    pub fn entry(&self, prompt: &Tensor) -> Arc<KvEntry> {
        if nd_kernels::dry::is_on() {
            // Its keys and values would be no numbers.
            return Arc::new(KvEntry::new(self.slots));
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(prompt.id(), self.slots)
    }
}

impl Kept {
    fn entry(&mut self, id: TensorId, slots: usize) -> Arc<KvEntry> {
        let entry = match self.entries.iter().position(|(known, _)| *known == id) {
            Some(at) => {
                if at >= ENTRIES {
                    self.idle = 0;
                }
                self.entries.remove(at).map(|(_, entry)| entry)
            }
            None => {
                self.make_room(id);
                None
            }
        };
        let entry = entry.unwrap_or_else(|| Arc::new(KvEntry::new(slots)));
        self.entries.push_front((id, entry.clone()));
        while self.entries.len() > self.room {
            let Some((oldest, _)) = self.entries.pop_back() else { break };
            self.gone.push_front(oldest);
        }
        self.gone.truncate(REMEMBERED);
        entry
    }

    /// Room for all prompts since one that comes back, within the budget; the usual room again once that has been of no use for a while.
    fn make_room(&mut self, id: TensorId) {
        let back = self.gone.iter().position(|gone| *gone == id);
        if let Some(at) = back {
            self.gone.remove(at);
            let bytes = self.entries.iter().map(|(_, entry)| entry.bytes()).max().unwrap_or(0).max(1);
            self.room = self.room.max((self.entries.len() + at + 1).min(BUDGET / bytes));
            self.idle = 0;
        } else {
            self.idle += 1;
            if self.idle > self.room {
                self.room = ENTRIES;
            }
        }
    }
}

impl KvEntry {
    fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| OnceLock::new()).collect(), context: OnceLock::new() }
    }

    /// What the keys and values take.
    fn bytes(&self) -> usize {
        let size = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        self.slots.iter().filter_map(OnceLock::get).map(|(keys, values)| size(keys) + size(values)).sum()
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

    /// How many of these prompts have to be computed.
    fn computed(cache: &KvCache, prompts: &[Tensor]) -> usize {
        let mut count = 0;
        for prompt in prompts {
            let compute = || {
                count += 1;
                Ok((tensor(0.0), tensor(0.0)))
            };
            cache.entry(prompt).get(0, compute).unwrap();
        }
        count
    }

    #[test]
    fn a_run_that_goes_round_many_prompts_keeps_them_all_from_the_third_round_on() {
        let cache = KvCache::new(1);
        let prompts: Vec<Tensor> = (0..10).map(|i| tensor(i as f32)).collect();
        let rounds: Vec<usize> = (0..4).map(|_| computed(&cache, &prompts)).collect();
        assert_eq!(rounds[0], 10);
        assert_eq!(rounds[2..], [0, 0]);
    }

    #[test]
    fn prompts_that_do_not_come_back_get_the_usual_room() {
        let cache = KvCache::new(1);
        let prompts: Vec<Tensor> = (0..10).map(|i| tensor(i as f32)).collect();
        (0..3).for_each(|_| assert!(computed(&cache, &prompts) <= 10));
        let others: Vec<Tensor> = (0..100).map(|i| tensor(i as f32)).collect();
        assert_eq!(computed(&cache, &others), 100);
        assert_eq!(cache.kept.lock().unwrap().entries.len(), ENTRIES);
    }

    #[test]
    fn room_for_many_prompts_stays_within_the_budget() {
        let cache = KvCache::new(1);
        let large = || Tensor::zeros(BUDGET / 4 / 12, candle_core::DType::F32, &Device::Cpu).unwrap();
        let prompts: Vec<Tensor> = (0..10).map(|i| tensor(i as f32)).collect();
        for prompt in prompts.iter().chain(&prompts) {
            cache.entry(prompt).get(0, || Ok((large(), large()))).unwrap();
        }
        assert_eq!(cache.kept.lock().unwrap().entries.len(), 6);
    }
}
