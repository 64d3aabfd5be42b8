// Fully connected layers. x (IN, N), weight (OUT, IN), y (OUT, N) in memory.
//
// By -D: FORWARD or BACKWARD, and GROUP, how many rows of the result (of dx) a block makes: 1 to 8.

#define THREADS 256
#define WARPS 8

// ==== out = A @ B, for few rows of A and a batch of columns ====

#define PRODUCT_DEPTH 256  // of A in shared memory at once
#define PRODUCT_SCRATCH 2048

// Block: GROUP rows of the result, 32 columns. Its 8 warps share out the inner dimension. a(row, k) lies at
// a[row * row_step + k * k_step], b(k, n) at b[k * N + n] and counts only where `mask` is positive (NULL: everywhere).
__device__ __forceinline__ void product(
    REAL *scratch, int block, const REAL *__restrict__ a, int row_step, int k_step, const REAL *__restrict__ b,
    const REAL *__restrict__ mask, const REAL *__restrict__ bias, REAL *__restrict__ out, int rows, int depth, int N,
    int relu) {
    const int tiles = rounded_up(N, 32), row = block / tiles * GROUP, n = block % tiles * 32 + lane_number();
    REAL sums[GROUP];
#pragma unroll
    for (int g = 0; g < GROUP; g++) sums[g] = 0;
    for (int k0 = 0; k0 < depth; k0 += PRODUCT_DEPTH) {
        const int count = min(PRODUCT_DEPTH, depth - k0);
        __syncthreads();
        for (int e = threadIdx.x; e < count * GROUP; e += THREADS) {
            // Neighbouring threads read neighbouring numbers, whichever way A lies.
            const int g = row_step == 1 ? e % GROUP : e / count, k = row_step == 1 ? e / GROUP : e % count;
            scratch[k * GROUP + g] = row + g < rows ? a[(row + g) * row_step + (k0 + k) * k_step] : REAL(0);
        }
        __syncthreads();
        if (n < N) {
#pragma unroll 8
            for (int k = warp_number(); k < count; k += WARPS) {
                const int at = (k0 + k) * N + n;
                REAL value = b[at];
                if (mask) value = mask[at] > 0 ? value : REAL(0);
#pragma unroll
                for (int g = 0; g < GROUP; g++) sums[g] += scratch[k * GROUP + g] * value;
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int g = 0; g < GROUP; g++) scratch[(warp_number() * GROUP + g) * 32 + lane_number()] = sums[g];
    __syncthreads();
    const int g = warp_number();
    if (g >= GROUP || row + g >= rows || n >= N) return;
    REAL sum = 0;
    for (int warp = 0; warp < WARPS; warp++) sum += scratch[(warp * GROUP + g) * 32 + lane_number()];
    if (bias) sum += bias[row + g];
    if (relu && sum < 0) sum = 0;  // NaN stays NaN
    out[(row + g) * N + n] = sum;
}

#ifdef FORWARD

extern "C" __global__ void __launch_bounds__(THREADS, 2) linear_forward(
    const REAL *__restrict__ x, const REAL *__restrict__ weight, const REAL *__restrict__ bias, REAL *__restrict__ y,
    int has_bias, int IN, int OUT, int N, int relu) {
    __shared__ __align__(16) REAL scratch[PRODUCT_SCRATCH];
    product(scratch, blockIdx.x, weight, IN, 1, x, nullptr, has_bias ? bias : nullptr, y, OUT, IN, N, relu);
}

#endif  // FORWARD

#ifdef BACKWARD

// ==== dweight = dy @ x.T, for a long inner dimension: the batch ====

#define SIDE 16    // a block makes SIDE x SIDE numbers
#define DEPTH 128  // of the batch in shared memory at once
#define STEP (DEPTH + 4)  // four banks further from row to row: eight rows are read without a conflict
#define WEIGHT_SCRATCH (2 * SIDE * STEP)
#define LOADS (2 * SIDE * DEPTH / THREADS)

struct __align__(16) Quad {
    REAL at[4];
};

__device__ __forceinline__ void load_rows(
    REAL (&values)[LOADS], int n0, int row, int col, const REAL *__restrict__ dy, const REAL *__restrict__ mask,
    const REAL *__restrict__ x, int IN, int OUT, int N) {
#pragma unroll
    for (int k = 0; k < LOADS; k++) {
        const int e = k * THREADS + threadIdx.x, n = n0 + e % DEPTH, line = e / DEPTH;
        const bool of_x = line >= SIDE;
        const int r = of_x ? col + line - SIDE : row + line;
        REAL value = 0;
        if (n < N && r < (of_x ? IN : OUT)) {
            value = of_x ? x[r * N + n] : dy[r * N + n];
            if (!of_x && mask && !(mask[r * N + n] > 0)) value = 0;
        }
        values[k] = value;
    }
}

__device__ __forceinline__ void gradient_by_weight(
    REAL *scratch, int block, const REAL *__restrict__ dy, const REAL *__restrict__ mask, const REAL *__restrict__ x,
    REAL *__restrict__ dweight, int IN, int OUT, int N) {
    const int tiles = rounded_up(IN, SIDE), row = block / tiles * SIDE, col = block % tiles * SIDE;
    const int r = lane_number() / 8, c = lane_number() % 8;  // a lane makes rows r, r + 4, ... and columns c, c + 8
    REAL sums[4][2] = {}, values[LOADS];
    load_rows(values, 0, row, col, dy, mask, x, IN, OUT, N);
    for (int n0 = 0; n0 < N; n0 += DEPTH) {
        __syncthreads();
#pragma unroll
        for (int k = 0; k < LOADS; k++) {
            const int e = k * THREADS + threadIdx.x;
            scratch[e / DEPTH * STEP + e % DEPTH] = values[k];
        }
        __syncthreads();
        if (n0 + DEPTH < N) load_rows(values, n0 + DEPTH, row, col, dy, mask, x, IN, OUT, N);  // while we multiply
#pragma unroll 1  // registers: two blocks fit into a multiprocessor
        for (int k = 0; k < DEPTH / 4 / WARPS; k++) {
            const REAL *at = scratch + (k * WARPS + warp_number()) * 4;
            Quad a[4], b[2];
#pragma unroll
            for (int i = 0; i < 4; i++) a[i] = *(const Quad *)(at + (r + 4 * i) * STEP);
#pragma unroll
            for (int j = 0; j < 2; j++) b[j] = *(const Quad *)(at + (SIDE + c + 8 * j) * STEP);
#pragma unroll
            for (int q = 0; q < 4; q++)
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < 2; j++) sums[i][j] += a[i].at[q] * b[j].at[q];
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 2; j++)
            scratch[warp_number() * SIDE * SIDE + (r + 4 * i) * SIDE + c + 8 * j] = sums[i][j];
    __syncthreads();
    REAL sum = 0;  // SIDE * SIDE threads, one number each
    for (int warp = 0; warp < WARPS; warp++) sum += scratch[warp * SIDE * SIDE + threadIdx.x];
    const int o = row + threadIdx.x / SIDE, i = col + threadIdx.x % SIDE;
    if (o < OUT && i < IN) dweight[o * IN + i] = sum;
}

// A warp for each number of dbias.
__device__ __forceinline__ void gradient_by_bias(
    int block, const REAL *__restrict__ dy, const REAL *__restrict__ mask, REAL *__restrict__ dbias, int OUT, int N) {
    const int o = block * WARPS + warp_number();
    if (o >= OUT) return;
    REAL sum = 0;
    for (int n = lane_number(); n < N; n += 32)
        sum += !mask || mask[o * N + n] > 0 ? dy[o * N + n] : REAL(0);
    sum = warp_sum(sum);
    if (lane_number() == 0) dbias[o] = sum;
}

// All gradients in one launch: first the blocks for dweight, then those for dbias, then those for dx. `y` is the result
// of a ReLU where `relu` says so: dy counts where y is positive.
extern "C" __global__ void __launch_bounds__(THREADS, 2) linear_backward(
    const REAL *__restrict__ x, const REAL *__restrict__ weight, const REAL *__restrict__ dy,
    const REAL *__restrict__ y, REAL *__restrict__ dx, REAL *__restrict__ dweight, REAL *__restrict__ dbias,
    int weight_blocks, int bias_blocks, int IN, int OUT, int N, int relu) {
    __shared__ __align__(16) REAL scratch[WEIGHT_SCRATCH];
    const REAL *mask = relu ? y : nullptr;
    const int block = blockIdx.x, others = weight_blocks + bias_blocks;
    if (block < weight_blocks) gradient_by_weight(scratch, block, dy, mask, x, dweight, IN, OUT, N);
    else if (block < others) gradient_by_bias(block - weight_blocks, dy, mask, dbias, OUT, N);
    else product(scratch, block - others, weight, 1, IN, dy, mask, nullptr, dx, IN, OUT, N, 0);
}

#endif  // BACKWARD
