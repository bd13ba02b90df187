use super::config::{AdditionEmbed, ClassEmbed, TimeKind, UNetConfig};
use super::input::UNetInput;
use crate::blocks::conditioning::TimeEmbedding;
use crate::blocks::embeddings::{Sinusoids, TimestepEmbedding};
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use crate::unet::text_pooling::TextPooling;
use candle_core::{DType, Tensor};
use nd_kernels::{activation, Activation, LayerNorm, Linear};

/// Source: diffusers embeddings.py `ImageTimeEmbedding`, torch's default.
const IMAGE_NORM_EPS: f64 = 1e-5;

enum TimeProjection {
    Positional(Sinusoids),
    /// Random frequencies (width / 2), stored with the weights; cosines first when the flag is set.
    Fourier(Tensor, bool),
}

enum ClassEmbedding {
    Table(Tensor),
    Timestep(TimestepEmbedding, Sinusoids),
    Identity(usize),
    Projection(TimestepEmbedding, usize),
    SimpleProjection(Linear),
}

enum AddedEmbedding {
    Text(Box<TextPooling>),
    TextTime(Sinusoids, Box<TimestepEmbedding>),
    Image(Linear, LayerNorm),
}

/// All that becomes the time embedding: timestep, guidance, class labels, pooled text and sizes.
/// Source: diffusers unet_2d_condition.py `get_time_embed`, `get_class_embed`, `get_aug_embed`.
pub(crate) struct TimeAndText {
    projection: TimeProjection,
    time_embedding: TimestepEmbedding,
    cond_width: Option<usize>,
    class_embedding: Option<ClassEmbedding>,
    class_concat: bool,
    add_embedding: Option<AddedEmbedding>,
    after: Option<Activation>,
    blocks_activation: Activation,
}

impl TimeAndText {
    pub fn new(b: &Builder, config: &UNetConfig) -> Result<Self> {
        let width = config.time_embed_dim;
        let sinusoids = |width| Sinusoids { width, flip_sin_to_cos: config.flip_sin_to_cos, freq_shift: config.freq_shift };
        let first = config.block_out_channels.first().copied().unwrap_or(1);
        let (projection, inputs) = match config.time_kind {
            TimeKind::Positional => (TimeProjection::Positional(sinusoids(first)), first),
            TimeKind::Fourier => (TimeProjection::Fourier(b.tensor_f32("time_proj.weight", &[width / 2])?, config.flip_sin_to_cos), width),
        };
        let at = b.pp("time_embedding");
        let time_embedding = TimestepEmbedding::new(&at, inputs, width, config.act_fn)?;
        let class = b.pp("class_embedding");
        let class_embedding = match config.class_embed {
            ClassEmbed::None => None,
            ClassEmbed::Table(rows) => Some(ClassEmbedding::Table(class.table("weight", rows, width)?)),
            ClassEmbed::Timestep => Some(ClassEmbedding::Timestep(TimestepEmbedding::new(&class, inputs, width, config.act_fn)?, sinusoids(inputs))),
            ClassEmbed::Identity => Some(ClassEmbedding::Identity(width)),
            ClassEmbed::Projection(inputs) => {
                Some(ClassEmbedding::Projection(TimestepEmbedding::new(&class, inputs, width, Activation::Silu)?, inputs))
            }
            ClassEmbed::SimpleProjection(inputs) => Some(ClassEmbedding::SimpleProjection(b.linear("class_embedding", inputs, width, Bias::Yes)?)),
        };
        let add = b.pp("add_embedding");
        let add_embedding = match config.addition_embed {
            AdditionEmbed::None => None,
            AdditionEmbed::Text { heads } => Some(AddedEmbedding::Text(Box::new(TextPooling::new(&add, config.context_width(), width, heads)?))),
            AdditionEmbed::TextTime { time_width, projection_width } => {
                let embedding = TimestepEmbedding::new(&add, projection_width, width, Activation::Silu)?;
                Some(AddedEmbedding::TextTime(sinusoids(time_width), Box::new(embedding)))
            }
            AdditionEmbed::Image(inputs) | AdditionEmbed::ImageHint(inputs) => {
                Some(AddedEmbedding::Image(add.linear("image_proj", inputs, width, Bias::Yes)?, add.layer_norm("image_norm", width, IMAGE_NORM_EPS)?))
            }
        };
        Ok(Self {
            projection,
            time_embedding: time_embedding.with(&at, inputs, config.time_cond_proj_dim, config.timestep_post_act)?,
            cond_width: config.time_cond_proj_dim,
            class_embedding,
            class_concat: config.class_embeddings_concat,
            add_embedding,
            after: config.time_embedding_act_fn,
            blocks_activation: config.act_fn,
        })
    }

    pub fn forward(&self, input: &UNetInput, batch: usize) -> Result<TimeEmbedding> {
        let device = input.sample.device();
        let sinusoids = self.time_projection(&input.batch_timesteps(batch)?, device)?;
        let condition = self.guidance(input, batch)?;
        let mut emb = self.time_embedding.forward(&sinusoids, condition.as_ref())?;
        if let Some(class) = &self.class_embedding {
            let class = self.class(class, input, batch)?;
            emb = if self.class_concat { Tensor::cat(&[&emb, &class], 1)? } else { (emb + class)? };
        }
        if let Some(added) = &self.add_embedding {
            emb = (emb + self.added(added, input, batch)?)?;
        }
        if let Some(after) = self.after {
            emb = activation(&emb, after)?;
        }
        Ok(TimeEmbedding { activated: activation(&emb, self.blocks_activation)?, raw: emb })
    }

    fn time_projection(&self, timesteps: &[f64], device: &candle_core::Device) -> Result<Tensor> {
        match &self.projection {
            TimeProjection::Positional(sinusoids) => sinusoids.forward(timesteps, device),
            TimeProjection::Fourier(frequencies, flip) => {
                let t: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
                let angles = (Tensor::new(t, device)?.unsqueeze(1)?.broadcast_mul(&frequencies.unsqueeze(0)?)? * std::f64::consts::TAU)?;
                let (sines, cosines) = (angles.sin()?, angles.cos()?);
                Ok(if *flip { Tensor::cat(&[cosines, sines], 1)? } else { Tensor::cat(&[sines, cosines], 1)? })
            }
        }
    }

    fn guidance(&self, input: &UNetInput, batch: usize) -> Result<Option<Tensor>> {
        match (input.timestep_cond, self.cond_width) {
            (None, _) => Ok(None),
            (Some(cond), Some(width)) => matrix(cond, "timestep_cond", batch, Some(width)).map(Some),
            (Some(cond), None) => Err(ModelError::shape("timestep_cond", "nothing, because the config has no time_cond_proj_dim,", cond)),
        }
    }

    fn class(&self, class: &ClassEmbedding, input: &UNetInput, batch: usize) -> Result<Tensor> {
        let name = "class_labels";
        let labels = input.class_labels.ok_or_else(|| ModelError::argument(name, "a tensor, because the model has a class embedding,", "nothing"))?;
        match class {
            ClassEmbedding::Table(table) => {
                let rows = table.dim(0)?;
                let ids = numbers(labels, name, batch)?;
                if let Some(id) = ids.iter().find(|&&id| id.fract() != 0.0 || id < 0.0 || id >= rows as f64) {
                    return Err(ModelError::argument(name, format!("whole numbers from 0 to {}", rows - 1), id));
                }
                let ids: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
                Ok(table.index_select(&Tensor::new(ids, labels.device())?, 0)?.to_dtype(DType::F32)?)
            }
            ClassEmbedding::Timestep(embedding, sinusoids) => {
                embedding.forward(&sinusoids.forward(&numbers(labels, name, batch)?, labels.device())?, None)
            }
            ClassEmbedding::Identity(width) => matrix(labels, name, batch, Some(*width)),
            ClassEmbedding::Projection(embedding, width) => embedding.forward(&matrix(labels, name, batch, Some(*width))?, None),
            ClassEmbedding::SimpleProjection(linear) => Ok(linear.forward(&matrix(labels, name, batch, Some(linear.in_features()))?)?),
        }
    }

    fn added(&self, added: &AddedEmbedding, input: &UNetInput, batch: usize) -> Result<Tensor> {
        match added {
            AddedEmbedding::Image(projection, norm) => {
                let need = || ModelError::argument("image_embeds", "a tensor, because addition_embed_type is image,", "nothing");
                let image = matrix(input.image_embeds.ok_or_else(need)?, "image_embeds", batch, Some(projection.in_features()))?;
                Ok(norm.forward(&projection.forward(&image)?)?)
            }
            AddedEmbedding::Text(pooling) => pooling.forward(&input.encoder_hidden_states.to_dtype(DType::F32)?),
            AddedEmbedding::TextTime(sinusoids, embedding) => {
                let need = |name: &str| ModelError::argument(name, "a tensor, because addition_embed_type is text_time,", "nothing");
                let text = matrix(input.text_embeds.ok_or_else(|| need("text_embeds"))?, "text_embeds", batch, None)?;
                let ids = input.time_ids.ok_or_else(|| need("time_ids"))?;
                let flat: Vec<f64> = matrix(ids, "time_ids", batch, None)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
                let times = sinusoids.forward(&flat, ids.device())?.reshape((batch, ()))?;
                let joined = Tensor::cat(&[&text, &times], 1)?;
                let wanted = embedding.inputs();
                if joined.dim(1)? != wanted {
                    let expected = format!(
                        "{} numbers per image, so that text and sizes give {wanted} values,",
                        wanted.saturating_sub(text.dim(1)?) / sinusoids.width
                    );
                    return Err(ModelError::shape("time_ids", expected, ids));
                }
                embedding.forward(&joined, None)
            }
        }
    }
}

/// A (B, width) argument in f32; one row stands for all samples.
fn matrix(tensor: &Tensor, name: &str, batch: usize, width: Option<usize>) -> Result<Tensor> {
    let dims = tensor.dims();
    let fits = dims.len() == 2 && (dims[0] == batch || dims[0] == 1) && width.is_none_or(|w| dims[1] == w);
    if !fits {
        let width = width.map_or("N".to_string(), |w| w.to_string());
        return Err(ModelError::shape(name, format!("shape ({batch}, {width})"), tensor));
    }
    Ok(tensor.to_dtype(DType::F32)?.broadcast_as((batch, dims[1]))?.contiguous()?)
}

/// A (B) or (1) argument as numbers, one per sample.
fn numbers(tensor: &Tensor, name: &str, batch: usize) -> Result<Vec<f64>> {
    let values: Vec<f64> = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    match values.len() {
        1 => Ok(vec![values[0]; batch]),
        n if n == batch => Ok(values),
        _ => Err(ModelError::shape(name, format!("shape ({batch})"), tensor)),
    }
}
