// What a CUDA kernel expects to find, on a CPU: built in front of the kernels by cuda_on_cpu.py.
//
// Every thread of a block is a fiber with a stack of its own, so that barriers and warp shuffles are real: a thread
// runs until it waits for others. Blocks run one after another, in an order drawn from a seed; so do the warps of a
// block between two barriers, each as far as it gets (even seeds) or from one shuffle to the next. Shared memory is
// filled with NaN before each block. Whatever depends on an order that CUDA does not promise, or on memory that nobody
// wrote, therefore shows in the results.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__) || defined(CUDA_ON_CPU_UCONTEXT)
#define CUDA_ON_CPU_UCONTEXT
#include <ucontext.h>
#endif

struct dim3 {
    unsigned x, y, z;
};

// The linker gathers the shared variables of all functions in one section, and names its ends.
extern "C" __attribute__((weak, visibility("hidden"))) char __start_cuda_shared[];
extern "C" __attribute__((weak, visibility("hidden"))) char __stop_cuda_shared[];

namespace cuda_on_cpu {

constexpr int MAX_THREADS = 1024, STACK = 128 * 1024;
enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Fiber {
#ifdef CUDA_ON_CPU_UCONTEXT
    ucontext_t context;
#else
    void *stack_pointer;
#endif
    bool made;
    dim3 index;
    int number;
    State state;
    int line;               // where it waits
    unsigned mask;          // for which lanes of its warp
    unsigned long warp_ops;  // how many it has begun
    uint64_t deposit[2];    // what it gives to a shuffle; two, as one lane may be an operation ahead of another
};

static Fiber fibers[MAX_THREADS], *current;
static char *stacks;
static dim3 block_index, block_size, grid_size;
static void (*kernel)(void **);
static void **arguments;
static char error[512];

// ==== switching between fibers ====

static void fiber_main();

#ifdef CUDA_ON_CPU_UCONTEXT
static ucontext_t scheduler;
static void make(Fiber &f) {
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = stacks + (size_t)f.number * STACK;
    f.context.uc_stack.ss_size = STACK;
    makecontext(&f.context, fiber_main, 0);
}
static void enter(Fiber &f) { swapcontext(&scheduler, &f.context); }
static void leave() { swapcontext(&current->context, &scheduler); }
#else
static void *scheduler;
__attribute__((naked, noipa)) static void exchange(void **, void *) {
    asm("push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
}
static void make(Fiber &f) {
    void **top = (void **)(stacks + (size_t)(f.number + 1) * STACK) - 2;
    *--top = nullptr;               // where a return address would be: keeps the stack aligned as after a call
    *--top = (void *)fiber_main;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    f.stack_pointer = top;
}
static void enter(Fiber &f) { exchange(&scheduler, f.stack_pointer); }
static void leave() { exchange(&current->stack_pointer, scheduler); }
#endif

static void fiber_main() {
    for (;;) {
        kernel(arguments);
        current->state = DONE;
        leave();
    }
}

// ==== what threads wait for ====

static void wait(State state, int line, unsigned mask) {
    current->state = state;
    current->line = line;
    current->mask = mask;
    leave();
}

static void syncthreads(int line) { wait(AT_BARRIER, line, 0); }

static void fail(const char *format, int a = 0, int b = 0, int c = 0) {
    if (!error[0]) snprintf(error, sizeof error, format, a, b, c);
}

static void syncwarp(unsigned mask, int line) {
    if (!(mask >> (current->number % 32) & 1)) fail("line %d: thread %d is not in its own mask", line, current->number);
    current->warp_ops++;
    wait(IN_WARP, line, mask);
}

// The value that lane `from` of this warp brings to the same operation.
template <class T> static T exchange_in_warp(unsigned mask, T value, int from, int line) {
    int slot = current->warp_ops & 1, me = current->number;
    current->deposit[slot] = 0;
    memcpy(&current->deposit[slot], &value, sizeof value);
    syncwarp(mask, line);
    if (!(mask >> from & 1)) fail("line %d: thread %d reads lane %d, which is not in the mask", line, me, from);
    memcpy(&value, &fibers[me / 32 * 32 + from].deposit[slot], sizeof value);
    return value;
}

static unsigned ballot(unsigned mask, bool value, int line) {
    int slot = current->warp_ops & 1, first = current->number / 32 * 32;
    current->deposit[slot] = value;
    syncwarp(mask, line);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) votes |= (unsigned)fibers[first + lane].deposit[slot] << lane;
    return votes;
}

template <class T> static T shuffle_down(unsigned mask, T value, int by, int line) {
    int lane = current->number % 32;
    return exchange_in_warp(mask, value, lane + by < 32 ? lane + by : lane, line);
}

template <class T> static T atomic_add(T *address, T value) {
    T old = *address;
    *address += value;
    return old;
}

// ==== a block, and a grid of them ====

static int release_barrier(int threads) {
    for (int i = 0; i < threads; i++)
        if (fibers[i].state != AT_BARRIER || fibers[i].line != fibers[0].line) return 0;
    for (int i = 0; i < threads; i++) fibers[i].state = READY;
    return threads;
}

static bool warp_is_together(const Fiber &f, int threads) {
    int first = f.number / 32 * 32;
    for (int lane = 0; lane < 32; lane++) {
        if (!(f.mask >> lane & 1)) continue;
        if (first + lane >= threads) return false;
        const Fiber &g = fibers[first + lane];
        if (g.state != IN_WARP || g.line != f.line || g.mask != f.mask) return false;
    }
    return true;
}

static int release_warp(int first, int threads) {
    int released = 0;
    for (int i = first; i < (first + 32 < threads ? first + 32 : threads); i++) {
        if (fibers[i].state != IN_WARP || !warp_is_together(fibers[i], threads)) continue;
        unsigned mask = fibers[i].mask;
        for (int lane = 0; lane < 32; lane++)
            if (mask >> lane & 1) fibers[first + lane].state = READY, released++;
    }
    return released;
}

static void explain_deadlock(int threads) {
    int done = 0, waiting = -1, other = -1;
    for (int i = 0; i < threads; i++) {
        if (fibers[i].state == DONE) done++;
        else if (waiting < 0) waiting = fibers[i].line;
        else if (fibers[i].line != waiting) other = fibers[i].line;
    }
    if (other >= 0)
        fail("divergent barrier: threads wait at line %d and at line %d, %d have finished", waiting, other, done);
    else fail("divergent barrier: threads wait at line %d, %d of %d have finished", waiting, done, threads);
}

struct Order {
    int *warps, *lanes;
    bool greedy;
};

// Runs the threads of a warp that can run, each until it waits; returns how many there were.
static int run_warp(int first, int threads, const int *lanes, int &done) {
    int moved = 0;
    for (int k = 0; k < 32; k++) {
        if (first + lanes[k] >= threads || fibers[first + lanes[k]].state != READY) continue;
        current = &fibers[first + lanes[k]];
        enter(*current);
        moved++;
        done += current->state == DONE;
    }
    return moved;
}

static void run_block(int threads, const Order &order) {
    if (__start_cuda_shared) memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
    for (int i = 0; i < threads; i++) {
        fibers[i].state = READY;
        fibers[i].warp_ops = 0;
        if (!fibers[i].made) make(fibers[i]), fibers[i].made = true;
    }
    for (int done = 0; done < threads && !error[0];) {
        int moved = 0, released = 0;
        for (int k = 0; k < (threads + 31) / 32; k++) {
            int first = order.warps[k] * 32, now;
            // A greedy warp goes on to the next barrier before another one makes a step.
            do {
                moved += run_warp(first, threads, order.lanes, done);
                now = release_warp(first, threads);
                released += now;
            } while (order.greedy && now && !error[0]);
        }
        if (done < threads && !(released + release_barrier(threads)) && !moved) explain_deadlock(threads);
    }
    if (error[0])
        for (int i = 0; i < MAX_THREADS; i++) fibers[i].made = false;  // they stand in the middle of something
}

static uint64_t random_state;
static unsigned draw(unsigned below) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((random_state >> 33) % below);
}

// Seed 0: backwards. Another one: shuffled.
static int *new_order(int count, unsigned seed) {
    int *order = (int *)malloc(sizeof(int) * count);
    for (int i = 0; i < count; i++) order[i] = count - 1 - i;
    random_state = seed;
    for (int i = count - 1; seed && i > 0; i--) {
        int j = draw(i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    return order;
}

static const char *launch(void (*function)(void **), const unsigned *sizes, void **args, unsigned seed) {
    error[0] = 0;
    kernel = function;
    arguments = args;
    grid_size = {sizes[0], sizes[1], sizes[2]};
    block_size = {sizes[3], sizes[4], sizes[5]};
    if (!stacks)
        stacks = (char *)mmap(nullptr, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int threads = block_size.x * block_size.y * block_size.z, blocks = grid_size.x * grid_size.y * grid_size.z;
    for (int i = 0; i < threads; i++) {
        unsigned u = i;
        fibers[i].number = i;
        fibers[i].index = {u % block_size.x, u / block_size.x % block_size.y, u / block_size.x / block_size.y};
    }
    Order order = {new_order((threads + 31) / 32, seed), new_order(32, seed), seed % 2 == 0};
    int *block_order = new_order(blocks, seed);
    for (int k = 0; k < blocks && !error[0]; k++) {
        unsigned b = block_order[k];
        block_index = {b % grid_size.x, b / grid_size.x % grid_size.y, b / grid_size.x / grid_size.y};
        run_block(threads, order);
    }
    free(order.warps);
    free(order.lanes);
    free(block_order);
    return error;
}

}  // namespace cuda_on_cpu

// ==== CUDA's names ====

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("cuda_shared")))
#define threadIdx (cuda_on_cpu::current->index)
#define blockIdx (cuda_on_cpu::block_index)
#define blockDim (cuda_on_cpu::block_size)
#define gridDim (cuda_on_cpu::grid_size)
#define warpSize 32
#define __syncthreads() cuda_on_cpu::syncthreads(__LINE__)
#define __syncwarp(...) cuda_on_cpu::syncwarp(0xffffffffu, __LINE__)
#define __shfl_sync(mask, value, lane) cuda_on_cpu::exchange_in_warp(mask, value, lane, __LINE__)
#define __shfl_xor_sync(mask, value, by) \
    cuda_on_cpu::exchange_in_warp(mask, value, (cuda_on_cpu::current->number % 32) ^ (by), __LINE__)
#define __shfl_down_sync(mask, value, by) cuda_on_cpu::shuffle_down(mask, value, by, __LINE__)
#define __ballot_sync(mask, value) cuda_on_cpu::ballot(mask, value, __LINE__)
#define __any_sync(mask, value) (cuda_on_cpu::ballot(mask, value, __LINE__) != 0)
#define __all_sync(mask, value) (cuda_on_cpu::ballot(mask, value, __LINE__) == (mask))

template <class T> static inline T __ldg(const T *address) { return *address; }
static inline void __threadfence() {}
static inline int atomicAdd(int *address, int value) { return cuda_on_cpu::atomic_add(address, value); }
static inline unsigned atomicAdd(unsigned *a, unsigned value) { return cuda_on_cpu::atomic_add(a, value); }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline long long min(long long a, long long b) { return a < b ? a : b; }
static inline long long max(long long a, long long b) { return a > b ? a : b; }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
