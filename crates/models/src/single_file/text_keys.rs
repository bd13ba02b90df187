use super::unet_keys::number;
use super::view::Recipe;

/// A layer's parts in OpenCLIP's names and transformers', except the joined projections.
const LAYER: [(&str, &str); 5] = [
    ("attn.out_proj.", "self_attn.out_proj."),
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
];

const TOP: [(&str, &str); 4] = [
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final.weight", "text_model.final_layer_norm.weight"),
    ("ln_final.bias", "text_model.final_layer_norm.bias"),
];

const PROJECTION: (&str, &str) = ("text_projection", "text_projection.weight");

/// Names that the parts of a transformers text encoder begin with when `text_model.` is left out, as transformers 5 writes them.
const BARE: [&str; 3] = ["embeddings.", "encoder.", "final_layer_norm."];

/// A transformers name with the `text_model.` that published files have.
pub(super) fn with_text_model(key: &str) -> String {
    if BARE.iter().any(|start| key.starts_with(start)) {
        format!("text_model.{key}")
    } else {
        key.to_string()
    }
}

/// What transformers' text encoder has in the place of a key of OpenCLIP's (`prefix` and `key` together name it in the file).
/// Source: diffusers single_file_utils.py `convert_open_clip_checkpoint`.
pub(super) fn from_open_clip(prefix: &str, key: &str) -> Vec<(String, Recipe)> {
    let name = format!("{prefix}{key}");
    if let Some((_, ours)) = TOP.iter().find(|(theirs, _)| *theirs == key) {
        return vec![(ours.to_string(), Recipe::Same(name))];
    }
    if key == PROJECTION.0 {
        return vec![(PROJECTION.1.to_string(), Recipe::Transposed(name))];
    }
    let Some((layer, rest)) = key.strip_prefix("transformer.resblocks.").and_then(number) else { return Vec::new() };
    let at = format!("text_model.encoder.layers.{layer}.");
    if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
        let part = |(part, letter)| (format!("{at}self_attn.{letter}_proj.{kind}"), Recipe::Rows { of: name.clone(), part, parts: 3 });
        return ["q", "k", "v"].into_iter().enumerate().map(part).collect();
    }
    let found = LAYER.iter().find_map(|(theirs, ours)| rest.strip_prefix(theirs).map(|tail| format!("{at}{ours}{tail}")));
    found.map(|ours| (ours, Recipe::Same(name))).into_iter().collect()
}

/// What OpenCLIP's text encoder has in the place of a key of transformers'; q stands for q, k and v, which come together.
pub(super) fn to_open_clip(name: &str) -> Option<(String, Recipe)> {
    let full = with_text_model(name);
    if let Some((theirs, _)) = TOP.iter().find(|(_, ours)| *ours == full) {
        return Some((theirs.to_string(), Recipe::Same(name.to_string())));
    }
    if full == PROJECTION.1 {
        return Some((PROJECTION.0.to_string(), Recipe::Transposed(name.to_string())));
    }
    let (layer, rest) = full.strip_prefix("text_model.encoder.layers.").and_then(number)?;
    let at = format!("transformer.resblocks.{layer}.");
    if let Some(kind) = rest.strip_prefix("self_attn.q_proj.") {
        let parts = ["q", "k", "v"].map(|letter| name.replacen(".q_proj.", &format!(".{letter}_proj."), 1));
        return Some((format!("{at}attn.in_proj_{kind}"), Recipe::Joined(parts.to_vec())));
    }
    let found = LAYER.iter().find_map(|(theirs, ours)| rest.strip_prefix(ours).map(|tail| format!("{at}{theirs}{tail}")));
    found.map(|theirs| (theirs, Recipe::Same(name.to_string())))
}
