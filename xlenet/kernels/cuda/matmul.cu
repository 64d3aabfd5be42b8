// out = a @ b, (M, N) = (M, K) @ (K, N), for arrays in any memory order: a(m, k) lies at a[m * a_row + k * a_col], and
// that of the g-th pair of matrices g * a_next behind it.
//
// CuBLAS cannot be captured into a CUDA graph through CuPy; this can. By -D: TILE, how many numbers a thread makes
// along both sides.

#define SIDE 16   // threads along both sides of a block
#define DEPTH 16  // of the inner dimension in shared memory at once

// Block: SIDE*TILE x SIDE*TILE numbers of the result, TILE x TILE to each thread, over a part of the inner dimension,
// `part` rows of b. Several parts go to their own layers of out, (pairs, splits, M, N), to be added up after. The first
// `blocks` blocks make the first layer, the first `blocks * splits` the first pair's product.
extern "C" __global__ void __launch_bounds__(SIDE * SIDE) matmul(
    const REAL *__restrict__ a, const REAL *__restrict__ b, REAL *__restrict__ out, int M, int N, int K,
    long long a_next, long long a_row, long long a_col, long long b_next, long long b_row, long long b_col,
    long long out_next, long long out_row, long long out_col, int part, int blocks, int splits) {
    __shared__ REAL left[DEPTH * (SIDE * TILE + 1)], right[DEPTH * (SIDE * TILE + 1)];
    const int side = SIDE * TILE, step = side + 1, tiles = rounded_up(N, side);
    const int tile = blockIdx.x % blocks, split = blockIdx.x / blocks % splits, pair = blockIdx.x / blocks / splits;
    const int m0 = tile / tiles * side, n0 = tile % tiles * side;
    const int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    const int begin = split * part, end = begin + min(part, K - begin);
    a += pair * a_next;
    b += pair * b_next;
    REAL sums[TILE][TILE], parts[TILE][TILE];
#pragma unroll
    for (int i = 0; i < TILE; i++)
#pragma unroll
        for (int j = 0; j < TILE; j++) sums[i][j] = 0;
    for (int k0 = begin; k0 < end; k0 += DEPTH) {
        __syncthreads();
#pragma unroll
        for (int t = 0; t < TILE; t++) {
            // Neighbouring threads read neighbouring numbers, whichever way the arrays lie.
            const int e = t * SIDE * SIDE + threadIdx.x;
            const int am = a_col == 1 ? e / DEPTH : e % side, ak = a_col == 1 ? e % DEPTH : e / side;
            const int bn = b_row == 1 ? e / DEPTH : e % side, bk = b_row == 1 ? e % DEPTH : e / side;
            left[ak * step + am] = m0 + am < M && k0 + ak < end ? a[(m0 + am) * a_row + (k0 + ak) * a_col] : REAL(0);
            right[bk * step + bn] = k0 + bk < end && n0 + bn < N ? b[(k0 + bk) * b_row + (n0 + bn) * b_col] : REAL(0);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < TILE; i++)
#pragma unroll
            for (int j = 0; j < TILE; j++) parts[i][j] = 0;  // sums of sums: the errors of a long one would grow
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            REAL l[TILE], r[TILE];
#pragma unroll
            for (int i = 0; i < TILE; i++) l[i] = left[k * step + ty + i * SIDE];
#pragma unroll
            for (int j = 0; j < TILE; j++) r[j] = right[k * step + tx + j * SIDE];
#pragma unroll
            for (int i = 0; i < TILE; i++)
#pragma unroll
                for (int j = 0; j < TILE; j++) parts[i][j] += l[i] * r[j];
        }
#pragma unroll
        for (int i = 0; i < TILE; i++)
#pragma unroll
            for (int j = 0; j < TILE; j++) sums[i][j] += parts[i][j];
    }
    out += pair * out_next + (long long)split * M * N;  // split is 0, if the inner dimension is not split
#pragma unroll
    for (int i = 0; i < TILE; i++)
#pragma unroll
        for (int j = 0; j < TILE; j++) {
            const int m = m0 + ty + i * SIDE, n = n0 + tx + j * SIDE;
            if (m < M && n < N) out[m * out_row + n * out_col] = sums[i][j];
        }
}

// A warp for each number of the result: the sum over the layers.
extern "C" __global__ void __launch_bounds__(256) matmul_finish(
    const REAL *__restrict__ layers, REAL *__restrict__ out, int pairs, int M, int N, int splits, long long out_next,
    long long out_row, long long out_col) {
    const long long number = blockIdx.x * 8ll + warp_number(), size = (long long)M * N;
    if (number >= pairs * size) return;  // a whole warp
    const long long pair = number / size, id = number % size;
    REAL sum = 0;
    for (int layer = lane_number(); layer < splits; layer += 32) sum += layers[(pair * splits + layer) * size + id];
    sum = warp_sum(sum);
    if (lane_number() == 0) out[pair * out_next + id / N * out_row + id % N * out_col] = sum;
}
