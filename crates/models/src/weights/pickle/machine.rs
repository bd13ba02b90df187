use super::call::{build, call, create, persistent};
use super::value::{Heap, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// Bytes that a value takes on the stack or in the memo, roughly.
const VALUE_BYTES: usize = 40;
/// What small files may take on top of twice their size.
const SPARE_BYTES: usize = 1 << 20;

/// Reads pickles that hold tensors and plain values, without ever running anything: names of classes and functions stay names.
/// Source: CPython Lib/pickletools.py, protocols 0 to 5.
pub(super) struct Machine<'d> {
    data: &'d [u8],
    position: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    budget: usize,
    pub heap: Heap,
}

impl<'d> Machine<'d> {
    /// A reader of `data` that will not take more than about twice the memory of the file that it came from.
    pub fn new(data: &'d [u8], file_bytes: usize) -> Self {
        let budget = file_bytes.saturating_mul(2).saturating_add(SPARE_BYTES);
        Self { data, position: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), budget, heap: Heap::default() }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Reads one pickle, from the current position up to and including its STOP.
    pub fn run(&mut self) -> Result<Value, String> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            let at = self.position;
            let code = self.byte()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code).map_err(|what| if what.is_empty() { format!("its pickle is damaged at byte {at}") } else { what })?;
        }
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            b'(' => {
                self.charge(8)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.stack.last().cloned().ok_or_else(damaged)?;
                self.push(top)
            }
            0x80 => self.byte().map(drop),
            0x95 => self.take(8).map(drop),
            b'c' | 0x93 | b'R' | b'b' | 0x81 | 0x92 | b'i' | b'o' | b'P' | b'Q' => self.callable(code),
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.remember(code),
            b']' | b'}' | b')' | 0x8f | b't' | b'l' | b'd' | 0x91 | 0x85 | 0x86 | 0x87 | b'a' | b'e' | 0x90 | b's' | b'u' => self.container(code),
            0x82..=0x84 => Err("it uses extension codes, which tensors have no need of".into()),
            _ => {
                let value = self.scalar(code)?;
                self.push(value)
            }
        }
    }

    fn scalar(&mut self, code: u8) -> Result<Value, String> {
        Ok(match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            0x8a => {
                let length = usize::from(self.byte()?);
                Value::Int(long(self.take(length)?))
            }
            0x8b => {
                let length = self.length4()?;
                Value::Int(long(self.take(length)?))
            }
            b'I' => match self.line()? {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => Value::Int(digits.parse().map_err(|_| damaged())?),
            },
            b'L' => Value::Int(self.line()?.trim_end_matches('L').parse().map_err(|_| damaged())?),
            b'F' => Value::Float(self.line()?.parse().map_err(|_| damaged())?),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            b'S' | b'V' => {
                let line = self.line()?.trim_matches(['\'', '"']);
                self.text(line)?
            }
            b'U' | 0x8c => {
                let length = usize::from(self.byte()?);
                self.sized_text(length)?
            }
            b'T' | b'X' => {
                let length = self.length4()?;
                self.sized_text(length)?
            }
            0x8d => {
                let length = self.length8()?;
                self.sized_text(length)?
            }
            b'C' => {
                let length = usize::from(self.byte()?);
                self.take(length).map(|_| Value::Bytes)?
            }
            b'B' => {
                let length = self.length4()?;
                self.take(length).map(|_| Value::Bytes)?
            }
            0x8e | 0x96 => {
                let length = self.length8()?;
                self.take(length).map(|_| Value::Bytes)?
            }
            _ => return Err(String::new()),
        })
    }

    fn container(&mut self, code: u8) -> Result<(), String> {
        match code {
            b']' | b')' | 0x8f => self.push_items(Vec::new(), Value::Sequence),
            b'}' => self.push_items(Vec::new(), Value::Dict),
            b't' | b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.push_items(items, Value::Sequence)
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push_items(items, Value::Dict)
            }
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(code - 0x84)).ok_or_else(damaged)?;
                self.above_marks(at)?;
                let items = self.stack.split_off(at);
                self.push_items(items, Value::Sequence)
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend(vec![key, value])
            }
            _ => {
                let items = self.pop_mark()?;
                self.extend(items)
            }
        }
    }

    fn callable(&mut self, code: u8) -> Result<(), String> {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = self.global(module, name)?;
                self.push(global)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (name, module) = name.text().zip(module.text()).ok_or_else(damaged)?;
                let global = self.global(module, name)?;
                self.push(global)
            }
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.answer(&callable, &args, code)
            }
            0x92 => {
                let (_, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.answer(&class, &args, code)
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.stack.last().cloned().ok_or_else(damaged)?;
                build(&mut self.heap, &object, state)
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let class = self.global(module, name)?;
                let items = self.pop_mark()?;
                let made = create(&mut self.heap, &class, &items)?;
                self.push(made)
            }
            b'o' => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(damaged());
                }
                let args = items.split_off(1);
                let made = create(&mut self.heap, items.first().unwrap_or(&Value::None), &args)?;
                self.push(made)
            }
            b'P' => Err("it refers to a storage by a line of text, as no version of torch does".into()),
            _ => {
                let id = self.pop()?;
                self.charge(VALUE_BYTES)?;
                let storage = persistent(&mut self.heap, &id)?;
                self.push(storage)
            }
        }
    }

    fn answer(&mut self, callable: &Value, args: &Value, code: u8) -> Result<(), String> {
        let args = self.heap.sequence(args).ok_or_else(damaged)?.to_vec();
        let nested: usize = args.iter().filter_map(|arg| self.heap.sequence(arg)).map(<[Value]>::len).sum();
        self.charge(3 * VALUE_BYTES * (args.len() + nested + 1))?;
        let made = if code == b'R' { call(&mut self.heap, callable, &args)? } else { create(&mut self.heap, callable, &args)? };
        self.push(made)
    }

    fn remember(&mut self, code: u8) -> Result<(), String> {
        let index = match code {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            b'p' | b'g' => self.line()?.parse().map_err(|_| damaged())?,
            _ => u32::try_from(self.memo.len()).map_err(|_| damaged())?,
        };
        if matches!(code, b'h' | b'j' | b'g') {
            let value = self.memo.get(&index).cloned().ok_or_else(damaged)?;
            return self.push(value);
        }
        self.charge(2 * VALUE_BYTES)?;
        let top = self.stack.last().cloned().ok_or_else(damaged)?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<Value, String> {
        self.charge(VALUE_BYTES + module.len() + name.len())?;
        Ok(Value::Global(format!("{module}.{name}").into()))
    }

    fn text(&mut self, text: &str) -> Result<Value, String> {
        self.charge(2 * text.len())?;
        Ok(Value::Text(text.into()))
    }

    fn sized_text(&mut self, length: usize) -> Result<Value, String> {
        let bytes = self.take(length)?;
        self.charge(2 * length)?;
        Ok(Value::Text(Rc::from(String::from_utf8_lossy(bytes))))
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.charge(VALUE_BYTES)?;
        self.stack.push(value);
        Ok(())
    }

    fn push_items(&mut self, items: Vec<Value>, kind: fn(usize) -> Value) -> Result<(), String> {
        self.charge(VALUE_BYTES * (1 + items.len()))?;
        let at = self.heap.keep(items);
        self.push(kind(at))
    }

    /// Adds items to the container on top of the stack.
    fn extend(&mut self, items: Vec<Value>) -> Result<(), String> {
        self.charge(2 * VALUE_BYTES * items.len())?;
        match self.stack.last() {
            Some(Value::Sequence(at) | Value::Dict(at)) => {
                self.heap.items.get_mut(*at).ok_or_else(damaged)?.extend(items);
                Ok(())
            }
            // A dict subclass that is only looked through.
            Some(Value::Object(_) | Value::None) => Ok(()),
            _ => Err(damaged()),
        }
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.above_marks(self.stack.len().checked_sub(1).ok_or_else(damaged)?)?;
        self.stack.pop().ok_or_else(damaged)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or_else(damaged)?;
        Ok(self.stack.split_off(mark))
    }

    /// What lies below the last mark must not be taken.
    fn above_marks(&self, at: usize) -> Result<(), String> {
        if self.marks.last().is_some_and(|mark| at < *mark) {
            return Err(damaged());
        }
        Ok(())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        self.budget = self.budget.checked_sub(bytes).ok_or("its pickle unpacks to more than twice the size of the file")?;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'d [u8], String> {
        let data = self.data;
        let end = self.position.checked_add(length).ok_or_else(cut)?;
        let bytes = data.get(self.position..end).ok_or_else(cut)?;
        self.position = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| cut())
    }

    fn length4(&mut self) -> Result<usize, String> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length8(&mut self) -> Result<usize, String> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| cut())
    }

    fn line(&mut self) -> Result<&'d str, String> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut)?;
        let line = self.take(length)?;
        self.position += 1;
        std::str::from_utf8(line).map_err(|_| damaged())
    }
}

/// The empty text stands for "damaged here"; `run` says where.
fn damaged() -> String {
    String::new()
}

fn cut() -> String {
    "its pickle ends in the middle: the file is truncated or damaged".into()
}

/// A little-endian two's complement number; longer ones than 64 bits, which no weight needs, keep their low half.
fn long(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    for (to, from) in wide.iter_mut().zip(bytes) {
        *to = *from;
    }
    i64::from_le_bytes(wide)
}
