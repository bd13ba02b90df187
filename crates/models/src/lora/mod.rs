//! Low-rank and other adapters: files of any trainer read, matched with a model's layers and added to its weights as they are read.
//!
//! An adapted model is a model of its own, loaded from a view that gives `W + sum of w_i * dW_i` for the touched keys; it shares every
//! other layer with the model that it comes from.

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
