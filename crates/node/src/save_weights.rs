//! Weights written to safetensors, from any readable file or from tensors, in any layout.

use crate::error::{Failure, Outcome, Result, INVALID_ARGUMENT};
use crate::load::{open_files, progress_of, OnProgress};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use candle_core::{DType, Device, Tensor};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::single_file::{part, single_file, Part, Piece};
use nd_models::weights::{write_weights, Element, SaveOptions, Weights};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// One component to write: a file or folder, or tensors by name.
#[napi(object, object_to_js = false)]
pub struct NativePiece<'env> {
    /// `unet`, `vae`, ...; the names are kept as they are if left out.
    pub part: Option<String>,
    pub path: Option<String>,
    /// Other files of the same component.
    pub beside: Option<Vec<String>>,
    pub variant: Option<String>,
    pub names: Option<Vec<String>>,
    pub tensors: Option<Vec<ClassInstance<'env, NativeTensor>>>,
}

/// Where and how weights are written.
#[napi(object, object_to_js = false)]
pub struct NativeSaveOptions {
    pub folder: String,
    /// File name without `.safetensors`.
    pub basename: String,
    /// One checkpoint in LDM's or SGM's names, instead of one component in diffusers'.
    pub single_file: bool,
    /// Empty tensors that say how a single file was trained, such as `v_pred`.
    pub markers: Vec<String>,
    /// `f32`, `f16` or `bf16`; as in the source if left out.
    pub dtype: Option<String>,
    pub max_shard_bytes: Option<f64>,
    pub variant: Option<String>,
    pub metadata: HashMap<String, String>,
}

struct Source {
    part: Option<String>,
    variant: Option<String>,
    place: Place,
}

enum Place {
    Files(Vec<PathBuf>),
    Memory(HashMap<String, Tensor>),
}

impl Source {
    fn new(piece: NativePiece) -> Outcome<Self> {
        let place = match (piece.path, piece.names, piece.tensors) {
            (Some(path), ..) => Place::Files(std::iter::once(path).chain(piece.beside.unwrap_or_default()).map(PathBuf::from).collect()),
            (None, Some(names), Some(tensors)) => {
                let tensors = tensors.iter().map(|tensor| tensor.tensor().cloned()).collect::<Outcome<Vec<_>>>()?;
                Place::Memory(names.into_iter().zip(tensors).collect())
            }
            _ => return Err(Failure::new(INVALID_ARGUMENT, "Expected a path or tensors for pieces but received neither")),
        };
        Ok(Self { part: piece.part, variant: piece.variant, place })
    }

    fn open(self) -> Outcome<(Option<Part>, Weights)> {
        let named = self.part.as_deref().map(Part::parse).transpose()?;
        let weights = match (self.place, named) {
            (Place::Files(paths), _) => open_files(&paths, self.variant.as_deref(), named)?,
            (Place::Memory(tensors), Some(named)) => part(&Weights::from_tensors(tensors), named)?,
            (Place::Memory(tensors), None) => Weights::from_tensors(tensors),
        };
        Ok((named, weights))
    }
}

/// Writes weights and resolves to the paths of the files, each renamed into place when it was complete.
#[napi(catch_unwind, ts_return_type = "Promise<string[]>")]
pub fn save_weights<'env>(
    env: &'env Env,
    pieces: Vec<NativePiece>,
    options: NativeSaveOptions,
    token: &NativeCancelToken,
    #[napi(ts_arg_type = "((written: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
) -> Result<Object<'env>> {
    let sources = pieces.into_iter().map(Source::new).collect::<Outcome<Vec<_>>>()?;
    let dtype =
        options.dtype.as_deref().map(|name| Element::parse(&name.to_uppercase()).ok_or_else(|| Failure::expected("f32, f16 or bf16", "dtype", name)));
    let saving = SaveOptions {
        dtype: dtype.transpose()?,
        max_shard_bytes: options.max_shard_bytes.map(|bytes| bytes as u64),
        variant: options.variant.clone(),
        metadata: BTreeMap::from_iter(options.metadata.clone()),
        cancel: token.token.clone(),
        progress: on_progress.map(progress_of).transpose()?,
    };
    let work = move || {
        let weights = gather(sources, &options)?;
        let written = write_weights(&weights, &PathBuf::from(&options.folder), &options.basename, &saving)?;
        Ok(written.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
    };
    Ok(spawn(env, &token.token, work, |_, paths| Ok(paths))?)
}

fn gather(sources: Vec<Source>, options: &NativeSaveOptions) -> Outcome<Weights> {
    let mut opened = sources.into_iter().map(Source::open).collect::<Outcome<Vec<_>>>()?;
    if !options.single_file {
        let (_, weights) = opened.pop().ok_or_else(|| Failure::new(INVALID_ARGUMENT, "Expected a component to save but received none"))?;
        return Ok(weights);
    }
    let piece = |(part, weights): (Option<Part>, Weights)| {
        part.map(|part| Piece { part, weights }).ok_or_else(|| Failure::new(INVALID_ARGUMENT, "Expected a part for each piece but received none"))
    };
    let whole = single_file(&opened.into_iter().map(piece).collect::<Outcome<Vec<_>>>()?)?;
    if options.markers.is_empty() {
        return Ok(whole);
    }
    let marker = |name: &String| Ok((name.clone(), Tensor::zeros(0, DType::F32, &Device::Cpu)?));
    let markers = options.markers.iter().map(marker).collect::<Outcome<HashMap<_, _>>>()?;
    Ok(Weights::join(vec![whole, Weights::from_tensors(markers)], "a pipeline")?)
}
