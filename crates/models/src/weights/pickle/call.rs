use super::value::{Heap, Storage, TensorView, Value};
use std::rc::Rc;

/// What a file gets that wants to call something else: the name, and that nothing was run.
fn refused(name: &str) -> String {
    format!("it wants to run {name}, which tensors have no need of; nothing was run")
}

/// Calls that are answered by nothing: numbers and types beside the weights.
const INERT: [&str; 10] = [
    "torch.device",
    "torch.dtype",
    "torch.serialization._get_layout",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "_codecs.encode",
    "builtins.bytearray",
    "builtins.complex",
    "__builtin__.bytearray",
];

/// Classes whose objects hold parameters.
const OBJECTS: [&str; 2] = ["torch.nn.modules.container.ParameterDict", "torch.nn.modules.container.ParameterList"];

const ORDERED_DICT: &str = "collections.OrderedDict";
const PARAMETER: &str = "torch.nn.parameter.Parameter";

/// Answers `callable(*args)` for the few constructors that checkpoints of tensors use; everything else is refused by its name.
pub(super) fn call(heap: &mut Heap, callable: &Value, args: &[Value]) -> Result<Value, String> {
    let Value::Global(name) = callable else {
        return Err(refused("a value that is no function"));
    };
    let broken = || format!("{name} has arguments that do not make sense");
    match &**name {
        ORDERED_DICT => ordered_dict(heap, args).ok_or_else(broken),
        "torch.Size" | "builtins.set" | "__builtin__.set" | "builtins.frozenset" | "builtins.list" | "builtins.tuple" => {
            let items = args.first().and_then(|list| heap.sequence(list)).unwrap_or_default().to_vec();
            Ok(Value::Sequence(heap.keep(items)))
        }
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => tensor(heap, args, None).ok_or_else(broken),
        "torch._utils._rebuild_tensor_v3" => {
            let dtype = args.get(6).and_then(|value| if let Value::Global(name) = value { Some(name.clone()) } else { None });
            tensor(heap, args, Some(dtype.ok_or_else(broken)?)).ok_or_else(broken)
        }
        PARAMETER | "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
            args.first().filter(|value| matches!(value, Value::Tensor(_))).cloned().ok_or_else(broken)
        }
        "torch._tensor._rebuild_from_type_v2" => {
            let [function, _, inner, ..] = args else { return Err(broken()) };
            let is_itself = matches!(function, Value::Global(inner) if inner == name);
            let inner = heap.sequence(inner).filter(|_| !is_itself).ok_or_else(broken)?.to_vec();
            call(heap, function, &inner)
        }
        other if INERT.contains(&other) => Ok(Value::None),
        other => Err(refused(other)),
    }
}

/// Answers `class.__new__(*args)`.
pub(super) fn create(heap: &mut Heap, class: &Value, args: &[Value]) -> Result<Value, String> {
    match class {
        Value::Global(name) if OBJECTS.contains(&&**name) => Ok(Value::Object(heap.keep(Vec::new()))),
        _ => call(heap, class, args),
    }
}

/// Gives an object its state; what dicts and tensors carry beside their content (`_metadata`) has no use here.
pub(super) fn build(heap: &mut Heap, object: &Value, state: Value) -> Result<(), String> {
    match object {
        Value::Object(at) => {
            if let Some(slot) = heap.items.get_mut(*at) {
                *slot = vec![state];
            }
            Ok(())
        }
        Value::Global(name) => Err(refused(name)),
        _ => Ok(()),
    }
}

fn ordered_dict(heap: &mut Heap, args: &[Value]) -> Option<Value> {
    let Some(list) = args.first() else { return Some(Value::Dict(heap.keep(Vec::new()))) };
    let mut flat = Vec::new();
    for pair in heap.sequence(list)? {
        let [key, value] = heap.sequence(pair)? else { return None };
        flat.extend([key.clone(), value.clone()]);
    }
    Some(Value::Dict(heap.keep(flat)))
}

/// `_rebuild_tensor_v2(storage, storage_offset, size, stride, ...)`.
fn tensor(heap: &mut Heap, args: &[Value], dtype: Option<Rc<str>>) -> Option<Value> {
    let [Value::Storage(storage), offset, size, stride, ..] = args else { return None };
    let (size, stride) = (heap.sizes(size)?, heap.sizes(stride)?);
    if size.len() != stride.len() {
        return None;
    }
    heap.tensors.push(TensorView { storage: *storage, dtype, offset: offset.size()?, size, stride });
    Some(Value::Tensor(heap.tensors.len() - 1))
}

/// Answers a persistent id, `('storage', class, key, location, count, ...)`.
pub(super) fn persistent(heap: &mut Heap, id: &Value) -> Result<Value, String> {
    let found = match heap.sequence(id) {
        Some([Value::Text(kind), Value::Global(class), Value::Text(key), _, count, ..]) if &**kind == "storage" => {
            count.size().map(|count| Storage { key: key.clone(), class: class.clone(), count })
        }
        _ => None,
    };
    heap.storages.push(found.ok_or("it refers to something that is no storage of numbers")?);
    Ok(Value::Storage(heap.storages.len() - 1))
}
