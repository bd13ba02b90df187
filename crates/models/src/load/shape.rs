use nd_kernels::Padding;

/// Whether a layer adds a learned bias.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Bias {
    Yes,
    No,
}

/// Size of a convolution; kernels are square.
#[derive(Clone, Copy)]
pub(crate) struct ConvShape {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: Padding,
    pub bias: Bias,
}

impl ConvShape {
    /// Stride 1, the padding that keeps an odd kernel's size, with bias.
    pub fn same(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, padding: Padding::Same(kernel.saturating_sub(1) / 2), bias: Bias::Yes }
    }

    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub fn padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    pub fn bias(self, bias: Bias) -> Self {
        Self { bias, ..self }
    }
}
