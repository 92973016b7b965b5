//! The weights of a model directory: safetensors files, checked against the config before a single byte is uploaded.
//! The checks see them through a map; what is loaded is read.
//!
//! Files hold bf16, f16 or f32. The device holds one type: f16 if the files have any f16 tensor, else bf16; f32
//! tensors are rounded to it, and [`Weights::notice`] says so. bf16 and f16 in one model are refused: neither
//! type holds the other's values.

mod convert;
mod digest;
mod header;
mod mapped;
pub mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use safetensors::tensor::Dtype;
use serde_json::Value;

use crate::config::{Config, WeightType};
use crate::error::{Error, Result};
use crate::json::{JsonFile, is_present, read_error};
pub use digest::Digest;
use header::Entry;
use mapped::MappedFile;
use names::TensorSpec;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files of a model, open and known to hold what the config asks for.
pub struct Weights {
    files: Vec<MappedFile>,
    entries: Entries,
    specs: Vec<TensorSpec>,
    weight_type: WeightType,
}

/// What a file says of a tensor, before anything is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub path: PathBuf,
    /// As safetensors names it: `BF16`.
    pub dtype: String,
    pub shape: Vec<usize>,
    pub n_bytes: u64,
}

/// One tensor, as it is in its file.
#[derive(Clone)]
pub struct TensorView<'a> {
    pub name: &'a str,
    pub path: &'a Path,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    /// Dense, slowest axis first, little-endian, not necessarily aligned.
    pub bytes: &'a [u8],
    file: &'a MappedFile,
    /// Of `bytes` in the file.
    start: usize,
}

impl Weights {
    /// Opens the directory's files and checks every name, shape, type and offset.
    pub fn open(dir: &Path, config: &Config) -> Result<Self> {
        let (files, entries) = read_headers(dir)?;
        let mut weights = Self { files, entries, specs: names::tensors(config), weight_type: WeightType::Bf16 };
        weights.check_shapes(dir)?;
        weights.check_extras()?;
        weights.weight_type = weights.common_type()?;
        Ok(weights)
    }

    /// What the files hold, by name, whatever the model needs.
    pub fn list(dir: &Path) -> Result<Vec<Listed>> {
        let (files, entries) = read_headers(dir)?;
        let listed = |(name, (file, entry)): (String, (usize, Entry))| {
            let Entry { dtype, shape, bytes } = entry;
            let path: &MappedFile = &files[file];
            Listed { name, path: path.path.clone(), dtype: dtype.to_string(), shape, n_bytes: bytes.len() as u64 }
        };
        Ok(entries.into_iter().map(listed).collect())
    }

    /// The type of every weight on the device.
    pub fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// Every tensor of the model, in the order of loading.
    pub fn tensors(&self) -> impl Iterator<Item = (&TensorSpec, TensorView<'_>)> {
        self.specs.iter().map(|spec| (spec, self.tensor(&spec.name)))
    }

    /// A tensor of the model, by its name in [`names::tensors`].
    pub fn tensor(&self, name: &str) -> TensorView<'_> {
        let Some((name, (file, entry))) = self.entries.get_key_value(name) else {
            panic!("no tensor {name}: names come from names::tensors, which open() has checked");
        };
        let file = &self.files[*file];
        let (bytes, start) = (&file.bytes()[entry.bytes.clone()], entry.bytes.start);
        TensorView { name, path: &file.path, shape: entry.shape.clone(), dtype: entry.dtype, bytes, file, start }
    }

    /// One line for the user, where the device will hold something else than the files.
    pub fn notice(&self) -> Option<String> {
        let n_f32 = self.tensors().filter(|(_, tensor)| tensor.dtype == Dtype::F32).count();
        let to = self.weight_type;
        (n_f32 > 0).then(|| format!("{n_f32} of {} tensors are f32 and are rounded to {to}", self.specs.len()))
    }

    /// Call after loading: an error if a file was written to meanwhile.
    pub fn check_unchanged(&self) -> Result<()> {
        self.files.iter().try_for_each(MappedFile::check_unchanged)
    }

    fn check_shapes(&self, dir: &Path) -> Result<()> {
        for TensorSpec { name, shape, .. } in &self.specs {
            let Some((file, entry)) = self.entries.get(name) else {
                let path = if let [file] = &self.files[..] { &file.path } else { dir };
                let hint = if name == names::LM_HEAD {
                    "no such tensor (and tie_word_embeddings is not true)"
                } else {
                    "no such tensor"
                };
                return Err(tensor_error(path, name, format!("shape {shape:?}"), hint));
            };
            if entry.shape != *shape {
                let (expected, found) = (format!("shape {shape:?} by config.json"), format!("{:?}", entry.shape));
                return Err(tensor_error(&self.files[*file].path, name, expected, found));
            }
        }
        Ok(())
    }

    /// Beyond the model's tensors there may be tables of angles, and an output projection that repeats the
    /// embedding it is tied to.
    fn check_extras(&self) -> Result<()> {
        let wanted: BTreeSet<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
        for (name, (file, _)) in &self.entries {
            if wanted.contains(name.as_str()) || names::is_ignored(name) {
                continue;
            }
            let path = &self.files[*file].path;
            if name != names::LM_HEAD {
                return Err(tensor_error(
                    path,
                    name,
                    "only the tensors of the architecture in config.json",
                    "this one as well",
                ));
            }
            let (head, embedding) = (self.tensor(name), self.tensor(&self.specs[0].name));
            if (&head.shape, head.dtype, head.bytes) != (&embedding.shape, embedding.dtype, embedding.bytes) {
                let expected = format!("the same values as {}, since tie_word_embeddings is true", embedding.name);
                return Err(tensor_error(path, name, expected, "others; set tie_word_embeddings to false to use them"));
            }
        }
        Ok(())
    }

    fn common_type(&self) -> Result<WeightType> {
        let first_of = |dtype| self.tensors().find(|(_, tensor)| tensor.dtype == dtype).map(|(_, tensor)| tensor);
        let is_known = |dtype| matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32);
        if let Some((_, odd)) = self.tensors().find(|(_, tensor)| !is_known(tensor.dtype)) {
            return Err(tensor_error(odd.path, odd.name, "type BF16, F16 or F32", odd.dtype.to_string()));
        }
        match (first_of(Dtype::F16), first_of(Dtype::BF16)) {
            (Some(f16), Some(bf16)) => {
                let found = format!("F16, but {} is BF16", bf16.name);
                Err(tensor_error(f16.path, f16.name, "BF16 and F16 not to be mixed in one model", found))
            }
            (Some(_), None) => Ok(WeightType::F16),
            (None, _) => Ok(WeightType::Bf16),
        }
    }
}

impl<'a> TensorView<'a> {
    /// Some of its rows: indices of the slowest axis.
    pub fn rows(&self, rows: Range<usize>) -> TensorView<'a> {
        let row_bytes = self.bytes.len() / self.shape[0];
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        let bytes = rows.start * row_bytes..rows.end * row_bytes;
        Self { shape, bytes: &self.bytes[bytes.clone()], start: self.start + bytes.start, ..self.clone() }
    }

    /// Reads the values from the file into `into`, in the device's type.
    pub fn read(&self, weight_type: WeightType, into: &mut [u8]) -> Result<()> {
        match (self.dtype, weight_type) {
            (Dtype::BF16, WeightType::Bf16) | (Dtype::F16, WeightType::F16) => self.file.read_at(self.start, into),
            (Dtype::F32, _) => {
                let mut bytes = vec![0; self.bytes.len()];
                self.file.read_at(self.start, &mut bytes)?;
                into.copy_from_slice(&self.rounded(&bytes, weight_type)?);
                Ok(())
            }
            (dtype, _) => panic!("{dtype} to {weight_type:?}: open() refuses such models"),
        }
    }

    /// f32 values of this tensor in the device's type.
    fn rounded(&self, f32s: &[u8], weight_type: WeightType) -> Result<Vec<u8>> {
        match weight_type {
            WeightType::Bf16 => Ok(convert::f32_to_bf16(f32s)),
            WeightType::F16 => convert::f32_to_f16(f32s).map_err(|value| {
                let expected = "f32 values that f16 holds, as the other tensors are f16";
                tensor_error(self.path, self.name, expected, value.to_string())
            }),
        }
    }
}

/// Name to (file, place in it).
type Entries = BTreeMap<String, (usize, Entry)>;

/// Opens the directory's files; they agree with the index, if there is one, and no tensor is there twice.
fn read_headers(dir: &Path) -> Result<(Vec<MappedFile>, Entries)> {
    let index = JsonFile::read_if_present(dir.join(INDEX))?;
    let index = index.map(|file| Index::read(&file)).transpose()?;
    let paths = match &index {
        Some(index) => index.file_names().map(|name| dir.join(name)).collect(),
        None => vec![single_file(dir)?],
    };
    let files = paths.iter().map(|path| MappedFile::open(path)).collect::<Result<Vec<_>>>()?;
    let mut entries = Entries::new();
    for (file, mapped) in files.iter().enumerate() {
        for (name, entry) in header::parse(&mapped.path, mapped.bytes())? {
            if let Some((other, _)) = entries.insert(name.clone(), (file, entry)) {
                let found = format!("it in {} as well", files[other].path.display());
                return Err(tensor_error(&mapped.path, &name, "each tensor in one file", found));
            }
        }
    }
    if let Some(index) = &index {
        index.check(dir, &files, &entries)?;
    }
    Ok((files, entries))
}

/// `model.safetensors.index.json`: which file holds which tensor.
struct Index {
    path: PathBuf,
    /// Tensor name to file name.
    files: BTreeMap<String, String>,
}

impl Index {
    fn read(file: &JsonFile) -> Result<Self> {
        const KEY: &str = "weight_map";
        const EXPECTED: &str = "an object from tensor names to file names in the same directory";
        let map = file.object(KEY)?.ok_or_else(|| file.missing(KEY, EXPECTED))?;
        let is_plain = |name: &str| {
            let mut parts = Path::new(name).components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
                && !name.contains(char::is_control)
        };
        let files = map.iter().map(|(tensor, name)| match name.as_str().filter(|name| is_plain(name)) {
            Some(name) => Ok((tensor.clone(), name.to_owned())),
            None => Err(file.wrong(
                &format!("{KEY}.{}", tensor.escape_debug()),
                "the name of a file in the same directory",
                name,
            )),
        });
        let files: BTreeMap<_, _> = files.collect::<Result<_>>()?;
        if files.is_empty() {
            return Err(file.wrong(KEY, EXPECTED, &Value::Object(map.clone())));
        }
        Ok(Self { path: file.path.clone(), files })
    }

    fn file_names(&self) -> impl Iterator<Item = &String> {
        self.files.values().collect::<BTreeSet<_>>().into_iter()
    }

    /// The index and the files agree on who holds what.
    fn check(&self, dir: &Path, files: &[MappedFile], entries: &Entries) -> Result<()> {
        for (name, file_name) in &self.files {
            let found = entries.get(name).map(|(file, _)| &files[*file].path);
            if found != Some(&dir.join(file_name)) {
                let found =
                    found.map_or("it in no file of the index".into(), |path| format!("it in {}", path.display()));
                return Err(tensor_error(&self.path, name, format!("it in {file_name:?}"), found));
            }
        }
        match entries.iter().find(|(name, _)| !self.files.contains_key(*name)) {
            Some((name, (file, _))) => Err(tensor_error(
                &files[*file].path,
                name,
                format!("every tensor to be in {INDEX}"),
                "this one only in the file",
            )),
            None => Ok(()),
        }
    }
}

fn single_file(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(SINGLE);
    if is_present(&path) {
        return Ok(path);
    }
    for name in ["consolidated.safetensors", "consolidated.00.pth", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    {
        if is_present(&dir.join(name)) {
            return Err(Error::Unsupported {
                path: dir.join(name),
                asked: "this format".into(),
                supported: format!("take the Hugging Face files of the same model: {SINGLE}, or {INDEX} and its files"),
            });
        }
    }
    Err(read_error(dir, format!("it holds neither {SINGLE} nor {INDEX}")))
}

fn tensor_error(path: &Path, name: &str, expected: impl Into<String>, found: impl Into<String>) -> Error {
    let tensor = name.escape_debug().to_string();
    Error::Tensor { path: path.into(), tensor, expected: expected.into(), found: found.into() }
}
