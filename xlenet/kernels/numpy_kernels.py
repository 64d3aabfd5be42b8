"""What NumPy can do quicker than the portable functions, by the names that `xlenet.backend.seam` asks for."""

from .numpy_batchnorm import backward as batchnorm_relu_backward_training
from .numpy_batchnorm import forward as batchnorm_relu_forward_training
from .numpy_conv_pool import backward as conv_pool_backward
from .numpy_conv_pool import forward as conv_pool_forward
from .numpy_conv_pool import infer as conv_pool_infer
from .numpy_linear import backward as linear_relu_backward
from .numpy_linear import forward as linear_relu_forward
from .numpy_loss import backward as softmax_cross_entropy_backward
from .numpy_loss import forward as softmax_cross_entropy_forward
from .numpy_loss import tally as meter_tally
from .numpy_maxpool2d import backward as maxpool2d_backward
from .numpy_rows import multiply as conv2d_rows_multiply
from .numpy_rows import rows_gradient as conv2d_rows_rows_gradient
from .numpy_rows import unfold_width as conv2d_rows_unfold_width
from .numpy_rows import weight_gradient as conv2d_rows_weight_gradient

__all__ = [
    "batchnorm_relu_backward_training",
    "batchnorm_relu_forward_training",
    "conv2d_rows_multiply",
    "conv2d_rows_rows_gradient",
    "conv2d_rows_unfold_width",
    "conv2d_rows_weight_gradient",
    "conv_pool_backward",
    "conv_pool_forward",
    "conv_pool_infer",
    "linear_relu_backward",
    "linear_relu_forward",
    "maxpool2d_backward",
    "meter_tally",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
]
