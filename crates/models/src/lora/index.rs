use super::place::{flatten, Component};
use super::sgm::SgmNames;
use crate::shared_layers::Origin;
use std::collections::{BTreeMap, HashMap};

/// A layer of a model that adapters can change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Module {
    /// Its name in diffusers, such as `mid_block.attentions.0.proj_in`.
    pub name: String,
    /// Checkpoint key without `weight` or `bias`, with the dot before it.
    pub key: String,
    /// Shape of its weight.
    pub shape: Vec<usize>,
    /// Length of its bias.
    pub bias: Option<usize>,
}

/// The layers of a model by every name that adapter files have for them.
pub struct ModuleIndex {
    modules: Vec<Module>,
    by_name: HashMap<String, usize>,
}

impl ModuleIndex {
    pub(crate) fn new(component: Component, origin: &Origin) -> Self {
        let mut found: BTreeMap<String, Module> = BTreeMap::new();
        for key in origin.keys.iter().filter_map(|key| key.strip_suffix("weight")) {
            let shape_of = |name: &str| origin.scope.weights.describe(&format!("{key}{name}")).map(|(_, shape)| shape);
            let name = key.strip_prefix(&origin.scope.prefix).and_then(|name| name.strip_suffix('.'));
            if let (Some(name), Some(shape)) = (name, shape_of("weight")) {
                let bias = shape_of("bias").filter(|_| origin.keys.contains(&format!("{key}bias"))).and_then(|shape| shape.first().copied());
                let name = name.strip_prefix("text_model.").unwrap_or(name).to_string();
                found.insert(name.clone(), Module { name, key: key.to_string(), shape, bias });
            }
        }
        let modules: Vec<Module> = found.into_values().collect();
        let mut by_name = HashMap::new();
        let sgm = (component == Component::Unet).then(|| SgmNames::new(modules.iter().map(|module| module.name.as_str())));
        for (at, module) in modules.iter().enumerate() {
            for name in spellings(component, &module.name) {
                by_name.entry(name).or_insert(at);
            }
            if let Some(name) = sgm.as_ref().and_then(|names| names.of(&module.name)) {
                by_name.entry(flatten(&name)).or_insert(at);
            }
        }
        Self { modules, by_name }
    }

    /// The layer of a flattened name.
    pub(super) fn find(&self, name: &str) -> Option<&Module> {
        self.modules.get(*self.by_name.get(name)?)
    }

    /// Whether some layer's name starts with these words.
    pub(super) fn has(&self, start: &str) -> bool {
        self.modules.iter().any(|module| module.name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}

/// A layer's name, and those that old diffusers had for attention.
fn spellings(component: Component, module: &str) -> Vec<String> {
    let name = flatten(module);
    let old = match component {
        Component::Unet | Component::MotionAdapter => name.strip_suffix("_to_out_0").map(|start| format!("{start}_to_out")),
        Component::TextEncoder | Component::TextEncoder2 => {
            let (start, end) = name.rsplit_once("_self_attn_").unwrap_or((&name, ""));
            let old = match end {
                "q_proj" => "to_q",
                "k_proj" => "to_k",
                "v_proj" => "to_v",
                "out_proj" => "to_out",
                _ => "",
            };
            (!old.is_empty()).then(|| format!("{start}_self_attn_{old}"))
        }
    };
    std::iter::once(name.clone()).chain(old).collect()
}
