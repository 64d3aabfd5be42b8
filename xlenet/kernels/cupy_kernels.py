"""What runs in the place of portable functions where the arrays are CuPy's: see `xlenet.backend.seam`.

Each function takes the arguments of its portable twin, `<module>_<function>`, and answers `NotImplemented` to what it
does not take: another type, a rare configuration, arguments that are wrong (the twin says what is wrong with them).
"""

from .cuda_batchnorm import (
    batchnorm_backward_training,
    batchnorm_forward_training,
    batchnorm_relu_backward_training,
    batchnorm_relu_forward_training,
    batchnorm_update_running,
)
from .cuda_conv import (
    conv2d_rows_backward,
    conv2d_rows_forward,
    conv_pool_backward,
    conv_pool_forward,
    conv_pool_infer,
)
from .cuda_distort import distort_distort
from .cuda_feed import images_gather, steps_advance
from .cuda_linear import linear_backward, linear_forward, linear_relu_backward, linear_relu_forward
from .cuda_loss import meter_tally, softmax_cross_entropy_backward, softmax_cross_entropy_forward
from .cuda_matmul import matmul_matmul
from .cuda_optim import optim_adam_update, optim_sgd_update

__all__ = [
    "batchnorm_backward_training",
    "batchnorm_forward_training",
    "batchnorm_relu_backward_training",
    "batchnorm_relu_forward_training",
    "batchnorm_update_running",
    "conv2d_rows_backward",
    "conv2d_rows_forward",
    "conv_pool_backward",
    "conv_pool_forward",
    "conv_pool_infer",
    "distort_distort",
    "images_gather",
    "linear_backward",
    "linear_forward",
    "linear_relu_backward",
    "linear_relu_forward",
    "matmul_matmul",
    "meter_tally",
    "optim_adam_update",
    "optim_sgd_update",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "steps_advance",
]
