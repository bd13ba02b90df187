use super::facts::AlphaDefaults;
use super::key::{split, Part};
use super::place::{locate, Component};
use crate::error::{ModelError, Result};
use crate::weights::{Weights, WeightsOptions};
use candle_core::{Device, Tensor};
use nd_kernels::Weight;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Names of adapter files inside a folder, without their ending.
const BASENAMES: [&str; 2] = ["pytorch_lora_weights", "adapter_model"];
/// What keys of embeddings begin with that were saved together with an adapter. Source: AUTOMATIC1111 extensions-builtin/Lora/networks.py.
const BUNDLE: &str = "bundle_emb.";
/// How many keys an error names.
const NAMED_KEYS: usize = 5;

/// An opened adapter file: tensors by the layer that they change. Only headers are read; the tensors stay in the file.
pub struct LoraFile {
    pub(super) weights: Weights,
    pub(super) groups: Vec<Group>,
    /// Keys of no known kind.
    pub(super) strangers: Vec<String>,
    /// Keys of embeddings that came with the adapter.
    bundled: Vec<String>,
    alphas: AlphaDefaults,
}

/// How a layer's change is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Lora,
    /// LoRA of a convolution larger than 1x1.
    LoCon,
    LoHa,
    LoKr,
    Ia3,
    GLora,
    Oft,
    Boft,
    Full,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::LoCon => "locon",
            Self::LoHa => "loha",
            Self::LoKr => "lokr",
            Self::Ia3 => "ia3",
            Self::GLora => "glora",
            Self::Oft => "oft",
            Self::Boft => "boft",
            Self::Full => "full",
        }
    }
}

/// The tensors of an adapter for one layer.
pub(super) struct Group {
    /// Component and flattened name; `None` for a name that tells neither.
    pub place: Option<(Component, String)>,
    /// Keys by what they are.
    pub parts: BTreeMap<Part, String>,
    pub algorithm: Algorithm,
}

impl LoraFile {
    /// Opens a file of any format, or a folder with `pytorch_lora_weights` or `adapter_model`.
    /// Errors: `ModelError::Io`, `ModelError::Weights` for a damaged file and for one that holds no adapter.
    pub fn open(path: &Path) -> Result<Self> {
        let options = WeightsOptions { basenames: BASENAMES.map(String::from).to_vec(), ..Default::default() };
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        let beside = folder.map(|folder| folder.join("adapter_config.json")).filter(|_| stem(path) == BASENAMES[1] || path.is_dir());
        let alphas = AlphaDefaults::read(beside.as_deref())?;
        Self::new(Weights::open(path, &options)?, alphas)
    }

    /// From tensors in memory by their keys in a file.
    pub fn from_weights(weights: Weights) -> Result<Self> {
        Self::new(weights, AlphaDefaults::default())
    }

    fn new(weights: Weights, alphas: AlphaDefaults) -> Result<Self> {
        let alphas = alphas.with_metadata(&weights.metadata())?;
        let mut by_name: BTreeMap<String, BTreeMap<Part, String>> = BTreeMap::new();
        let mut strangers = Vec::new();
        let (bundled, keys) = weights.names().into_iter().partition::<Vec<_>, _>(|key| key.starts_with(BUNDLE));
        for key in keys {
            match split(&key) {
                Some((name, part)) => drop(by_name.entry(name.to_string()).or_default().insert(part, key)),
                None => strangers.push(key),
            }
        }
        let mut groups = Vec::new();
        for (name, parts) in by_name {
            match algorithm(&parts, &weights) {
                Some(algorithm) => groups.push(Group { place: locate(&name), parts, algorithm }),
                None => strangers.extend(parts.into_values()),
            }
        }
        strangers.sort();
        if groups.is_empty() {
            return Err(no_adapter(&weights.origin(), &strangers));
        }
        Ok(Self { weights, groups, strangers, bundled, alphas })
    }

    /// Textual inversions that came with the adapter: for each name its tensors by their keys in a file of its own.
    pub fn bundled(&self) -> Result<BTreeMap<String, BTreeMap<String, Tensor>>> {
        let mut found: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
        for key in &self.bundled {
            if let Some((name, vectors)) = bundled_name(key) {
                let tensor = self.weights.read(key, &Device::Cpu)?;
                found.entry(name.to_string()).or_default().insert(vectors.to_string(), tensor);
            }
        }
        Ok(found)
    }

    /// Names of the textual inversions that came with the adapter.
    pub fn bundled_names(&self) -> BTreeSet<&str> {
        self.bundled.iter().filter_map(|key| bundled_name(key)).map(|(name, _)| name).collect()
    }

    /// Path or description for errors.
    pub fn origin(&self) -> String {
        self.weights.origin()
    }

    /// The components that the file's keys name.
    pub fn components(&self) -> BTreeSet<Component> {
        self.groups.iter().filter_map(|group| group.place.as_ref().map(|(component, _)| *component)).collect()
    }

    /// Shape of a part, in the header.
    pub(super) fn shape(&self, group: &Group, part: Part) -> Option<Vec<usize>> {
        Some(self.weights.describe(group.parts.get(&part)?)?.1)
    }

    /// A part in f32.
    pub(super) fn read(&self, group: &Group, part: Part, device: &Device) -> Result<Option<Tensor>> {
        let read = |key: &String| Ok::<_, ModelError>(Weight::from(&self.weights.read(key, device)?).to_f32()?);
        group.parts.get(&part).map(read).transpose()
    }

    /// A part that has to be there.
    pub(super) fn need(&self, group: &Group, part: Part, device: &Device) -> Result<Tensor> {
        let missing = || ModelError::Weights(format!("Expected {part:?} beside {:?} in {} but there is none", group.parts, self.origin()));
        self.read(group, part, device)?.ok_or_else(missing)
    }

    /// A single number.
    pub(super) fn number(&self, group: &Group, part: Part) -> Result<Option<f64>> {
        let Some(tensor) = self.read(group, part, &Device::Cpu)? else { return Ok(None) };
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        match values[..] {
            [value] if value.is_finite() => Ok(Some(f64::from(value))),
            _ => Err(ModelError::Weights(format!("Expected one finite number for {part:?} of {:?} in {}", group.parts.get(&part), self.origin()))),
        }
    }

    /// `alpha / rank`, times the file's own factor; alpha is the rank where nothing tells it.
    pub(super) fn scale(&self, group: &Group) -> Result<f64> {
        let scalar = self.number(group, Part::Scalar)?.unwrap_or(1.0);
        let Some(rank) = self.rank(group) else { return Ok(scalar) };
        let told = match self.number(group, Part::Alpha)? {
            Some(alpha) => Some(alpha / rank as f64),
            None => group.place.as_ref().and_then(|(component, name)| self.alphas.scale(*component, name, rank)),
        };
        Ok(scalar * told.unwrap_or(1.0))
    }

    /// The rank that divides alpha; `None` for changes that have none, as LoKr with both factors full.
    pub(super) fn rank(&self, group: &Group) -> Option<usize> {
        let first = |part| self.shape(group, part).and_then(|shape| shape.first().copied());
        match group.algorithm {
            Algorithm::Lora | Algorithm::LoCon => first(Part::Down),
            Algorithm::LoHa => first(Part::HadaW1B),
            Algorithm::LoKr => first(Part::LokrW1B).or_else(|| first(Part::LokrW2B)),
            Algorithm::GLora => {
                let sizes = self.shape(group, Part::GloraA1)?;
                if self.is_old_glora(group) {
                    sizes.first().copied()
                } else {
                    sizes.get(1).copied()
                }
            }
            Algorithm::Ia3 | Algorithm::Oft | Algorithm::Boft | Algorithm::Full => None,
        }
    }

    /// Whether GLoRA's factors are the transposed ones of its first version. Source: ComfyUI weight_adapter/glora.py.
    pub(super) fn is_old_glora(&self, group: &Group) -> bool {
        let same = |sizes: [(Part, usize); 4]| {
            let [first, rest @ ..] = sizes.map(|(part, axis)| self.shape(group, part).and_then(|shape| shape.get(axis).copied()));
            first.filter(|_| rest.iter().all(|size| *size == first))
        };
        let old = same([(Part::GloraA1, 0), (Part::GloraA2, 1), (Part::GloraB1, 0), (Part::GloraB2, 1)]);
        let new = same([(Part::GloraA1, 1), (Part::GloraA2, 0), (Part::GloraB1, 1), (Part::GloraB2, 0)]);
        // Both fit a square layer, whose width is the larger number.
        old.is_some_and(|rank| new.is_none_or(|width| rank < width))
    }

    pub(super) fn is_dora(group: &Group) -> bool {
        group.parts.contains_key(&Part::DoraScale) || group.parts.contains_key(&Part::Magnitude)
    }
}

fn algorithm(parts: &BTreeMap<Part, String>, weights: &Weights) -> Option<Algorithm> {
    let has = |part| parts.contains_key(&part);
    let shape = |part| parts.get(&part).and_then(|key| weights.describe(key)).map(|(_, shape)| shape);
    match () {
        () if has(Part::Latent) => None,
        () if has(Part::Down) && has(Part::Up) => {
            let wide = shape(Part::Down).is_some_and(|shape| shape.get(2..).is_some_and(|kernel| kernel.iter().any(|&size| size > 1)));
            Some(if wide || has(Part::Mid) { Algorithm::LoCon } else { Algorithm::Lora })
        }
        () if has(Part::HadaW1A) && has(Part::HadaW1B) && has(Part::HadaW2A) && has(Part::HadaW2B) => Some(Algorithm::LoHa),
        () if (has(Part::LokrW1) || has(Part::LokrW1A) && has(Part::LokrW1B)) && (has(Part::LokrW2) || has(Part::LokrW2A) && has(Part::LokrW2B)) => {
            Some(Algorithm::LoKr)
        }
        () if has(Part::GloraA1) && has(Part::GloraA2) && has(Part::GloraB1) && has(Part::GloraB2) => Some(Algorithm::GLora),
        () if has(Part::OftBlocks) => Some(if shape(Part::OftBlocks)?.len() == 4 { Algorithm::Boft } else { Algorithm::Oft }),
        () if has(Part::OftDiag) => Some(Algorithm::Oft),
        () if has(Part::Diff) || has(Part::DiffB) => Some(Algorithm::Full),
        () if has(Part::Ia3) && has(Part::Ia3OnInput) || has(Part::Ia3Factor) => Some(Algorithm::Ia3),
        () => None,
    }
}

/// Name and key of an embedding in `bundle_emb.<name>.<key>`; names may have dots in them, keys of one kind too.
fn bundled_name(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix(BUNDLE)?;
    let at = rest.find(".string_to_param").or_else(|| rest.rfind('.'))?;
    Some((rest.get(..at)?, rest.get(at + 1..)?)).filter(|(name, vectors)| !name.is_empty() && !vectors.is_empty())
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("")
}

fn no_adapter(origin: &str, keys: &[String]) -> ModelError {
    let has = |part: &str| keys.iter().any(|key| key.contains(part));
    let kind = match () {
        () if keys.is_empty() => "an empty file",
        () if has("image_proj.") => "what looks like an IP-Adapter",
        () if has("string_to_param") || has("emb_params") || keys.len() == 1 => "what looks like a textual inversion",
        () if has("first_stage_model.") || has("model.diffusion_model.") => "what looks like a whole checkpoint",
        () if has("controlnet_cond_embedding") || has("control_model.") => "what looks like a ControlNet",
        () => "a file of another kind",
    };
    let named: Vec<&str> = keys.iter().take(NAMED_KEYS).map(String::as_str).collect();
    ModelError::Weights(format!("Expected a LoRA or a relative of it but received {origin}, {kind}; its first keys: {}", named.join(", ")))
}
