"""The cases that are run, by the operator that they are about: one that disappears is missed by its name."""

from __future__ import annotations


def names(text: str) -> list[str]:
    """The words of `text`: without commas they are easier to read."""
    return text.split()


NODE: dict[str, list[str]] = {
    "Conv": names("""
        basic_conv_with_padding basic_conv_without_padding conv_with_autopad_same
        conv_with_strides_and_asymmetric_padding conv_with_strides_no_padding conv_with_strides_padding
    """),
    "MaxPool": names("""
        maxpool_2d_ceil maxpool_2d_ceil_output_size_reduce_by_one maxpool_2d_default maxpool_2d_dilations
        maxpool_2d_pads maxpool_2d_precomputed_pads maxpool_2d_precomputed_same_upper
        maxpool_2d_precomputed_strides maxpool_2d_same_lower maxpool_2d_same_upper maxpool_2d_strides
        maxpool_2d_uint8 maxpool_with_argmax_2d_precomputed_pads maxpool_with_argmax_2d_precomputed_strides
    """),
    "BatchNormalization": names("""
        batchnorm_epsilon batchnorm_epsilon_training_mode batchnorm_example batchnorm_example_training_mode
    """),
    "Gemm": names("""
        gemm_all_attributes gemm_alpha gemm_beta gemm_default_matrix_bias gemm_default_no_bias
        gemm_default_scalar_bias gemm_default_single_elem_vector_bias gemm_default_vector_bias
        gemm_default_zero_bias gemm_transposeA gemm_transposeB
    """),
    "Relu": names("""
        relu
    """),
    "Softmax": names("""
        softmax_axis_0 softmax_axis_1 softmax_axis_2 softmax_default_axis softmax_example softmax_large_number
        softmax_negative_axis
    """),
    "LogSoftmax": names("""
        logsoftmax_axis_0 logsoftmax_axis_1 logsoftmax_axis_2 logsoftmax_default_axis logsoftmax_example_1
        logsoftmax_large_number logsoftmax_negative_axis
    """),
    "SoftmaxCrossEntropyLoss": names("""
        sce_NCd1_mean_weight_negative_ii sce_NCd1_mean_weight_negative_ii_log_prob
        sce_NCd1d2d3_none_no_weight_negative_ii sce_NCd1d2d3_none_no_weight_negative_ii_log_prob
        sce_NCd1d2d3_sum_weight_high_ii sce_NCd1d2d3_sum_weight_high_ii_log_prob sce_NCd1d2d3d4d5_mean_weight
        sce_NCd1d2d3d4d5_mean_weight_log_prob sce_NCd1d2d3d4d5_none_no_weight
        sce_NCd1d2d3d4d5_none_no_weight_log_prob sce_mean sce_mean_3d sce_mean_3d_log_prob sce_mean_log_prob
        sce_mean_no_weight_ii sce_mean_no_weight_ii_3d sce_mean_no_weight_ii_3d_log_prob
        sce_mean_no_weight_ii_4d sce_mean_no_weight_ii_4d_log_prob sce_mean_no_weight_ii_log_prob
        sce_mean_weight sce_mean_weight_ii sce_mean_weight_ii_3d sce_mean_weight_ii_3d_log_prob
        sce_mean_weight_ii_4d sce_mean_weight_ii_4d_log_prob sce_mean_weight_ii_log_prob
        sce_mean_weight_log_prob sce_none sce_none_log_prob sce_none_weights sce_none_weights_log_prob sce_sum
        sce_sum_log_prob
    """),
    "NegativeLogLikelihoodLoss": names("""
        nllloss_NC nllloss_NCd1 nllloss_NCd1_ii nllloss_NCd1_mean_weight_negative_ii nllloss_NCd1_weight
        nllloss_NCd1_weight_ii nllloss_NCd1d2 nllloss_NCd1d2_no_weight_reduction_mean_ii
        nllloss_NCd1d2_reduction_mean nllloss_NCd1d2_reduction_sum nllloss_NCd1d2_with_weight
        nllloss_NCd1d2_with_weight_reduction_mean nllloss_NCd1d2_with_weight_reduction_sum
        nllloss_NCd1d2_with_weight_reduction_sum_ii nllloss_NCd1d2d3_none_no_weight_negative_ii
        nllloss_NCd1d2d3_sum_weight_high_ii nllloss_NCd1d2d3d4d5_mean_weight nllloss_NCd1d2d3d4d5_none_no_weight
    """),
    "AveragePool": names("""
        averagepool_2d_ceil averagepool_2d_ceil_last_window_starts_on_pad averagepool_2d_default
        averagepool_2d_dilations averagepool_2d_pads averagepool_2d_pads_count_include_pad
        averagepool_2d_precomputed_pads averagepool_2d_precomputed_pads_count_include_pad
        averagepool_2d_precomputed_same_upper averagepool_2d_precomputed_strides averagepool_2d_same_lower
        averagepool_2d_same_upper averagepool_2d_strides
    """),
    "GlobalAveragePool": names("""
        globalaveragepool globalaveragepool_precomputed
    """),
    "Sigmoid": names("""
        sigmoid sigmoid_example
    """),
    "Tanh": names("""
        tanh tanh_example
    """),
    "Dropout": names("""
        dropout_default dropout_default_mask dropout_default_mask_ratio dropout_default_old dropout_default_ratio
        dropout_random_old
    """),
    "Flatten": names("""
        flatten_axis0 flatten_axis1 flatten_axis2 flatten_axis3 flatten_default_axis flatten_negative_axis1
        flatten_negative_axis2 flatten_negative_axis3 flatten_negative_axis4
    """),
}

# Of kinds "pytorch-converted" and "pytorch-operator": made by PyTorch.
PYTORCH: dict[str, list[str]] = {
    "Conv": names("""
        Conv2d Conv2d_depthwise Conv2d_depthwise_padded Conv2d_depthwise_strided
        Conv2d_depthwise_with_multiplier Conv2d_dilated Conv2d_groups Conv2d_groups_thnn Conv2d_no_bias
        Conv2d_padding Conv2d_strided operator_conv
    """),
    "MaxPool": names("""
        MaxPool2d MaxPool2d_stride_padding_dilation
    """),
    "AveragePool": names("""
        AvgPool2d AvgPool2d_stride
    """),
    "Sigmoid": names("""
        Sigmoid
    """),
    "Tanh": names("""
        Tanh
    """),
    "BatchNormalization": names("""
        BatchNorm2d_eval BatchNorm2d_momentum_eval
    """),
    "Gemm": names("""
        Linear operator_addmm operator_mm
    """),
    "Relu": names("""
        ReLU
    """),
    "Softmax": names("""
        Softmax softmax_functional_dim3 softmax_lastdim
    """),
    "LogSoftmax": names("""
        LogSoftmax log_softmax_dim3 log_softmax_lastdim
    """),
    "Flatten": names("""
        operator_flatten operator_view
    """),
}

# In training, where the numbers are those of a generator that ONNX does not define.
TRAINING = names("""
    training_dropout training_dropout_default training_dropout_default_mask training_dropout_mask
    training_dropout_zero_ratio training_dropout_zero_ratio_mask
""")

# What has not two dimensions of space: the layers are for images.
LEFT_OUT = {
    "averagepool_1d_default": "1-D: an image has two axes",
    "averagepool_3d_default": "3-D: an image has two axes",
    "averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False": "3-D: an image has two axes",
    "averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True": "3-D: an image has two axes",
    "averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False": "3-D: an image has two axes",
    "averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True": "3-D: an image has two axes",
    "averagepool_3d_dilations_small": "3-D: an image has two axes",
    "AvgPool3d": "3-D: an image has two axes",
    "AvgPool3d_stride": "3-D: an image has two axes",
    "AvgPool3d_stride1_pad0_gpu_input": "3-D: an image has two axes",
    "maxpool_1d_default": "1-D: an image has two axes",
    "maxpool_3d_default": "3-D: an image has two axes",
    "maxpool_3d_dilations": "3-D: an image has two axes",
    "maxpool_3d_dilations_use_ref_impl": "3-D: an image has two axes",
    "maxpool_3d_dilations_use_ref_impl_large": "3-D: an image has two axes",
}
