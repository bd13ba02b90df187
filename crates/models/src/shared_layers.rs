use crate::weights::WeightScope;
use candle_core::Device;
use nd_kernels::Storage;
use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The layers of a loaded model by their checkpoint keys, so that a model with a few other weights shares the rest.
#[derive(Default)]
pub(crate) struct SharedLayers(Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>);

impl SharedLayers {
    /// The layer of a place, when one of this type was put there.
    pub fn get<T: Clone + 'static>(&self, place: &str) -> Option<T> {
        self.lock().get(place)?.downcast_ref::<T>().cloned()
    }

    /// Keeps a layer under its place.
    pub fn put<T: Clone + Send + Sync + 'static>(&self, place: String, layer: &T) {
        self.lock().insert(place, Arc::new(layer.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<dyn Any + Send + Sync>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a loaded model keeps so that another one can be made from it: where its weights are, how they were loaded, and its layers.
pub(crate) struct Origin {
    pub scope: WeightScope,
    pub device: Device,
    pub dtype: Storage,
    pub layers: SharedLayers,
    /// Checkpoint keys that the model reads.
    pub keys: HashSet<String>,
}
