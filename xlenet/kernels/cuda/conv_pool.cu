// Convolution and the max-pooling behind it in one go: the convolution's full result is never in memory.
//
// By -D: the convolution's kernel KH x KW and stride SH x SW, the pool's window PH x PW and stride TH x TW; FORWARD or
// BACKWARD, and GROUP, how many filters or channels a thread takes: to compile all would take seconds.
// P means places: POH * POW pooled ones. x (C, H, W, N), weight (F, C, KH, KW), y and winner (F, POH, POW, N), where
// winner says which place of the pool's window (row-major) was the first largest.

#define TAPS (KH * KW)
#define PADDED_TAPS ((TAPS + 3) / 4 * 4)  // rows of weights begin at multiples of four: four are loaded at a time
#define PLACES (PH * PW)
#define ROWS ((PH - 1) * SH + KH)  // what a pooled place sees of x
#define COLS ((PW - 1) * SW + KW)
#define IN_REGISTERS (ROWS * COLS <= 64)
#define MAX_THREADS 128

// Where the patch of x lies that a pooled place sees; it may hang over the image into the padding.
struct Patch {
    int top, left;
    bool inside;
};

__device__ __forceinline__ Patch patch_of(int place, int POW, int H, int W, int pad_top, int pad_left) {
    Patch p;
    p.top = place / POW * (TH * SH) - pad_top;
    p.left = place % POW * (TW * SW) - pad_left;
    p.inside = p.top >= 0 && p.left >= 0 && p.top + ROWS <= H && p.left + COLS <= W;
    return p;
}

__device__ __forceinline__ REAL pixel(const REAL *__restrict__ x, int row, int col, int H, int W, int N) {
    return (unsigned)row < (unsigned)H && (unsigned)col < (unsigned)W ? __ldg(x + (row * W + col) * N) : REAL(0);
}

// `x` is at this channel and image.
__device__ __forceinline__ void load_patch(
    REAL (&patch)[ROWS][COLS], const REAL *__restrict__ x, const Patch &p, int H, int W, int N) {
    if (p.inside) {  // the same for a whole warp, mostly
        const REAL *from = x + (p.top * W + p.left) * N;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int c = 0; c < COLS; c++) patch[r][c] = __ldg(from + (r * W + c) * N);
    } else {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int c = 0; c < COLS; c++) patch[r][c] = pixel(x, p.top + r, p.left + c, H, W, N);
    }
}

// ==== forward ====

#ifdef FORWARD

constexpr int UNROLLED = IN_REGISTERS ? PLACES : 1;

#if IN_REGISTERS
#define FORWARD_WEIGHTS 2048

// Weights of filters f0 ... f0 + GROUP - 1 and channels c0 ... c0 + count - 1, as [channel][filter][padded tap].
__device__ __forceinline__ void stage_weights(
    REAL *staged, const REAL *__restrict__ weight, int f0, int F, int c0, int count, int C) {
    for (int e = threadIdx.x; e < count * GROUP * TAPS; e += blockDim.x) {
        int tap = e % TAPS, c = e / TAPS % count, g = e / TAPS / count;
        const int from = ((f0 + g) * C + c0 + c) * TAPS + tap;
        staged[(c * GROUP + g) * PADDED_TAPS + tap] = f0 + g < F ? weight[from] : REAL(0);
    }
}

// A thread: one image, one pooled place, GROUP filters.
__device__ __forceinline__ void accumulate(
    REAL (&sums)[GROUP][PLACES], REAL *staged, const REAL *__restrict__ x, const REAL *__restrict__ weight, int f0,
    const Patch &p, bool active, int C, int F, int H, int W, int N) {
    const int at_once = FORWARD_WEIGHTS / (GROUP * PADDED_TAPS);
    for (int c0 = 0; c0 < C; c0 += at_once) {
        const int count = min(at_once, C - c0);
        __syncthreads();
        stage_weights(staged, weight, f0, F, c0, count, C);
        __syncthreads();
#pragma unroll 1
        for (int c = 0; active && c < count; c++) {
            REAL patch[ROWS][COLS];
            load_patch(patch, x + (c0 + c) * H * W * N, p, H, W, N);
#pragma unroll
            for (int g = 0; g < GROUP; g++) {
                const REAL *w = staged + (c * GROUP + g) * PADDED_TAPS;
#pragma unroll
                for (int tap = 0; tap < TAPS; tap++)
#pragma unroll
                    for (int k = 0; k < PLACES; k++)
                        sums[g][k] += w[tap] * patch[k / PW * SH + tap / KW][k % PW * SW + tap % KW];
            }
        }
    }
}
#else
#define FORWARD_WEIGHTS 4

// Windows too large for registers: every number is read where it is needed.
__device__ __forceinline__ void accumulate(
    REAL (&sums)[GROUP][PLACES], REAL *, const REAL *__restrict__ x, const REAL *__restrict__ weight, int f0,
    const Patch &p, bool active, int C, int F, int H, int W, int N) {
    for (int g = 0; active && g < GROUP && f0 + g < F; g++)
        for (int k = 0; k < PLACES; k++) {
            REAL sum = 0;
            for (int c = 0; c < C; c++) {
                REAL part = 0;  // sums of sums: the errors of a long one grow with its length
                for (int tap = 0; tap < TAPS; tap++)
                    part += __ldg(weight + ((f0 + g) * C + c) * TAPS + tap) *
                            pixel(x + c * H * W * N, p.top + k / PW * SH + tap / KW, p.left + k % PW * SW + tap % KW,
                                  H, W, N);
                sum += part;
            }
            sums[g][k] = sum;
        }
}
#endif

extern "C" __global__ void __launch_bounds__(MAX_THREADS) conv_pool_forward(
    const REAL *__restrict__ x, const REAL *__restrict__ weight, const REAL *__restrict__ bias, REAL *__restrict__ y,
    unsigned char *__restrict__ winner, int has_bias, int C, int F, int H, int W, int N, int POH, int POW, int pad_top,
    int pad_left) {
    __shared__ __align__(16) REAL staged[FORWARD_WEIGHTS];
    const int size = POH * POW * N, groups = rounded_up(F, GROUP);
    const int f0 = blockIdx.x % groups * GROUP, e = blockIdx.x / groups * blockDim.x + threadIdx.x;
    const bool active = e < size;
    const int place = active ? e / N : 0, n = active ? e % N : 0;
    REAL sums[GROUP][PLACES];
#pragma unroll
    for (int g = 0; g < GROUP; g++)
#pragma unroll UNROLLED
        for (int k = 0; k < PLACES; k++) sums[g][k] = 0;
    const Patch p = patch_of(place, POW, H, W, pad_top, pad_left);
    accumulate(sums, staged, x + n, weight, f0, p, active, C, F, H, W, N);
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        if (!active || f0 + g >= F) continue;
        REAL best = sums[g][0];
        int first = 0;
#pragma unroll UNROLLED
        for (int k = 1; k < PLACES; k++)
            if (sums[g][k] > best || is_nan(sums[g][k])) {
                best = sums[g][k];
                first = k;
            }
        const int at = (f0 + g) * size + e;
        y[at] = has_bias ? best + bias[f0 + g] : best;
        // NaN is larger than everything and equal to nothing: the portable code gives the gradient to the first place.
        if (PLACES > 1) winner[at] = is_nan(best) ? 0 : first;
    }
}

#endif  // FORWARD

#ifdef BACKWARD

// ==== backward: the gradient by x ====

#define MAX_SEEING_ROWS (((KH + SH - 1) / SH + PH - 2) / TH + 1)  // pooled rows that may see a row of x
#define MAX_SEEING_COLS (((KW + SW - 1) / SW + PW - 2) / TW + 1)
#define BACKWARD_WEIGHTS (TAPS * GROUP <= 2432 ? 2432 : TAPS * GROUP)  // 16 filters of 25 taps for 6 channels

// The first and the last of `count` pooled places along one axis that see `at` (with padding), if any.
__device__ __forceinline__ void seeing(
    int at, int kernel, int stride, int window, int pool_stride, int count, int &first, int &last) {
    const int lowest = at - kernel + 1 <= 0 ? 0 : rounded_up(at - kernel + 1, stride), highest = at / stride;
    first = lowest - window + 1 <= 0 ? 0 : rounded_up(lowest - window + 1, pool_stride);
    last = min(highest / pool_stride, count - 1);
}

// Weights of channels c0 ... c0 + GROUP - 1 and filters f0 ... f0 + count - 1, as [filter][tap][channel].
__device__ __forceinline__ void stage_channels(
    REAL *staged, const REAL *__restrict__ weight, int f0, int count, int c0, int C) {
#pragma unroll 4
    for (int e = threadIdx.x; e < count * TAPS * GROUP; e += blockDim.x) {
        const int tap = e % TAPS, g = e / TAPS % GROUP, f = e / TAPS / GROUP;
        staged[(f * TAPS + tap) * GROUP + g] = c0 + g < C ? weight[((f0 + f) * C + c0 + g) * TAPS + tap] : REAL(0);
    }
}

// What a thread gathers for its pixel: the pooled places from `top` to `bottom` and from `left` to `right` see it.
struct Seeing {
    int row, col;  // of the pixel, padding included
    int top, bottom, left, right;
};

// The weight that took the pixel to the winner of pooled place (p, q), as a number of its tap; -1 if there is none.
__device__ __forceinline__ int tap_to(const Seeing &s, int p, int q, int place) {
    const int i = s.row - (p * TH + place / PW) * SH, j = s.col - (q * TW + place % PW) * SW;
    return (unsigned)i < KH && (unsigned)j < KW ? i * KW + j : -1;
}

#if MAX_SEEING_ROWS * MAX_SEEING_COLS <= 16
// Reads everything first and asks then: a question after each read would wait for memory each time.
__device__ __forceinline__ void gather_from(
    REAL (&sums)[GROUP], const REAL *__restrict__ staged, const REAL *__restrict__ dy,
    const unsigned char *__restrict__ winner, const Seeing &s, int POW, int N) {
    REAL d[MAX_SEEING_ROWS][MAX_SEEING_COLS];
    int place[MAX_SEEING_ROWS][MAX_SEEING_COLS];
#pragma unroll
    for (int r = 0; r < MAX_SEEING_ROWS; r++)
#pragma unroll
        for (int c = 0; c < MAX_SEEING_COLS; c++) {
            const int p = s.top + r, q = s.left + c;
            const bool sees = p <= s.bottom && q <= s.right;
            const int at = sees ? (p * POW + q) * N : 0;
            d[r][c] = sees ? dy[at] : REAL(0);
            place[r][c] = PLACES > 1 ? (int)winner[at] : 0;
        }
#pragma unroll
    for (int r = 0; r < MAX_SEEING_ROWS; r++)
#pragma unroll
        for (int c = 0; c < MAX_SEEING_COLS; c++) {
            const int tap = tap_to(s, s.top + r, s.left + c, place[r][c]);
            const REAL part = tap < 0 ? REAL(0) : d[r][c], *weights = staged + max(tap, 0) * GROUP;
#pragma unroll
            for (int g = 0; g < GROUP; g++) sums[g] += part * weights[g];
        }
}
#else
__device__ __forceinline__ void gather_from(
    REAL (&sums)[GROUP], const REAL *__restrict__ staged, const REAL *__restrict__ dy,
    const unsigned char *__restrict__ winner, const Seeing &s, int POW, int N) {
    for (int p = s.top; p <= s.bottom; p++)
        for (int q = s.left; q <= s.right; q++) {
            const int at = (p * POW + q) * N, tap = tap_to(s, p, q, PLACES > 1 ? (int)winner[at] : 0);
            if (tap < 0) continue;
            for (int g = 0; g < GROUP; g++) sums[g] += dy[at] * staged[tap * GROUP + g];
        }
}
#endif

// A thread: one image, one pixel, GROUP channels. It gathers from the pooled places that see the pixel: each of them
// counts with the one weight that took the pixel to its winner, if there is one.
__device__ __forceinline__ void gradient_by_x(
    REAL *staged, int block, const REAL *__restrict__ dy, const unsigned char *__restrict__ winner,
    const REAL *__restrict__ weight, REAL *__restrict__ dx, int C, int F, int H, int W, int N, int POH, int POW,
    int pad_top, int pad_left) {
    const int size = H * W * N, pooled = POH * POW * N, groups = rounded_up(C, GROUP);
    const int c0 = block % groups * GROUP, e = block / groups * blockDim.x + threadIdx.x;
    const bool active = e < size;
    const int n = active ? e % N : 0, pixel_number = active ? e / N : 0;
    Seeing s = {pixel_number / W + pad_top, pixel_number % W + pad_left, 0, -1, 0, -1};
    seeing(s.row, KH, SH, PH, TH, POH, s.top, s.bottom);
    seeing(s.col, KW, SW, PW, TW, POW, s.left, s.right);
    REAL sums[GROUP];
#pragma unroll
    for (int g = 0; g < GROUP; g++) sums[g] = 0;
    const int at_once = BACKWARD_WEIGHTS / (TAPS * GROUP);
    for (int f0 = 0; f0 < F; f0 += at_once) {
        const int count = min(at_once, F - f0);
        __syncthreads();
        stage_channels(staged, weight, f0, count, c0, C);
        __syncthreads();
#pragma unroll 2
        for (int f = 0; f < count; f++) {
            REAL part[GROUP];  // of one filter: shorter sums, smaller errors
#pragma unroll
            for (int g = 0; g < GROUP; g++) part[g] = 0;
            const int from = (f0 + f) * pooled + n;
            gather_from(part, staged + f * TAPS * GROUP, dy + from, winner + (PLACES > 1 ? from : 0), s, POW, N);
#pragma unroll
            for (int g = 0; g < GROUP; g++) sums[g] += part[g];
        }
    }
#pragma unroll
    for (int g = 0; g < GROUP; g++)
        if (active && c0 + g < C) dx[(c0 + g) * size + e] = sums[g];
}

// ==== backward: the gradient by weight and bias ====

#define VALUES (TAPS + 1)  // a block's result for one filter and channel: each tap's sum, and that of dy for the bias
#define SETS ((VALUES + 31) / 32)
#define FILTERS 2  // whose gradients a block makes: they share what is read of x

// 32 numbers in each of 32 lanes: afterwards values[0] in lane l is the sum of all lanes' values[l]. A fifth of the
// shuffles of 32 sums.
template <int HALF> __device__ __forceinline__ void sum_across(REAL (&values)[32]) {
    const bool upper = lane_number() & HALF;
#pragma unroll
    for (int k = 0; k < HALF; k++) {
        const REAL give = upper ? values[k] : values[k + HALF], keep = upper ? values[k + HALF] : values[k];
        values[k] = keep + __shfl_xor_sync(ALL_LANES, give, HALF);
    }
    if constexpr (HALF > 1) sum_across<HALF / 2>(values);
}

// Block: FILTERS filters, one channel, one of `chunks` parts, `length` long, of the (place, image)
// pairs. Its sums go to partial[filter][channel][value][chunk].
__device__ __forceinline__ void gradient_by_weight(
    REAL *scratch, int block, const REAL *__restrict__ x, const REAL *__restrict__ dy,
    const unsigned char *__restrict__ winner, REAL *__restrict__ partial, int length, int chunks, int C, int F, int H,
    int W, int N, int POH, int POW, int pad_top, int pad_left) {
    const int size = POH * POW * N, chunk = block % chunks, c = block / chunks % C, f0 = block / chunks / C * FILTERS;
    const int begin = chunk * length, end = begin + min(size - begin, length);
    x += c * H * W * N;
#if IN_REGISTERS
    REAL sums[FILTERS][VALUES];
#pragma unroll
    for (int g = 0; g < FILTERS; g++)
#pragma unroll
        for (int v = 0; v < VALUES; v++) sums[g][v] = 0;
    // Place and image go along with e: to divide in every round would cost a good part of its time.
    int place = (begin + threadIdx.x) / N, n = (begin + threadIdx.x) % N;
    const int places_on = blockDim.x / N, images_on = blockDim.x % N;
#pragma unroll 1
    for (int e = begin + threadIdx.x; e < end; e += blockDim.x) {
        REAL patch[ROWS][COLS];
        load_patch(patch, x + n, patch_of(place, POW, H, W, pad_top, pad_left), H, W, N);
        place += places_on;
        n += images_on;
        if (n >= N) {
            n -= N;
            place++;
        }
#pragma unroll
        for (int g = 0; g < FILTERS; g++) {
            if (f0 + g >= F) continue;
            const int at = (f0 + g) * size + e, won = PLACES > 1 ? (int)winner[at] : 0;
            const REAL d = dy[at];
            sums[g][TAPS] += d;
            // To multiply by 0 where a place has not won is quicker than to choose what to read.
#pragma unroll
            for (int k = 0; k < PLACES; k++) {
                const REAL dk = won == k ? d : REAL(0);
#pragma unroll
                for (int tap = 0; tap < TAPS; tap++)
                    sums[g][tap] += dk * patch[k / PW * SH + tap / KW][k % PW * SW + tap % KW];
            }
        }
    }
#pragma unroll
    for (int g = 0; g < FILTERS; g++)
#pragma unroll
        for (int set = 0; set < SETS; set++) {
            REAL values[32];
#pragma unroll
            for (int k = 0; k < 32; k++) values[k] = set * 32 + k < VALUES ? sums[g][min(set * 32 + k, TAPS)] : REAL(0);
            sum_across<16>(values);
            scratch[(warp_number() * FILTERS + g) * SETS * 32 + set * 32 + lane_number()] = values[0];
        }
    __syncthreads();
    for (int v = threadIdx.x; v < FILTERS * SETS * 32; v += blockDim.x) {
        const int g = v / (SETS * 32), value = v % (SETS * 32);
        REAL sum = 0;
        for (int warp = 0; warp < (int)blockDim.x / 32; warp++) sum += scratch[warp * FILTERS * SETS * 32 + v];
        if (value < VALUES && f0 + g < F) partial[(((f0 + g) * C + c) * VALUES + value) * chunks + chunk] = sum;
    }
#else
    for (int g = 0; g < FILTERS && f0 + g < F; g++)
        for (int value = 0; value < VALUES; value++) {
            REAL sum = 0;
            for (int e = begin + threadIdx.x; e < end; e += blockDim.x) {
                const int at = (f0 + g) * size + e, k = PLACES > 1 ? (int)winner[at] : 0;
                const Patch p = patch_of(e / N, POW, H, W, pad_top, pad_left);
                sum += dy[at] * (value == TAPS ? REAL(1)
                                               : pixel(x + e % N, p.top + k / PW * SH + value / KW,
                                                       p.left + k % PW * SW + value % KW, H, W, N));
            }
            sum = block_sum(sum, scratch);
            if (threadIdx.x == 0) partial[(((f0 + g) * C + c) * VALUES + value) * chunks + chunk] = sum;
        }
#endif
}

#define WEIGHT_SCRATCH (IN_REGISTERS ? MAX_THREADS / 32 * FILTERS * SETS * 32 : 32)
#define BACKWARD_SCRATCH (BACKWARD_WEIGHTS > WEIGHT_SCRATCH ? BACKWARD_WEIGHTS : WEIGHT_SCRATCH)

// Both gradients in one launch: the first `weight_blocks` blocks make the one, the others the other.
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 3) conv_pool_backward(
    const REAL *__restrict__ x, const REAL *__restrict__ weight, const REAL *__restrict__ dy,
    const unsigned char *__restrict__ winner, REAL *__restrict__ dx, REAL *__restrict__ partial, int weight_blocks,
    int length, int chunks, int C, int F, int H, int W, int N, int POH, int POW, int pad_top, int pad_left) {
    __shared__ __align__(16) REAL scratch[BACKWARD_SCRATCH];
    const int block = blockIdx.x;
    if (block < weight_blocks)
        gradient_by_weight(scratch, block, x, dy, winner, partial, length, chunks, C, F, H, W, N, POH, POW, pad_top,
                           pad_left);
    else
        gradient_by_x(scratch, block - weight_blocks, dy, winner, weight, dx, C, F, H, W, N, POH, POW, pad_top,
                      pad_left);
}

// A warp for each number of dweight and dbias: the sum over the chunks.
extern "C" __global__ void __launch_bounds__(256) conv_pool_finish(
    const REAL *__restrict__ partial, REAL *__restrict__ dweight, REAL *__restrict__ dbias, int has_bias, int chunks,
    int C, int F) {
    const int id = blockIdx.x * (blockDim.x / 32) + warp_number();
    if (id >= F * C * VALUES) return;  // a whole warp
    const int value = id % VALUES, c = id / VALUES % C, f = id / VALUES / C;
    REAL sum = 0;
    for (int chunk = lane_number(); chunk < chunks; chunk += 32) sum += partial[id * chunks + chunk];
    sum = warp_sum(sum);
    if (lane_number() != 0) return;
    if (value < TAPS) dweight[(f * C + c) * TAPS + value] = sum;
    else if (c == 0 && has_bias) dbias[f] = sum;
}

#endif  // BACKWARD
