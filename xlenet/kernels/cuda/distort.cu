// Images distorted by chance: see xlenet/data/distort.py, whose names are used here.

#define THREADS 256
#define IMAGES 32  // of a block; each warp does an eighth of the row
#define POINTS 7
#define MIDDLE 3
#define DRAWN (6 + 2 * POINTS * POINTS)

__device__ __forceinline__ unsigned mixed(unsigned word) {
    word = (word ^ word >> 16) * 0x7FEB352Du;
    word = (word ^ word >> 15) * 0x846CA68Bu;
    return word ^ word >> 16;
}

// One row of 32 images in a block. out (C, H, W, N) from x (C, H, W, N); rows (H, 7), columns (W, 7). `rotation`
// is in radians, `shear` a tangent. `low` and `high` are the words of the seed.
extern "C" __global__ void __launch_bounds__(THREADS) distort(
    const REAL *__restrict__ x, const REAL *__restrict__ rows, const REAL *__restrict__ columns,
    const long long *__restrict__ step, REAL *__restrict__ out, int N, int C, int H, int W, REAL rotation, REAL shift,
    REAL scale, REAL shear, REAL elastic, unsigned low, unsigned high) {
    __shared__ REAL net[2][POINTS][IMAGES];  // of this row: where each column of control points is sent, down and across
    const int tiles = rounded_up(N, IMAGES), image = lane_number();
    const int n = blockIdx.x % tiles * IMAGES + image, row = blockIdx.x / tiles;
    const unsigned first = mixed((unsigned)step[0] ^ low), second = mixed(first + high);

    auto drawn = [&](int number) {
        const unsigned bits = mixed(mixed((unsigned)(n * DRAWN + number) ^ first) + second);
        return (REAL)(bits >> 8) * REAL(1.0 / 8388608) - REAL(1);
    };

    const int i = warp_number();
    if (i < POINTS && n < N) {
        const REAL angle = drawn(0) * rotation, lean = drawn(3) * shear;
        const REAL down = REAL(1) + drawn(1) * scale, right = REAL(1) + drawn(2) * scale;
        const REAL cosine = cos(angle), sine = sin(angle);
        const REAL across = REAL(i - MIDDLE) * REAL(W - 1) / REAL(POINTS - 3);
        REAL y_sum = 0, x_sum = 0;
        for (int j = 0; j < POINTS; ++j) {
            const REAL y = REAL(j - MIDDLE) * REAL(H - 1) / REAL(POINTS - 3), weight = rows[row * POINTS + j];
            const int number = 6 + (j * 2 * POINTS) + i;
            y_sum += weight * (y * (sine * lean + cosine) / down + across * sine / down + drawn(number) * elastic);
            x_sum += weight * (y * (cosine * lean - sine) / right + across * cosine / right
                               + drawn(number + POINTS) * elastic);
        }
        // The weights of a row add up to 1.
        net[0][i][image] = y_sum + drawn(4) * shift + REAL(H - 1) / 2;
        net[1][i][image] = x_sum + drawn(5) * shift + REAL(W - 1) / 2;
    }
    __syncthreads();
    if (n >= N) return;
    for (int column = warp_number(); column < W; column += THREADS / 32) {
        REAL down = 0, across = 0;
#pragma unroll
        for (int k = 0; k < POINTS; ++k) {
            const REAL weight = columns[column * POINTS + k];
            down += weight * net[0][k][image];
            across += weight * net[1][k][image];
        }
        down = min(max(down, REAL(0)), REAL(H - 1));
        across = min(max(across, REAL(0)), REAL(W - 1));
        const int top = min((int)down, max(H - 2, 0)), left = min((int)across, max(W - 2, 0));
        const int below = min(top + 1, H - 1), beside = min(left + 1, W - 1);
        const REAL v = down - REAL(top), u = across - REAL(left);
        for (int c = 0; c < C; ++c) {
            const REAL *from = x + c * H * W * N + n;
            const REAL a = from[(top * W + left) * N], b = from[(top * W + beside) * N];
            const REAL d = from[(below * W + left) * N], e = from[(below * W + beside) * N];
            const REAL upper = a + u * (b - a), lower = d + u * (e - d);
            out[((c * H + row) * W + column) * N + n] = upper + v * (lower - upper);
        }
    }
}
