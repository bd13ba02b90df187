use std::rc::Rc;

/// A Python value, as far as checkpoints need it. Containers are indices into the machine's `Heap`, because pickles may share and nest them.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// Bytes, whose content no checkpoint needs.
    Bytes,
    /// A class or function by its dotted name; it is never looked up.
    Global(Rc<str>),
    /// A tuple, list or set.
    Sequence(usize),
    Dict(usize),
    /// An object of an allowed class; one value, its state.
    Object(usize),
    Storage(usize),
    Tensor(usize),
}

/// A torch storage that a tensor is a view of.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub key: Rc<str>,
    /// Class, such as `torch.HalfStorage`, which tells the element type.
    pub class: Rc<str>,
    /// Elements, as the pickle claims.
    pub count: u64,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub(super) struct TensorView {
    pub storage: usize,
    /// Element type by name, where it is not the storage's own.
    pub dtype: Option<Rc<str>>,
    pub offset: u64,
    pub size: Vec<usize>,
    pub stride: Vec<usize>,
}

/// Everything that values point to.
#[derive(Debug, Default)]
pub(super) struct Heap {
    /// Items of sequences; keys and values in turn of dicts; the state of objects.
    pub items: Vec<Vec<Value>>,
    pub storages: Vec<Storage>,
    pub tensors: Vec<TensorView>,
}

impl Heap {
    /// Keeps a container's items.
    pub fn keep(&mut self, items: Vec<Value>) -> usize {
        self.items.push(items);
        self.items.len() - 1
    }

    /// The items of a tuple, list or set.
    pub fn sequence(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Sequence(at) => self.items.get(*at).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Pairs of a dict, in the order of the file; a repeated key appears twice.
    pub fn pairs(&self, value: &Value) -> Option<impl Iterator<Item = (&Value, &Value)>> {
        let Value::Dict(at) = value else { return None };
        let pairs = self.items.get(*at)?.as_chunks::<2>().0;
        Some(pairs.iter().map(|[key, value]| (key, value)))
    }

    /// The value of a text key of a dict; the last one if it is repeated.
    pub fn get(&self, dict: &Value, name: &str) -> Option<&Value> {
        self.pairs(dict)?.filter(|(key, _)| matches!(key, Value::Text(text) if &**text == name)).last().map(|(_, value)| value)
    }

    /// Whole numbers of a tuple or list, such as a size.
    pub fn sizes(&self, value: &Value) -> Option<Vec<usize>> {
        self.sequence(value)?.iter().map(|item| if let Value::Int(n) = item { usize::try_from(*n).ok() } else { None }).collect()
    }
}

impl Value {
    pub fn text(&self) -> Option<&Rc<str>> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// A whole number that is not negative.
    pub fn size(&self) -> Option<u64> {
        if let Self::Int(n) = self {
            u64::try_from(*n).ok()
        } else {
            None
        }
    }
}
