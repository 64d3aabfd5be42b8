// Batch normalisation, with or without a ReLU behind it. x (C, M) in memory, M = H * W * N.
//
// Forward and backward are two launches each: sums of parts of each channel first; then every block adds up its
// channel's sums for itself, all in the same order, and uses the result. Channel c's parts are blocks c * chunks ...

#define THREADS 256

struct Part {
    int channel, begin, end;  // in x
};

__device__ __forceinline__ Part part_of(int block, int M, int length, int chunks) {
    const int channel = block / chunks, chunk = block % chunks;
    Part p;
    p.channel = channel;
    p.begin = channel * M + chunk * length;
    p.end = channel * M + min(M, (chunk + 1) * length);
    return p;
}

__device__ __forceinline__ int count_in(int chunk, int M, int length) {
    return min(length, M - chunk * length);
}

// Mean and sum of squared distances from it, of each part: never from a difference of large squares.
extern "C" __global__ void __launch_bounds__(THREADS) batchnorm_statistics(
    const REAL *__restrict__ x, REAL *__restrict__ means, REAL *__restrict__ squares, int M, int length, int chunks) {
    __shared__ REAL scratch[32];
    const Part p = part_of(blockIdx.x, M, length, chunks);
    REAL sum = 0;
#pragma unroll 4
    for (int e = p.begin + threadIdx.x; e < p.end; e += THREADS) sum += x[e];
    const REAL mean = block_sum(sum, scratch) / (p.end - p.begin);
    REAL square = 0;
#pragma unroll 4
    for (int e = p.begin + threadIdx.x; e < p.end; e += THREADS) square += (x[e] - mean) * (x[e] - mean);
    square = block_sum(square, scratch);
    if (threadIdx.x == 0) {
        means[blockIdx.x] = mean;
        squares[blockIdx.x] = square;
    }
}

// What both directions compute alike, bit for bit: backward asks again where the ReLU let through.
__device__ __forceinline__ REAL normalised(REAL x, REAL mean, REAL scale, REAL bias) {
    return fma(x - mean, scale, bias);
}

extern "C" __global__ void __launch_bounds__(THREADS) batchnorm_forward(
    const REAL *__restrict__ x, const REAL *__restrict__ means, const REAL *__restrict__ squares,
    const REAL *__restrict__ weight, const REAL *__restrict__ bias, REAL *__restrict__ y, REAL *__restrict__ mean_out,
    REAL *__restrict__ var_out, REAL *__restrict__ inv_std_out, int M, int length, int chunks, REAL eps, int relu) {
    __shared__ REAL scratch[32];
    const Part p = part_of(blockIdx.x, M, length, chunks);
    means += p.channel * chunks;
    squares += p.channel * chunks;
    REAL sum = 0;
    for (int k = threadIdx.x; k < chunks; k += THREADS) sum += means[k] * count_in(k, M, length);
    const REAL mean = block_sum(sum, scratch) / M;
    REAL square = 0;
    for (int k = threadIdx.x; k < chunks; k += THREADS)
        square += squares[k] + (means[k] - mean) * (means[k] - mean) * count_in(k, M, length);
    const REAL var = block_sum(square, scratch) / M, inv_std = 1 / sqrt(var + eps);
    if (threadIdx.x == 0 && blockIdx.x % chunks == 0) {
        mean_out[p.channel] = mean;
        var_out[p.channel] = var;
        inv_std_out[p.channel] = inv_std;
    }
    const REAL scale = weight[p.channel] * inv_std, shift = bias[p.channel];
#pragma unroll 4
    for (int e = p.begin + threadIdx.x; e < p.end; e += THREADS) {
        const REAL value = normalised(x[e], mean, scale, shift);
        y[e] = relu && value < 0 ? REAL(0) : value;
    }
}

__device__ __forceinline__ REAL let_through(REAL dy, REAL x, REAL mean, REAL scale, REAL bias, int relu) {
    return !relu || normalised(x, mean, scale, bias) > 0 ? dy : REAL(0);
}

// The sums of dy and of dy * (x - mean) over each part.
extern "C" __global__ void __launch_bounds__(THREADS) batchnorm_gradient_sums(
    const REAL *__restrict__ dy, const REAL *__restrict__ x, const REAL *__restrict__ means,
    const REAL *__restrict__ inv_stds, const REAL *__restrict__ weight, const REAL *__restrict__ bias,
    REAL *__restrict__ sums, REAL *__restrict__ products, int M, int length, int chunks, int relu) {
    __shared__ REAL scratch[32];
    const Part p = part_of(blockIdx.x, M, length, chunks);
    const REAL mean = means[p.channel], scale = weight[p.channel] * inv_stds[p.channel], shift = bias[p.channel];
    REAL sum = 0, product = 0;
#pragma unroll 4
    for (int e = p.begin + threadIdx.x; e < p.end; e += THREADS) {
        const REAL value = x[e], d = let_through(dy[e], value, mean, scale, shift, relu);
        sum += d;
        product += d * (value - mean);
    }
    sum = block_sum(sum, scratch);
    product = block_sum(product, scratch);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
        products[blockIdx.x] = product;
    }
}

// dx = gamma / std * (dy - mean of dy - xhat * mean of (dy * xhat)). Without dx: a launch of a block per channel.
extern "C" __global__ void __launch_bounds__(THREADS) batchnorm_backward(
    const REAL *__restrict__ dy, const REAL *__restrict__ x, const REAL *__restrict__ means,
    const REAL *__restrict__ inv_stds, const REAL *__restrict__ weight, const REAL *__restrict__ bias,
    const REAL *__restrict__ sums, const REAL *__restrict__ products, REAL *__restrict__ dx,
    REAL *__restrict__ dweight, REAL *__restrict__ dbias, int M, int length, int chunks, int relu, int need_dx) {
    __shared__ REAL scratch[32];
    const int per_channel = need_dx ? chunks : 1;
    const Part p = part_of(blockIdx.x, M, length, per_channel);
    REAL sum = 0, product = 0;
    for (int k = threadIdx.x; k < chunks; k += THREADS) {
        sum += sums[p.channel * chunks + k];
        product += products[p.channel * chunks + k];
    }
    sum = block_sum(sum, scratch);
    product = block_sum(product, scratch);
    const REAL mean = means[p.channel], inv_std = inv_stds[p.channel];
    if (threadIdx.x == 0 && blockIdx.x % per_channel == 0) {
        dbias[p.channel] = sum;
        dweight[p.channel] = product * inv_std;
    }
    if (!need_dx) return;
    const REAL scale = weight[p.channel] * inv_std, shift = bias[p.channel];
    const REAL mean_of_dy = sum / M, slope = product * inv_std * inv_std / M;
#pragma unroll 4
    for (int e = p.begin + threadIdx.x; e < p.end; e += THREADS) {
        const REAL value = x[e], d = let_through(dy[e], value, mean, scale, shift, relu);
        dx[e] = scale * (d - mean_of_dy - (value - mean) * slope);
    }
}

// The variance of a sample is divided by M - 1 where it stands for that of all images.
extern "C" __global__ void __launch_bounds__(THREADS) batchnorm_running(
    REAL *__restrict__ running_mean, REAL *__restrict__ running_var, const REAL *__restrict__ mean,
    const REAL *__restrict__ var, REAL decay, REAL rest, REAL unbiased, int C) {
    const int c = blockIdx.x * THREADS + threadIdx.x;
    if (c >= C) return;
    running_mean[c] = decay * running_mean[c] + rest * mean[c];
    running_var[c] = decay * running_var[c] + rest * (var[c] * unbiased);
}
