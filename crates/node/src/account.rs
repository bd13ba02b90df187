//! Native memory made known to V8, once for each storage.

use candle_core::{Storage, Tensor};
use napi::Env;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of one storage, shared by all JavaScript tensors that are views of it.
pub struct Account {
    bytes: i64,
}

impl Account {
    /// Reports a storage to V8.
    fn opened(env: &Env, tensor: &Tensor) -> napi::Result<Arc<Self>> {
        let bytes = i64::try_from(tensor.elem_count() * tensor.dtype().size_in_bytes()).unwrap_or(i64::MAX);
        env.adjust_external_memory(bytes)?;
        Ok(Arc::new(Self { bytes }))
    }
}

/// A tensor together with the account of its storage.
pub struct Accounted {
    pub tensor: Tensor,
    account: Arc<Account>,
}

impl Accounted {
    /// Reports a new storage to V8; `relatives` are tensors whose storage it may be a view of.
    pub fn new<'a>(env: &Env, tensor: Tensor, relatives: impl IntoIterator<Item = &'a Accounted>) -> napi::Result<Self> {
        let address = storage_address(&tensor);
        let shared = relatives.into_iter().find(|other| storage_address(&other.tensor) == address);
        let account = match shared {
            Some(other) => other.account.clone(),
            None => Account::opened(env, &tensor)?,
        };
        Ok(Self { tensor, account })
    }

    /// Reports new storages to V8, of tensors of which some may be views of one.
    pub fn all(env: &Env, tensors: Vec<Tensor>) -> napi::Result<Vec<Self>> {
        let mut accounts: HashMap<usize, Arc<Account>> = HashMap::new();
        let mut all = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let address = storage_address(&tensor);
            let account = match accounts.get(&address) {
                Some(known) => known.clone(),
                None => Account::opened(env, &tensor)?,
            };
            accounts.insert(address, account.clone());
            all.push(Self { tensor, account });
        }
        Ok(all)
    }

    /// Drops the tensor; the last user of the storage takes its bytes off V8's books.
    pub fn release(self, env: &Env) -> napi::Result<()> {
        if let Some(account) = Arc::into_inner(self.account) {
            env.adjust_external_memory(-account.bytes)?;
        }
        Ok(())
    }
}

fn storage_address(tensor: &Tensor) -> usize {
    let (storage, _) = tensor.storage_and_layout();
    std::ptr::from_ref::<Storage>(&storage) as usize
}
