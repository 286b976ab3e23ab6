//! A pickle read as data: tensors, numbers, texts, lists, dictionaries. Nothing is imported, called or run.
//!
//! A pickle is a program for a stack machine that may name any Python function and call it. Here the few names that PyTorch and
//! numpy write for tensors and numbers ([`Known`]) have a meaning of their own, written in this file; any other name ends the
//! reading with an error. Objects live in one list and hold each other's numbers, so cycles and shared parts cost nothing; what
//! comes out is a tree, bounded in depth and in size. The opcodes: CPython's `pickletools`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::npy;
use super::value::{Element, MAX_AXES, Parsed, Value, View};

/// Objects of a pickle at most.
const MAX_NODES: usize = 1 << 23;
/// Values of the tree that comes out at most; a text counts as one for every 16 bytes.
const MAX_VALUES: usize = 1 << 22;
/// Parts that calls may copy at most: a pickle of a few bytes can ask for the same long list again and again.
const MAX_COPIED: usize = 1 << 24;
/// Nesting of the tree at most; a file of checkpoints needs five.
const MAX_DEPTH: usize = 64;
/// Bytes of a storage's name at most: PyTorch numbers them.
const MAX_KEY: usize = 64;

/// A place in the list of objects.
type Id = u32;

/// A name that means something here.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    /// `collections.OrderedDict`, `defaultdict`: a dictionary.
    Dict,
    /// `set`, `frozenset`, `list`, `tuple`, `torch.Size`: a list.
    List,
    /// `int`, `float`, `str`, …: named as a default, never called.
    Inert,
    /// `torch._utils._rebuild_tensor_v2`, `_rebuild_tensor`.
    Tensor,
    /// `torch._utils._rebuild_parameter`: the tensor inside.
    Parameter,
    /// `torch.FloatStorage` and its kin.
    Storage(Element),
    /// `torch.device`, `_codecs.encode`: their argument.
    First,
    /// `numpy.dtype`.
    Dtype,
    /// `numpy.core.multiarray.scalar`.
    Scalar,
    /// `numpy.core.multiarray._reconstruct`: an array that its state fills.
    Array,
    /// TransformerLens's configuration: a dictionary of its fields.
    Config,
}

/// `module`, `name` -> meaning.
fn known(module: &str, name: &str) -> Option<Known> {
    let numpy_core = matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray");
    Some(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict") => Known::Dict,
        ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple") | ("torch", "Size") => Known::List,
        ("builtins" | "__builtin__", "int" | "float" | "str" | "bool" | "dict") | ("numpy", "ndarray") => Known::Inert,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Known::Tensor,
        ("torch._utils", "_rebuild_parameter") => Known::Parameter,
        ("torch", _) if name.ends_with("Storage") => Known::Storage(match name.strip_suffix("Storage")? {
            "Half" => Element::F16,
            "BFloat16" => Element::Bf16,
            "Float" => Element::F32,
            "Double" => Element::F64,
            "Char" => Element::I8,
            "Short" => Element::I16,
            "Int" => Element::I32,
            "Long" => Element::I64,
            "Byte" => Element::U8,
            "Bool" => Element::Bool,
            _ => return None,
        }),
        ("torch", "device") | ("_codecs", "encode") => Known::First,
        ("torch", "float16" | "bfloat16" | "float32" | "float64" | "int32" | "int64" | "bool") => Known::Inert,
        ("numpy", "dtype") => Known::Dtype,
        _ if numpy_core && name == "scalar" => Known::Scalar,
        _ if numpy_core && name == "_reconstruct" => Known::Array,
        (_, "HookedTransformerConfig" | "EasyTransformerConfig")
            if module.starts_with("transformer_lens.") || module.starts_with("easy_transformer.") =>
        {
            Known::Config
        }
        _ => return None,
    })
}

/// Where PyTorch keeps the numbers of tensors, outside the pickle.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageRef {
    /// Type of its numbers.
    pub element: Element,
    /// Its name.
    pub key: String,
    /// How many numbers it is said to have.
    pub count: usize,
}

#[derive(Debug, Clone)]
struct TensorRef {
    storage: Id,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

#[derive(Debug, Clone)]
enum Node {
    None,
    Int(i64),
    /// An integer of more than 8 bytes, little-endian.
    Big(Vec<u8>),
    Real(f64),
    Text(String),
    Bytes(Arc<Vec<u8>>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Name(Known),
    Storage(StorageRef),
    Tensor(TensorRef),
    /// A numpy array, once its state is known.
    Array(Option<View>),
    Dtype(Element),
}

/// A pickle that was read; [`Pickle::value`] gives what it holds.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: Id,
    /// Bytes of the pickle.
    pub length: usize,
}

impl Pickle {
    /// Reads one pickle from the beginning of `bytes`.
    ///
    /// # Errors
    /// Bytes that are no pickle, that end early, or that ask for anything but data.
    pub fn read(bytes: &[u8]) -> Parsed<Pickle> {
        let mut machine =
            Machine { bytes, at: 0, nodes: vec![], stack: vec![], marks: vec![], memo: BTreeMap::new(), copied: 0 };
        let root = machine.run()?;
        Ok(Pickle { nodes: machine.nodes, root, length: machine.at })
    }

    /// The bytes of the root if it is an integer beyond 64 bits: PyTorch's older files begin with one.
    pub fn big_integer(&self) -> Option<&[u8]> {
        match self.nodes.get(self.root as usize) {
            Some(Node::Big(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Every storage that a tensor names.
    pub fn storages(&self) -> impl Iterator<Item = &StorageRef> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// The tree; `storage` gives the bytes of a storage.
    ///
    /// # Errors
    /// Those of `storage`; tensors that reach past their storage; nesting or sharing beyond all measure.
    pub fn value(&self, storage: &mut dyn FnMut(&StorageRef) -> Parsed<Arc<Vec<u8>>>) -> Parsed<Value> {
        let mut tree = Tree { nodes: &self.nodes, storage, loaded: BTreeMap::new(), left: MAX_VALUES };
        tree.value(self.root, 0)
    }
}

/// Objects -> a tree.
struct Tree<'a> {
    nodes: &'a [Node],
    storage: &'a mut dyn FnMut(&StorageRef) -> Parsed<Arc<Vec<u8>>>,
    /// Storages by their object, so that each is read once.
    loaded: BTreeMap<String, Arc<Vec<u8>>>,
    left: usize,
}

impl Tree<'_> {
    fn value(&mut self, id: Id, depth: usize) -> Parsed<Value> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels, or holds itself"));
        }
        self.left = self.left.checked_sub(1).ok_or("it holds more values than any file of checkpoints")?;
        let nodes = self.nodes;
        Ok(match &nodes[id as usize] {
            Node::Int(x) => Value::Int(*x),
            Node::Real(x) => Value::Real(*x),
            Node::Text(text) => {
                self.left =
                    self.left.checked_sub(text.len() / 16).ok_or("it holds more text than any file of checkpoints")?;
                Value::Text(text.clone())
            }
            Node::List(items) => {
                Value::List(items.iter().map(|&item| self.value(item, depth + 1)).collect::<Parsed<_>>()?)
            }
            Node::Dict(entries) => {
                let entry = |&(key, value): &(Id, Id)| Ok((self.value(key, depth + 1)?, self.value(value, depth + 1)?));
                Value::Dict(entries.iter().map(entry).collect::<Parsed<_>>()?)
            }
            Node::Tensor(tensor) => Value::Array(self.tensor(tensor)?),
            Node::Array(Some(view)) => Value::Array(view.clone()),
            Node::None
            | Node::Big(_)
            | Node::Bytes(_)
            | Node::Name(_)
            | Node::Storage(_)
            | Node::Array(None)
            | Node::Dtype(_) => Value::None,
        })
    }

    fn tensor(&mut self, tensor: &TensorRef) -> Parsed<View> {
        let nodes = self.nodes;
        let Node::Storage(storage) = &nodes[tensor.storage as usize] else {
            return Err("a tensor has no storage".into());
        };
        let bytes = match self.loaded.get(&storage.key) {
            Some(bytes) => Arc::clone(bytes),
            None => {
                let bytes = (self.storage)(storage)?;
                self.loaded.insert(storage.key.clone(), Arc::clone(&bytes));
                bytes
            }
        };
        let start =
            tensor.offset.checked_mul(storage.element.size_bytes()).ok_or("a tensor begins beyond its storage")?;
        View::new(storage.element, (tensor.shape.clone(), tensor.strides.clone()), &bytes, start)
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: BTreeMap<u64, Id>,
    /// Parts that calls have copied.
    copied: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Parsed<Id> {
        loop {
            let op = self.take(1)?[0];
            if op == b'.' {
                return self.pop();
            }
            if !(self.scalar(op)? || self.container(op)? || self.stack_op(op)? || self.object(op)?) {
                return Err(format!("at byte {} it has the opcode {op:#04x}, which is not one of data", self.at - 1));
            }
        }
    }

    /// Numbers and texts.
    fn scalar(&mut self, op: u8) -> Parsed<bool> {
        let node = match op {
            b'N' => Node::None,
            0x88 => Node::Int(1),
            0x89 => Node::Int(0),
            b'K' => Node::Int(self.take(1)?[0].into()),
            b'M' => Node::Int(self.number(2)? as i64),
            b'J' => Node::Int((self.number(4)? as u32 as i32).into()),
            b'I' | b'L' => match self.line()? {
                "01" => Node::Int(1),
                "00" => Node::Int(0),
                text => Node::Int(text.trim_end_matches('L').parse().map_err(|_| format!("`{text}` is no integer"))?),
            },
            0x8a | 0x8b => {
                let length = self.number(if op == 0x8a { 1 } else { 4 })?;
                integer(self.take(length)?)
            }
            b'F' => {
                let text = self.line()?;
                Node::Real(text.parse().map_err(|_| format!("`{text}` is no number"))?)
            }
            b'G' => Node::Real(f64::from_be_bytes(self.take(8)?.try_into().map_err(|_| "a number is cut off")?)),
            b'X' | 0x8c | 0x8d => {
                let length = self.number(match op {
                    b'X' => 4,
                    0x8c => 1,
                    _ => 8,
                })?;
                Node::Text(std::str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8")?.to_owned())
            }
            b'V' => Node::Text(self.line()?.to_owned()),
            b'U' | b'T' => {
                let length = self.number(if op == b'U' { 1 } else { 4 })?;
                Node::Text(self.take(length)?.iter().map(|&b| char::from(b)).collect())
            }
            b'C' | b'B' | 0x8e | 0x96 => {
                let length = self.number(match op {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                Node::Bytes(Arc::new(self.take(length)?.to_vec()))
            }
            _ => return Ok(false),
        };
        self.push(node)?;
        Ok(true)
    }

    /// Lists, tuples, sets, dictionaries.
    fn container(&mut self, op: u8) -> Parsed<bool> {
        match op {
            b']' | b')' | 0x8f => self.push(Node::List(vec![]))?,
            b'}' => self.push(Node::Dict(vec![]))?,
            b'l' | b't' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Node::List(items))?;
            }
            0x85..=0x87 => {
                let n = usize::from(op - 0x84);
                let from = self.above_mark(n)?;
                let items = self.stack.split_off(from);
                self.push(Node::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.extend(&items)?;
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Node::Dict(vec![]))?;
                self.set(&items)?;
            }
            b's' => {
                let from = self.above_mark(2)?;
                let items = self.stack.split_off(from);
                self.set(&items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The stack and the memo.
    fn stack_op(&mut self, op: u8) -> Parsed<bool> {
        match op {
            0x80 => {
                let version = self.take(1)?[0];
                if version > 5 {
                    return Err(format!("it has pickle protocol {version}; 5 is the newest there is"));
                }
            }
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'p' => {
                let key = self.line()?.parse().map_err(|_| "a memo has no number")?;
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            b'q' | b'r' => {
                let key = self.number(if op == b'q' { 1 } else { 4 })? as u64;
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            0x94 => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u64, top);
            }
            b'g' => {
                let key = self.line()?.parse().map_err(|_| "a memo has no number")?;
                self.recall(key)?;
            }
            b'h' | b'j' => {
                let key = self.number(if op == b'h' { 1 } else { 4 })? as u64;
                self.recall(key)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Names, and what would be calls of them.
    fn object(&mut self, op: u8) -> Parsed<bool> {
        match op {
            b'c' => {
                let (module, name) = (self.line()?.to_owned(), self.line()?.to_owned());
                self.name(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.node(module).clone(), self.node(name).clone()) {
                    (Node::Text(module), Node::Text(name)) => self.name(&module, &name)?,
                    _ => return Err("a class is named by something that is no text".into()),
                }
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.charge(arguments)?;
                let node = self.call(callee, arguments)?;
                self.push(node)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                self.charge(state)?;
                self.build(object, state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Node::Storage(storage))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn name(&mut self, module: &str, name: &str) -> Parsed<()> {
        match known(module, name) {
            Some(known) => self.push(Node::Name(known)),
            None => Err(format!(
                "it asks for `{module}.{name}`, which is not a tensor, number, text, list or dictionary; nothing was run"
            )),
        }
    }

    /// Counts what a call copies at most: its arguments, and what the first of them holds.
    fn charge(&mut self, arguments: Id) -> Parsed<()> {
        let size = |node: &Node| match node {
            Node::List(items) => items.len(),
            Node::Dict(entries) => entries.len(),
            Node::Text(text) => text.len(),
            Node::Tensor(tensor) => 2 * tensor.shape.len(),
            _ => 1,
        };
        let first = match self.node(arguments) {
            Node::List(items) => items.first().map_or(0, |&id| size(self.node(id))),
            _ => 0,
        };
        self.copied = self.copied.saturating_add(size(self.node(arguments))).saturating_add(first);
        if self.copied > MAX_COPIED { Err("it copies more than any file of checkpoints".into()) } else { Ok(()) }
    }

    /// What calling a known name with these arguments means.
    fn call(&mut self, callee: Id, arguments: Id) -> Parsed<Node> {
        let Node::Name(known) = *self.node(callee) else {
            return Err("something that is no known name is called".into());
        };
        let arguments = self.list(arguments)?.to_vec();
        let first = arguments.first().copied();
        Ok(match known {
            Known::Dict => match first.map(|id| self.node(id)) {
                // OrderedDict of a list of pairs; a defaultdict has its factory there.
                Some(Node::List(pairs)) => {
                    let pairs = pairs.clone();
                    let pair = |id: Id| match self.list(id)? {
                        &[key, value] => Ok((key, value)),
                        _ => Err("an OrderedDict has an entry that is no pair".to_owned()),
                    };
                    Node::Dict(pairs.into_iter().map(pair).collect::<Parsed<_>>()?)
                }
                _ => Node::Dict(vec![]),
            },
            Known::List => match first {
                Some(id) => Node::List(self.list(id)?.to_vec()),
                None => Node::List(vec![]),
            },
            Known::Config => Node::Dict(vec![]),
            Known::First => match self.node(first.ok_or("a call lacks its argument")?) {
                // `_codecs.encode(text, "latin1")`: how protocol 2 writes bytes.
                Node::Text(text) if arguments.len() == 2 => {
                    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                    Node::Bytes(Arc::new(bytes.ok_or("bytes are written as a text beyond latin1")?))
                }
                other => other.clone(),
            },
            Known::Tensor => Node::Tensor(self.tensor(&arguments)?),
            Known::Parameter => self.node(first.ok_or("a parameter lacks its tensor")?).clone(),
            Known::Dtype => match first.map(|id| self.node(id)) {
                Some(Node::Text(name)) => Node::Dtype(npy::element(name)?),
                _ => return Err("a numpy type has no name".into()),
            },
            Known::Scalar => self.numpy_scalar(&arguments)?,
            Known::Array => Node::Array(None),
            Known::Inert | Known::Storage(_) => return Err("a type is called, which no file of tensors needs".into()),
        })
    }

    fn tensor(&self, arguments: &[Id]) -> Parsed<TensorRef> {
        let &[storage, offset, shape, strides, ..] = arguments else {
            return Err("a tensor lacks its storage, offset, sizes or strides".into());
        };
        if !matches!(self.node(storage), Node::Storage(_)) {
            return Err("a tensor has no storage".into());
        }
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(format!("an array has {} sizes and {} strides", shape.len(), strides.len()));
        }
        Ok(TensorRef { storage, offset: self.size(offset)?, shape, strides })
    }

    /// Sizes or strides; a list that is too long is refused before it is copied.
    fn sizes(&self, id: Id) -> Parsed<Vec<usize>> {
        match self.list(id)? {
            list if list.len() > MAX_AXES => {
                Err(format!("an array has {} axes; {MAX_AXES} are read at most", list.len()))
            }
            list => list.iter().map(|&id| self.size(id)).collect(),
        }
    }

    fn numpy_scalar(&self, arguments: &[Id]) -> Parsed<Node> {
        let &[dtype, bytes] = arguments else { return Err("a numpy number lacks its type or bytes".into()) };
        let (Node::Dtype(element), Node::Bytes(bytes)) = (self.node(dtype), self.node(bytes)) else {
            return Err("a numpy number lacks its type or bytes".into());
        };
        let view = View::row_major(*element, vec![], bytes, 0)?;
        Ok(match element.is_float() {
            true => Node::Real(view.to_f64()[0]),
            false => Node::Int(view.to_ints()[0]),
        })
    }

    /// The state of an object: a numpy array's sizes and numbers, a configuration's fields.
    fn build(&mut self, object: Id, state: Id) -> Parsed<()> {
        match self.node(object) {
            Node::Array(_) => {
                let view = self.numpy_array(state)?;
                self.nodes[object as usize] = Node::Array(Some(view));
            }
            Node::Dtype(element) if element.size_bytes() > 1 => {
                let order = self.list(state)?.get(1).map(|&id| self.node(id));
                if matches!(order, Some(Node::Text(order)) if order == ">") {
                    return Err("its numpy numbers are big-endian; save them little-endian".into());
                }
            }
            // A state dict carries `_metadata`, which says nothing about the tensors; a configuration its fields.
            Node::Dict(entries) if entries.is_empty() => {
                if let Node::Dict(fields) = self.node(state).clone() {
                    let is_metadata =
                        |&(key, _): &(Id, Id)| matches!(self.node(key), Node::Text(k) if k == "_metadata");
                    if !fields.iter().any(is_metadata) {
                        self.nodes[object as usize] = Node::Dict(fields);
                    }
                }
            }
            Node::Dict(_) | Node::Dtype(_) | Node::Tensor(_) | Node::List(_) => {}
            _ => return Err("an object that is no array has a state".into()),
        }
        Ok(())
    }

    /// (version, sizes, type, columns first, bytes)
    fn numpy_array(&self, state: Id) -> Parsed<View> {
        let &[_, shape, dtype, columns_first, bytes] = self.list(state)? else {
            return Err("a numpy array lacks a part of its state".into());
        };
        let shape = self.sizes(shape)?;
        match (self.node(dtype), self.node(columns_first), self.node(bytes)) {
            (Node::Dtype(element), Node::Int(0), Node::Bytes(bytes)) => View::row_major(*element, shape, bytes, 0),
            (Node::Dtype(element), Node::Int(_), Node::Bytes(bytes)) => {
                let axes: Vec<usize> = (0..shape.len()).rev().collect();
                let reversed = shape.into_iter().rev().collect();
                Ok(View::row_major(*element, reversed, bytes, 0)?.permute(&axes))
            }
            _ => Err("a numpy array holds something that is no number".into()),
        }
    }

    /// `("storage", torch.FloatStorage, key, device, count)`, and an older file's view of it, which must be none.
    fn storage(&self, id: Id) -> Parsed<StorageRef> {
        let &[kind, class, key, _, count, ref rest @ ..] = self.list(id)? else {
            return Err("a storage lacks its name, type or size".into());
        };
        match (self.node(kind), self.node(class), self.node(key)) {
            (Node::Text(kind), Node::Name(Known::Storage(element)), Node::Text(key)) if kind == "storage" => {
                if key.len() > MAX_KEY {
                    return Err(format!("a storage has a name of {} bytes, which no PyTorch writes", key.len()));
                }
                if rest.iter().any(|&view| !matches!(self.node(view), Node::None)) {
                    return Err(
                        "a storage is a view of another, as in files of PyTorch before 0.4; save it anew".into()
                    );
                }
                Ok(StorageRef { element: *element, key: key.clone(), count: self.size(count)? })
            }
            _ => Err("something outside the file is asked for that is no tensor's storage".into()),
        }
    }

    fn size(&self, id: Id) -> Parsed<usize> {
        match self.node(id) {
            Node::Int(x) => usize::try_from(*x).map_err(|_| format!("a size is {x}")),
            _ => Err("a size is no integer".into()),
        }
    }

    fn list(&self, id: Id) -> Parsed<&[Id]> {
        match self.node(id) {
            Node::List(items) => Ok(items),
            _ => Err("a list is needed where there is something else".into()),
        }
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn push(&mut self, node: Node) -> Parsed<()> {
        if self.nodes.len() >= MAX_NODES {
            return Err("it has more objects than any file of checkpoints".into());
        }
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
        Ok(())
    }

    /// Height of the stack below its top `n`, none of which may lie below the last mark.
    fn above_mark(&self, n: usize) -> Parsed<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.len().checked_sub(n).filter(|&at| at >= floor).ok_or_else(|| "its stack is empty".to_owned())
    }

    fn pop(&mut self) -> Parsed<Id> {
        self.above_mark(1)?;
        self.stack.pop().ok_or_else(|| "its stack is empty".to_owned())
    }

    fn top(&self) -> Parsed<Id> {
        self.above_mark(1).map(|at| self.stack[at])
    }

    fn since_mark(&mut self) -> Parsed<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn extend(&mut self, items: &[Id]) -> Parsed<()> {
        let list = self.top()?;
        match &mut self.nodes[list as usize] {
            Node::List(all) => {
                all.extend_from_slice(items);
                Ok(())
            }
            _ => Err("something is appended to what is no list".into()),
        }
    }

    fn set(&mut self, items: &[Id]) -> Parsed<()> {
        let dict = self.top()?;
        match &mut self.nodes[dict as usize] {
            Node::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("something is set in what is no dictionary".into()),
        }
    }

    fn recall(&mut self, key: u64) -> Parsed<()> {
        let id = *self.memo.get(&key).ok_or_else(|| format!("it recalls {key}, which it never stored"))?;
        self.stack.push(id);
        Ok(())
    }

    fn take(&mut self, n: usize) -> Parsed<&[u8]> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len()).ok_or("it is cut off")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A little-endian count of `n` bytes.
    fn number(&mut self, n: usize) -> Parsed<usize> {
        let bytes = self.take(n)?;
        let value = bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).map_err(|_| "a length is larger than memory".to_owned())
    }

    fn line(&mut self) -> Parsed<&str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("it is cut off")?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| "a name is not UTF-8".to_owned())
    }
}

/// A two's-complement little-endian integer.
fn integer(bytes: &[u8]) -> Node {
    if bytes.len() > 8 {
        return Node::Big(bytes.to_vec());
    }
    let sign = if bytes.last().is_some_and(|&byte| byte >= 0x80) { u64::MAX } else { 0 };
    Node::Int(bytes.iter().rev().fold(sign, |value, &byte| value << 8 | u64::from(byte)) as i64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn value(bytes: &[u8]) -> Parsed<Value> {
        Pickle::read(bytes)?.value(&mut |storage| Err(format!("no storage {}", storage.key)))
    }

    #[test]
    fn python_values_come_out_as_they_went_in() {
        // pickle.dumps({"a": [1, -2, 300, 70000, 2**40], "b": (1.5, None, True), 3: "ü"}, protocol=2)
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\
            \x00\x00\x00\x00\x01eX\x01\x00\x00\x00bq\x03G?\xf8\x00\x00\x00\x00\x00\x00N\x88\x87q\x04K\x03X\x02\x00\x00\x00\
            \xc3\xbcq\x05u.";
        let read = value(bytes).unwrap();
        assert_eq!(read.get("a").unwrap().numbers().unwrap(), [1.0, -2.0, 300.0, 70000.0, (1u64 << 40) as f64]);
        let Some(Value::List(b)) = read.get("b") else { panic!("{read:?}") };
        assert!(matches!(b[..], [Value::Real(1.5), Value::None, Value::Int(1)]), "{b:?}");
        let Value::Dict(entries) = &read else { panic!() };
        assert!(matches!(&entries[2], (Value::Int(3), Value::Text(text)) if text == "ü"));
    }

    #[test]
    fn nothing_but_data_is_known() {
        let classes: [&[u8]; 6] = [
            b"cos\nsystem\n(S'echo hi'\ntR.",
            b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00hi\x85R.",
            b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x031+1\x85R.",
            b"c__builtin__\ngetattr\n.",
            b"\x80\x02cposix\nsystem\n.",
            b"\x80\x02ctorch\nload\n.",
        ];
        for bytes in classes {
            let error = value(bytes).unwrap_err();
            assert!(error.contains("nothing was run"), "{error}");
        }
        for bytes in [&b"(i__main__\nX\n."[..], b"(cos\nsystem\no.", b"\x82\x01.", b"P1\n.", b"\x97.", b"\x92."] {
            assert!(value(bytes).is_err());
        }
        let error = value(b"\x80\x02c__builtin__\nfloat\nX\x02\x00\x00\x00hi\x85R.").unwrap_err();
        assert!(error.contains("a type is called"), "{error}");
    }

    #[test]
    fn cycles_depth_and_sharing_are_bounded() {
        // l = []; l.append(l)
        assert!(value(b"\x80\x02]q\x00h\x00a.").unwrap_err().contains("holds itself"));
        let deep = [&b"\x80\x02"[..], &[b']'; 100_000], &[b'a'; 99_999], b"."].concat();
        assert!(value(&deep).unwrap_err().contains("nested deeper"));
        // Each list holds the one before it ten times: 10^60 values from a few hundred bytes.
        let mut laughs = b"\x80\x02]q\x00".to_vec();
        for level in 0..60u8 {
            laughs.extend([b']', b'q', level + 1, b'(']);
            laughs.extend([b'h', level].repeat(10));
            laughs.push(b'e');
        }
        laughs.push(b'.');
        assert!(value(&laughs).unwrap_err().contains("more values"));
    }

    #[test]
    fn the_same_long_list_or_text_is_not_copied_without_end() {
        let text =
            [b"\x80\x02]q\x00(X\x00\x00\x10\x00", &[b'a'; 1 << 20][..], b"q\x01", &b"h\x01".repeat(1 << 10), b"e."]
                .concat();
        assert!(value(&text).unwrap_err().contains("more text"));
        let long = [
            b"\x80\x02(",
            &[b'N'; 1 << 16][..],
            b"tq\x00\x85q\x01cbuiltins\nlist\nq\x020",
            &b"h\x02h\x01R0".repeat(1 << 10),
            b"N.",
        ];
        assert!(value(&long.concat()).unwrap_err().contains("copies more"));
        // The name of a storage, asked for again and again.
        let key = [
            b"\x80\x02X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x00\x00\x01\x00",
            &[b'0'; 1 << 16][..],
            b"X\x03\x00\x00\x00cpuK\x01tQ.",
        ]
        .concat();
        let key = [&key[..2], b"(", &key[2..]].concat();
        assert!(value(&key).unwrap_err().contains("a name of 65536 bytes"));
    }

    #[test]
    fn a_long_shape_is_refused_before_it_is_copied() {
        let tensor = [
            &b"\x80\x02("[..],
            &b"K\x01".repeat(1 << 12),
            b"tq\x000ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000",
            b"X\x03\x00\x00\x00cpuK\x01tQK\x00h\x00h\x00tR.",
        ];
        // Told while the pickle is read, and not when its tree is made.
        let error = Pickle::read(&tensor.concat()).unwrap_err();
        assert!(error.contains("4096 axes"), "{error}");
        let array = [
            &b"\x80\x02("[..],
            &b"K\x01".repeat(1 << 12),
            b"tq\x000cnumpy.core.multiarray\n_reconstruct\n)R(K\x01h\x00cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85RK\x00C\x00tb.",
        ];
        let error = Pickle::read(&array.concat()).unwrap_err();
        assert!(error.contains("4096 axes"), "{error}");
    }

    #[test]
    fn every_truncation_and_many_changes_end_in_an_error_or_a_value() {
        let good =
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G?\xf8\x00\x00\x00\x00\x00\x00eK\x07(I5\nL7L\nF1.5\nlu.";
        assert!(value(good).is_ok());
        for end in 0..good.len() - 1 {
            assert!(value(&good[..end]).is_err(), "{end}");
        }
        for at in 0..good.len() {
            for byte in 0..=255u8 {
                let mut bytes = good.to_vec();
                bytes[at] = byte;
                let _ = value(&bytes);
            }
        }
        for length in [&b"X\xff\xff\xff\xff"[..], b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f"] {
            assert!(value(length).unwrap_err().contains("cut off"));
        }
    }

    #[test]
    fn integers_of_all_widths() {
        for (bytes, expected) in [(&b""[..], 0), (b"\xff", -1), (b"\x00\x01", 256), (b"\x80\xff", -128)] {
            assert!(matches!(integer(bytes), Node::Int(x) if x == expected));
        }
        assert!(matches!(integer(&[1; 9]), Node::Big(_)));
    }
}
