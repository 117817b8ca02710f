// CUDA's words, for a compiler and a machine that know no GPU: each thread of a block is a fiber,
// which runs until it has to wait for others. Slow, and true to what a kernel may rely on: between
// two waits the threads run one after another, first to last or last to first.
#include <math.h>
#include <string.h>
#include <ucontext.h>

#include <utility>

#define __global__
#define __device__
#define __forceinline__
#define __launch_bounds__(threads)
#define __shared__ static

struct Position { unsigned x; };
static Position blockIdx, threadIdx;

namespace cpu {
constexpr int COUNT = 256, STACK = 1 << 15;
struct Fiber { ucontext_t context; char stack[STACK]; bool ended; long block_waits, warp_waits; };
static Fiber fibers[COUNT];
static ucontext_t scheduler;
static int now;
static bool backwards;
static unsigned char slots[COUNT][16];
static void (*body)();

static void wait() { swapcontext(&fibers[now].context, &scheduler); }

// Wait until every fiber of the warp (or block) that has not ended has come as far.
static void wait_for(int first, int count, long Fiber::*waits)
{
    const long mine = ++(fibers[now].*waits);
    for (bool all = false; !all;) {
        wait();
        all = true;
        for (int i = first; i < first + count; ++i) all &= fibers[i].ended || fibers[i].*waits >= mine;
    }
}

static void entry()
{
    body();
    fibers[now].ended = true;
    wait();
}

static void run(int blocks, void (*kernel)(), bool last_to_first)
{
    body = kernel;
    backwards = last_to_first;
    for (int b = 0; b < blocks; ++b) {
        blockIdx.x = backwards ? blocks - 1 - b : b;
        for (auto &fiber : fibers) {
            fiber.ended = false;
            fiber.block_waits = fiber.warp_waits = 0;
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack;
            fiber.context.uc_stack.ss_size = STACK;
            fiber.context.uc_link = nullptr;
            makecontext(&fiber.context, entry, 0);
        }
        for (bool any = true; any;) {
            any = false;
            for (int i = 0; i < COUNT; ++i) {
                now = backwards ? COUNT - 1 - i : i;
                if (fibers[now].ended) continue;
                any = true;
                threadIdx.x = now;
                swapcontext(&scheduler, &fibers[now].context);
            }
        }
    }
}

template <class... T> struct Call {
    static inline void (*kernel)(T...);
    static inline void **arguments;
    template <size_t... I> static void with(std::index_sequence<I...>) { kernel((T)arguments[I]...); }
    static void one() { with(std::index_sequence_for<T...>()); }
};
template <class... T> void launch(void (*kernel)(T...), int blocks, void **arguments, bool backwards)
{
    Call<T...>::kernel = kernel;
    Call<T...>::arguments = arguments;
    run(blocks, Call<T...>::one, backwards);
}
}  // namespace cpu

static void __syncthreads() { cpu::wait_for(0, cpu::COUNT, &cpu::Fiber::block_waits); }
static void __syncwarp() { cpu::wait_for(cpu::now / 32 * 32, 32, &cpu::Fiber::warp_waits); }
template <class T> T __shfl_xor_sync(unsigned, T x, int distance)
{
    memcpy(cpu::slots[cpu::now], &x, sizeof x);
    __syncwarp();
    memcpy(&x, cpu::slots[cpu::now ^ distance], sizeof x);
    __syncwarp();
    return x;
}
static float __int_as_float(int bits) { float x; memcpy(&x, &bits, sizeof x); return x; }
static double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, sizeof x); return x; }
