use super::index::ModuleIndex;
use super::patched::{adapt, Adapter};
use super::place::Component;
use crate::error::Result;
use crate::load::{Builder, LoadContext, LoadReport};
use crate::shared_layers::Origin;
use std::sync::OnceLock;

/// What a model with adapters is made of: the origin that all its versions share, and the names of its layers.
pub(crate) struct Adaptable {
    origin: Origin,
    component: Component,
    index: OnceLock<ModuleIndex>,
}

impl Adaptable {
    /// For a model of this kind; both text encoders count as `TextEncoder` here.
    pub fn new(component: Component, origin: Origin) -> Self {
        Self { origin, component, index: OnceLock::new() }
    }

    /// The layers by their names in adapter files.
    pub fn index(&self) -> &ModuleIndex {
        self.index.get_or_init(|| ModuleIndex::new(self.component, &self.origin))
    }

    /// Builds the model with these adapters, and a report on what it does not share: its own `parameters`, and the `bytes` that they take in memory.
    pub fn adapt<T>(
        &self,
        component: Component,
        adapters: &[Adapter],
        ctx: LoadContext,
        build: impl Fn(&Builder) -> Result<T>,
    ) -> Result<(T, LoadReport)> {
        let (model, parameters) = adapt(&self.origin, (component, self.index()), adapters, ctx, build)?;
        let bytes = parameters * self.origin.dtype.float().size_in_bytes() as u64;
        Ok((model, LoadReport { unexpected: Vec::new(), parameters, bytes }))
    }
}
