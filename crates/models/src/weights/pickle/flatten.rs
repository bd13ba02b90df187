use super::value::{Heap, Value};
use std::collections::{BTreeMap, HashMap};

/// Dicts inside dicts that are looked into.
const DEPTH: usize = 8;
/// More names than any checkpoint has; shared dicts must not multiply without end.
const MOST_NAMES: usize = 200_000;
/// Longest scalar text that is kept.
const TEXT_BYTES: usize = 4096;

/// What a checkpoint holds, by name.
#[derive(Debug, Default)]
pub(super) struct Flat {
    /// Index of each tensor.
    pub tensors: HashMap<String, usize>,
    /// Numbers and short texts beside the tensors, such as `global_step`.
    pub scalars: BTreeMap<String, String>,
}

/// Names of all tensors: those of `state_dict` as they are; of other nested dicts joined by dots, such as `string_to_param.*`.
pub(super) fn flatten(heap: &Heap, root: &Value) -> Result<Flat, String> {
    let mut flat = Flat::default();
    match root {
        Value::Tensor(at) => drop(flat.tensors.insert("tensor".into(), *at)),
        Value::Dict(_) => match heap.get(root, "state_dict") {
            Some(inner @ Value::Dict(_)) => {
                scalars(heap, root, &mut flat);
                walk(heap, inner, "", DEPTH, &mut flat)?;
            }
            _ => walk(heap, root, "", DEPTH, &mut flat)?,
        },
        _ => return Err("it holds no dict of tensors".into()),
    }
    Ok(flat)
}

fn walk(heap: &Heap, dict: &Value, prefix: &str, depth: usize, flat: &mut Flat) -> Result<(), String> {
    let Some(pairs) = heap.pairs(dict).filter(|_| depth > 0) else { return Ok(()) };
    for (key, value) in pairs {
        let name = match key {
            Value::Text(text) => format!("{prefix}{text}"),
            Value::Int(n) => format!("{prefix}{n}"),
            _ => continue,
        };
        if flat.tensors.len() + flat.scalars.len() >= MOST_NAMES {
            return Err(format!("it has more than {MOST_NAMES} names"));
        }
        match value {
            Value::Tensor(at) => drop(flat.tensors.insert(name, *at)),
            Value::Dict(_) => walk(heap, value, &format!("{name}."), depth - 1, flat)?,
            Value::Object(at) => {
                // A ParameterDict keeps its tensors in `_parameters`, since torch 1.12 in its state itself.
                let state = heap.items.get(*at).and_then(|state| state.first());
                let inner = state.and_then(|state| heap.get(state, "_parameters").filter(|inner| matches!(inner, Value::Dict(_))).or(Some(state)));
                if let Some(inner) = inner {
                    walk(heap, inner, &format!("{name}."), depth - 1, flat)?;
                }
            }
            _ => note(value, name, flat),
        }
    }
    Ok(())
}

fn scalars(heap: &Heap, dict: &Value, flat: &mut Flat) {
    for (key, value) in heap.pairs(dict).into_iter().flatten().take(MOST_NAMES) {
        if let Value::Text(name) = key {
            note(value, name.to_string(), flat);
        }
    }
}

fn note(value: &Value, name: String, flat: &mut Flat) {
    let text = match value {
        Value::Text(text) if text.len() <= TEXT_BYTES => text.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(x) => x.to_string(),
        Value::Bool(is) => is.to_string(),
        _ => return,
    };
    flat.scalars.insert(name, text);
}
