/* The words that kernels' bodies are written in: for CUDA, and for plain C with one lane a team.

   A body says who shares the work: THREAD for elements, a WARP or BLOCK of LANES for a row, a TILE
   of columns with lanes down each. In C a team is one lane and a block one thread, so the same body
   is a serial program: what it computes can be checked without a GPU. HALF is defined where a
   kernel has float16. */

#ifdef __cplusplus

#ifdef HALF
#include <cuda_fp16.h>
#define LOAD_HALF(x) __half2float(x)
#define STORE_HALF(x) __float2half_rn(x)
#define ROUND_HALF(x) __half2float(__float2half_rn(x))
#endif

#define INLINE static __device__ __forceinline__
#define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(THREADS) name(__VA_ARGS__)
#define INF_F __int_as_float(0x7f800000)
#define INF_D __longlong_as_double(0x7ff0000000000000LL)
#define NAN_F __int_as_float(0x7fc00000)
#define NAN_D __longlong_as_double(0x7ff8000000000000LL)

#define BLOCK ((int)blockIdx.x)
#define THREAD ((int)threadIdx.x)
#define THREADS 256
#define WARP (THREAD / 32)
#define WARPS (THREADS / 32)
#define WARP_LANE (THREAD % 32)
#define WARP_LANES 32
#define BLOCK_LANE THREAD
#define BLOCK_LANES THREADS
#define TILE_LANE(width) (THREAD / (width))
#define TILE_LANES(width) (THREADS / (width))
#define TILE_WIDTH(width) (width)
#define TILE_COLUMN(width) (THREAD % (width))
#define WARP_SUM(x) x = warp_reduce<Sum>(x);
#define WARP_MAX(x) x = warp_reduce<Max>(x);
#define WARP_MIN(x) x = warp_reduce<Min>(x);
#define WARP_ARGMAX(x, at) warp_argmax(x, at);
#define BLOCK_SUM(x) x = block_reduce<Sum>(x);
#define BLOCK_MAX(x) x = block_reduce<Max>(x);
#define BLOCK_MIN(x) x = block_reduce<Min>(x);
#define BLOCK_ARGMAX(x, at) tile_argmax<1>(x, at);
#define TILE_SUM(x, width) x = tile_reduce<Sum, width>(x);
#define TILE_MAX(x, width) x = tile_reduce<Max, width>(x);
#define TILE_MIN(x, width) x = tile_reduce<Min, width>(x);
#define TILE_ARGMAX(x, at, width) tile_argmax<width>(x, at);

#else

#include <math.h>
#include <stdbool.h>

#ifdef HALF
typedef _Float16 half;
#define LOAD_HALF(x) ((float)(x))
#define STORE_HALF(x) ((_Float16)(x))
#define ROUND_HALF(x) ((float)(_Float16)(x))
#endif

#define INLINE static inline
#define KERNEL(name, ...) void name(int BLOCK, __VA_ARGS__)
#define INF_F INFINITY
#define INF_D ((double)INFINITY)
#define NAN_F NAN
#define NAN_D ((double)NAN)

#define THREAD 0
#define THREADS 1
#define WARP 0
#define WARPS 1
#define WARP_LANE 0
#define WARP_LANES 1
#define BLOCK_LANE 0
#define BLOCK_LANES 1
#define TILE_LANE(width) 0
#define TILE_LANES(width) 1
#define TILE_WIDTH(width) 1
#define TILE_COLUMN(width) 0
#define WARP_SUM(x)
#define WARP_MAX(x)
#define WARP_MIN(x)
#define WARP_ARGMAX(x, at)
#define BLOCK_SUM(x)
#define BLOCK_MAX(x)
#define BLOCK_MIN(x)
#define BLOCK_ARGMAX(x, at)
#define TILE_SUM(x, width)
#define TILE_MAX(x, width)
#define TILE_MIN(x, width)
#define TILE_ARGMAX(x, at, width)

#endif

#define MAXIMUM(a, b) ((a) >= (b) || (a) != (a) ? (a) : (b))
#define MINIMUM(a, b) ((a) <= (b) || (a) != (a) ? (a) : (b))
#define CLIP(position, length) \
    ((position) < 0 ? 0 : (position) < (length) ? (position) : (length) - 1)

/* Of two numbers with their positions (none: -1) whether the second is the maximum: the larger,
   a NaN above all, and of equals the one that comes first. */
#define IS_LATER_MAX(a, at, b, at_b) \
    ((at_b) >= 0 && ((at) < 0 || (b) > (a) || ((b) != (b) && (a) == (a)) || \
                     (((b) == (a) || ((b) != (b) && (a) != (a))) && (at_b) < (at))))
#define SEE_MAX(a, at, b, at_b) \
    if (IS_LATER_MAX(a, at, b, at_b)) { a = b; at = at_b; }

INLINE unsigned long long WHOLE_POWER(unsigned long long x, long long exponent)
{
    unsigned long long power = 1;
    for (; exponent > 0; exponent >>= 1, x *= x)
        if (exponent & 1) power *= x;
    return power;
}

#ifdef __cplusplus

/* Reductions over a team's lanes, in an order that never changes; every lane gets the result. */

struct Sum { template <class T> static __device__ T of(T a, T b) { return a + b; } };
struct Max { template <class T> static __device__ T of(T a, T b) { return MAXIMUM(a, b); } };
struct Min { template <class T> static __device__ T of(T a, T b) { return MINIMUM(a, b); } };

template <class T> INLINE T from_lane(T x, int distance)
{
    return __shfl_xor_sync(0xffffffffu, x, distance);
}
INLINE bool from_lane(bool x, int distance) { return from_lane((int)x, distance) != 0; }
INLINE signed char from_lane(signed char x, int distance) { return from_lane((int)x, distance); }
INLINE unsigned char from_lane(unsigned char x, int distance)
{
    return from_lane((int)x, distance);
}
INLINE short from_lane(short x, int distance) { return from_lane((int)x, distance); }
INLINE unsigned short from_lane(unsigned short x, int distance)
{
    return from_lane((int)x, distance);
}

template <class Op, class T> INLINE T warp_reduce(T x)
{
    for (int distance = 16; distance > 0; distance /= 2) x = Op::of(x, from_lane(x, distance));
    return x;
}

template <class T> INLINE void warp_argmax(T &x, long long &at)
{
    for (int distance = 16; distance > 0; distance /= 2) {
        const T other = from_lane(x, distance);
        const long long at_other = from_lane(at, distance);
        SEE_MAX(x, at, other, at_other)
    }
}

template <class Op, class T> INLINE T block_reduce(T x)
{
    __shared__ T of_warps[WARPS];
    x = warp_reduce<Op>(x);
    if (WARP_LANE == 0) of_warps[WARP] = x;
    __syncthreads();
    x = of_warps[0];
    for (int warp = 1; warp < WARPS; ++warp) x = Op::of(x, of_warps[warp]);
    __syncthreads();
    return x;
}

template <class Op, int width, class T> INLINE T tile_reduce(T x)
{
    __shared__ T lanes[THREADS];
    lanes[THREAD] = x;
    for (int apart = THREADS / 2; apart >= width; apart /= 2) {
        __syncthreads();
        if (THREAD < apart) lanes[THREAD] = Op::of(lanes[THREAD], lanes[THREAD + apart]);
    }
    __syncthreads();
    x = lanes[TILE_COLUMN(width)];
    __syncthreads();
    return x;
}

template <int width, class T> INLINE void tile_argmax(T &x, long long &at)
{
    __shared__ T lanes[THREADS];
    __shared__ long long places[THREADS];
    lanes[THREAD] = x;
    places[THREAD] = at;
    for (int apart = THREADS / 2; apart >= width; apart /= 2) {
        __syncthreads();
        if (THREAD < apart) {
            const T other = lanes[THREAD + apart];
            const long long at_other = places[THREAD + apart];
            SEE_MAX(lanes[THREAD], places[THREAD], other, at_other)
        }
    }
    __syncthreads();
    x = lanes[TILE_COLUMN(width)];
    at = places[TILE_COLUMN(width)];
    __syncthreads();
}

#endif
