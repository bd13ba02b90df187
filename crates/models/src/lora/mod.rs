//! Low-rank and other adapters: files of any trainer read, matched with a model's layers and added to its weights as they are read.
//!
//! An adapted model is a model of its own: layers that adapters touch are packed from `W + sum of w_i * dW_i`, all others are shared with the model that it comes
//! from. Products of two matrices are added block by block while a layer is packed from its file; other changes go through a tensor.

mod adaptable;
mod apply;
mod block_weights;
mod delta;
mod dora;
mod facts;
mod fit;
mod group;
mod index;
mod key;
mod patched;
mod place;
mod report;
mod rotation;
mod sgm;
mod summary;

pub(crate) use adaptable::Adaptable;
pub use block_weights::BlockWeights;
pub use group::LoraFile;
pub use index::ModuleIndex;
pub use patched::Adapter;
pub use place::Component;
pub use report::{report, LoraReport};
