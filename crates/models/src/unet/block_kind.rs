use crate::error::{ModelError, Result};

/// A block type of `down_block_types`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum DownKind {
    Plain,
    CrossAttn,
    Resnet,
    SimpleCrossAttn,
    K,
    KCrossAttn,
}

/// A block type of `up_block_types`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum UpKind {
    Plain,
    CrossAttn,
    Resnet,
    SimpleCrossAttn,
    K,
    KCrossAttn,
}

/// `mid_block_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MidKind {
    Plain,
    CrossAttn,
    SimpleCrossAttn,
}

/// Prefix that diffusers ignores in old configs.
const OLD_PREFIX: &str = "UNetRes";

impl DownKind {
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name.strip_prefix(OLD_PREFIX).unwrap_or(name) {
            "DownBlock2D" => Self::Plain,
            "CrossAttnDownBlock2D" => Self::CrossAttn,
            "ResnetDownsampleBlock2D" => Self::Resnet,
            "SimpleCrossAttnDownBlock2D" => Self::SimpleCrossAttn,
            "KDownBlock2D" => Self::K,
            "KCrossAttnDownBlock2D" => Self::KCrossAttn,
            _ => {
                let known =
                    "DownBlock2D, CrossAttnDownBlock2D, ResnetDownsampleBlock2D, SimpleCrossAttnDownBlock2D, KDownBlock2D or KCrossAttnDownBlock2D";
                return Err(ModelError::config("down_block_types", known, name));
            }
        })
    }
}

impl UpKind {
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name.strip_prefix(OLD_PREFIX).unwrap_or(name) {
            "UpBlock2D" => Self::Plain,
            "CrossAttnUpBlock2D" => Self::CrossAttn,
            "ResnetUpsampleBlock2D" => Self::Resnet,
            "SimpleCrossAttnUpBlock2D" => Self::SimpleCrossAttn,
            "KUpBlock2D" => Self::K,
            "KCrossAttnUpBlock2D" => Self::KCrossAttn,
            _ => {
                let known = "UpBlock2D, CrossAttnUpBlock2D, ResnetUpsampleBlock2D, SimpleCrossAttnUpBlock2D, KUpBlock2D or KCrossAttnUpBlock2D";
                return Err(ModelError::config("up_block_types", known, name));
            }
        })
    }
}

impl MidKind {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "UNetMidBlock2D" => Ok(Self::Plain),
            "UNetMidBlock2DCrossAttn" => Ok(Self::CrossAttn),
            "UNetMidBlock2DSimpleCrossAttn" => Ok(Self::SimpleCrossAttn),
            _ => Err(ModelError::config("mid_block_type", "UNetMidBlock2D, UNetMidBlock2DCrossAttn, UNetMidBlock2DSimpleCrossAttn or null", name)),
        }
    }
}
